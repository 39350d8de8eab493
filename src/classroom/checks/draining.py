"""Check 03.drain: what was accepted is delivered, also when the shop is told to stop in the middle of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx

from classroom.checks.result import Result
from classroom.checks.serving import caller, is_up
from classroom.outcome import outcome

LIMIT = 5.0  # seconds for what takes a few hundredths
HOLD = (1.0, 4.0)  # seconds, at least and at most, that the ledger is held while the shop stops
numbers = count(1)


async def judge(result: Result, shop: Any, ledger: Any) -> None:
    """All conditions of the task. The shop is stopped and started again; at the end it runs."""
    if not (await is_up(result, "ledger", ledger) and await is_up(result, "shop", shop)):
        return
    try:
        http = shop.http
    except Exception as error:
        hint = "its cell begins: %%service shop --on tcp --http"
        result.judge("shop has an HTTP side", False, seen=str(error), hint=hint)
        return
    accepted: list[int] = []
    try:
        both = await both_doors(result, shop, http, ledger, accepted)
        if both and await answers_first(result, http, ledger, accepted):
            await drains(result, shop, http, ledger, accepted)
    finally:
        if not shop.alive:
            await shop.restart()


async def both_doors(result: Result, shop: Any, http: str, ledger: Any, accepted: list[int]) -> bool:
    """An order by HTTP and one by TCP are both delivered."""
    by_http, by_tcp = next(numbers), next(numbers)
    async with httpx.AsyncClient(base_url=http, timeout=LIMIT) as browser:
        seen = await _post(browser, by_http)
    hint = "POST /orders takes {'id': ...} and answers with status_code=202. Look at shop.logs()."
    if not result.judge("an order by HTTP is answered with 202", seen == "202", expected="202", seen=seen, hint=hint):
        return False
    async with caller(shop) as client:
        end = await outcome(client.send("place", {"id": by_tcp}))
    hint = f"the last line that the shop printed: {' '.join(shop.logs(1).split())}"
    text = 'an order by TCP, pattern "place", is answered'
    if not result.judge(text, end.error is None, seen=repr(end), hint=hint):
        return False
    accepted += [by_http, by_tcp]
    rows = await _rows(ledger, {by_http, by_tcp})
    missing = [way for way, number in (("HTTP", by_http), ("TCP", by_tcp)) if not rows[number]]
    seen = f"missing: the one by {' and by '.join(missing)}"
    hint = "await deliver(order) for each order, whichever door it came by."
    return result.judge("both reach the ledger", not missing, seen=seen, hint=hint)


async def answers_first(result: Result, http: str, ledger: Any, accepted: list[int]) -> bool:
    """202 comes while the ledger is paused: accepted does not mean done."""
    number = next(numbers)
    ledger.pause()
    try:
        async with httpx.AsyncClient(base_url=http, timeout=LIMIT / 2) as browser:
            seen = await _post(browser, number)
    finally:
        await ledger.resume()
    if seen == "202":
        accepted.append(number)
    hint = "202 says *accepted*: answer first, deliver after. Here the answer waited for the ledger."
    return result.judge("202 comes at once, even while the ledger is paused", seen == "202", seen=seen, hint=hint)


async def drains(result: Result, shop: Any, http: str, ledger: Any, accepted: list[int]) -> None:
    """The shop is told to stop (SIGTERM) while the ledger still has to write down what was accepted."""
    hold = min(max(HOLD[0], 4 * await _idle_stop(shop)), HOLD[1])
    codes: list[int | None] = []
    for place, calls in ((_by_http, 40), (_by_tcp, 20)):
        orders = [next(numbers) for _ in range(calls)]
        accepted += await place(shop, ledger, orders, hold)
        codes += [replica.returncode for replica in shop.replicas]
        await shop.restart()
    rows = await _rows(ledger, set(accepted))
    lost = sum(not rows[number] for number in accepted)
    twice = sum(rows[number] > 1 for number in accepted)
    seen = f"{len(accepted)} accepted, {len(accepted) - lost} delivered, {lost} lost"
    result.judge("every accepted order is delivered, though SIGTERM came in the middle", not lost, seen=seen, hint=LOST)
    result.judge(
        "no order is delivered twice", not twice, seen=f"{twice} delivered twice", hint="deliver it in one place only."
    )
    hint = "something never ends: a loop without an exit, or a task that nobody cancels. So it was cut off."
    result.judge(
        "the shop ends by itself", set(codes) == {0}, expected="exit code 0", seen=f"exit codes {codes}", hint=hint
    )


LOST = (
    "an order was only in memory when the process ended. A task made by asyncio.create_task is awaited by nobody:"
    " at the end it is thrown away. Let the framework wait for the work (FastAPI's BackgroundTasks), or keep the"
    " tasks and await them when the application ends (its lifespan)."
)


async def _idle_stop(shop: Any) -> float:
    """How many seconds the shop takes to stop when it has nothing to do, here and now; it is started again."""
    began = time.perf_counter()
    await shop.stop()
    seconds = time.perf_counter() - began
    await shop.restart()
    return seconds


async def _by_http(shop: Any, ledger: Any, orders: list[int], hold: float) -> list[int]:
    """Place orders by HTTP, then stop the shop; return those that were accepted."""
    async with _held(ledger), httpx.AsyncClient(base_url=shop.http, timeout=LIMIT) as browser:
        answers = await asyncio.gather(*(_post(browser, number) for number in orders))
        await _stop(shop, ledger, hold)
    return [number for number, answer in zip(orders, answers, strict=True) if answer == "202"]


async def _by_tcp(shop: Any, ledger: Any, orders: list[int], hold: float) -> list[int]:
    """Place orders by TCP, and stop the shop when it has them; return those that were answered."""
    async with _held(ledger), caller(shop) as client:
        calls = [client.send("place", {"id": number}, timeout=2 * LIMIT) for number in orders]
        ends = asyncio.gather(*map(outcome, calls))
        await asyncio.sleep(0)  # they are on their way now
        await outcome(client.send("anything else"))  # it is answered when they have been read
        await _stop(shop, ledger, hold)
        answered = [number for number, end in zip(orders, await ends, strict=True) if end.error is None]
    return answered


@asynccontextmanager
async def _held(ledger: Any) -> AsyncIterator[None]:
    """Keep the ledger from writing; it goes on at the end, whatever happens."""
    ledger.pause()
    try:
        yield
    finally:
        await ledger.resume()


async def _stop(shop: Any, ledger: Any, hold: float) -> None:
    """Stop the shop; when it had time to forget what it promised, let the ledger go on."""
    stopping = asyncio.ensure_future(shop.stop())
    await asyncio.wait({stopping}, timeout=hold)
    await ledger.resume()
    await stopping


async def _post(browser: httpx.AsyncClient, number: int) -> str:
    """The status of one order by HTTP, or what went wrong with it."""
    try:
        return str((await browser.post("/orders", json={"id": number})).status_code)
    except httpx.TimeoutException:
        return "no answer in time"
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"


async def _rows(ledger: Any, wanted: set[int]) -> Counter[int]:
    """The ledger's rows, once all that are wanted are in, or after a while without them."""
    async with caller(ledger) as client:
        for _ in range(int(LIMIT / 0.1)):
            rows = Counter(await client.send("rows"))
            if wanted <= rows.keys():
                break
            await asyncio.sleep(0.1)
    return rows
