"""Check 03.drain: what was accepted is delivered, also when the shop is told to stop in the middle of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from random import Random
from typing import Any

import httpx

from classroom.checks.invariants import duplicates, find, lost
from classroom.checks.needs import FIRST_CELL, need, need_ledger, no_verdict
from classroom.checks.rehearsal import last_words, new_ids, words_of
from classroom.checks.result import Result
from classroom.checks.runs import Run, handlings
from classroom.checks.serving import caller, copy_of
from classroom.events import Event
from classroom.ledger import Book
from classroom.ledger.rows import Row
from classroom.outcome import outcome
from classroom.service_handle import ServiceHandle

LIMIT = 10.0  # seconds for what takes a few hundredths
HOLD = (1.5, 6.0)  # seconds, at least and at most, that a parcel of an order by HTTP takes while the shop stops
READ = 3  # calls, one after the other, by whose answers the shop has read all orders and asked the ledger
EARLY = (0.5, 4.0)  # seconds that the ledger takes while the order of things is looked at; on a busy machine the second
LOST = (
    "an order was only in memory when the process ended. A task made by asyncio.create_task is awaited by nobody:"
    " at the end it is thrown away. Let the framework wait for the work (FastAPI's BackgroundTasks), or keep the"
    " tasks and await them when the application ends (its lifespan)."
)
WAITS = "202 says *accepted*: answer first, deliver after. Here the answer waited for the ledger."
HASTY = "by TCP the answer says *delivered*: await deliver(order), then answer."
NO_END = "something never ends: a loop without an exit, or a task that nobody cancels. So it was cut off."


class Trial:
    """A copy of the shop that took so many seconds to start, the ledger, and what the shop has promised.

    `sent` and `accepted` are id -> unix time. `hold`: seconds that the ledger takes for an order by HTTP while the shop
    stops; for one by TCP half of it, so nothing but the orders by HTTP holds the shop up at its end.
    """

    def __init__(self, shop: ServiceHandle, book: Book, seconds: float) -> None:
        self.shop, self.book = shop, book
        self.hold = min(max(HOLD[0], seconds), HOLD[1])  # to start takes longer than to stop with nothing to do
        self.sent: dict[int, float] = {}
        self.accepted: dict[int, float] = {}
        self.events: list[Event] = []

    def order(self) -> int:
        """The id of a new order."""
        (ident,) = new_ids(1)
        self.sent[ident] = time.time()
        return ident

    async def post(self, browser: httpx.AsyncClient, ident: int) -> str:
        """Place an order by HTTP: the status, or what went wrong."""
        try:
            status = str((await browser.post("/orders", json={"id": ident})).status_code)
        except httpx.TimeoutException:
            return f"no answer in {LIMIT:g} s"
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        if status == "202":
            self.accepted[ident] = time.time()
        return status

    async def place(self, client: Any, ident: int, timeout: float = LIMIT) -> str:
        """Place an order by TCP: "answered", or how the call ended."""
        end = await outcome(client.send("place", {"id": ident}, timeout=timeout))
        if end.error is None:
            self.accepted[ident] = time.time()
        return repr(end) if end.error else "answered"

    async def shipped(self) -> list[Row]:
        """The parcels that this copy has sent."""
        return [row for row in await self.book.effects("ship") if row.service == self.shop.name]

    async def wait(self, limit: float = LIMIT) -> Counter[int | str]:
        """How often each order is shipped, once all that were accepted are, or after `limit` seconds without them."""
        end = asyncio.get_running_loop().time() + limit
        while self.accepted.keys() - (shipped := Counter(row.id for row in await self.shipped())).keys():
            if asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.05)
        return shipped

    async def run(self) -> Run:
        """What is known, for the checkers."""
        rows = [row for row in await self.book.rows() if row.service == self.shop.name]
        done = handlings(row for row in rows if row.kind == "ship" and row.outcome == "effect")
        return Run(self.sent, self.accepted, done, ledger=rows, dead_lettered=[], crashes=0, events=self.events)


async def judge(result: Result, draw: Random, shop: Any, book: Any) -> None:
    """All conditions of the task."""
    need_ledger(result, book)
    began = time.perf_counter()
    async with copy_of(result, "shop", shop) as twin:
        seconds = time.perf_counter() - began
        hint = "its cell begins: %%service shop --on tcp --http"
        need(result, "shop has an HTTP side", twin.plan.http, seen="--http is missing", hint=hint)
        trial = Trial(twin, book, seconds)
        with no_verdict(result, lambda: f"{last_words(twin)}. {FIRST_CELL}"):
            if await both_doors(result, trial) and await in_order(result, trial):
                await drains(result, trial, draw)


async def both_doors(result: Result, trial: Trial) -> bool:
    """An order by HTTP and one by TCP are both delivered."""
    by_http, by_tcp = trial.order(), trial.order()
    async with httpx.AsyncClient(base_url=trial.shop.http, timeout=LIMIT) as browser:
        seen = await trial.post(browser, by_http)
    told = await words_of(trial.shop, seen != "202")
    hint = f"POST /orders takes {{'id': ...}} and answers with status_code=202; {told}"
    if not result.judge("an order by HTTP is answered with 202", seen == "202", expected="202", seen=seen, hint=hint):
        return False
    async with caller(trial.shop) as client:
        seen = await trial.place(client, by_tcp)
    text, hint = 'an order by TCP, pattern "place", is answered', await words_of(trial.shop, seen != "answered")
    if not result.judge(text, seen == "answered", seen=seen, hint=hint):
        return False
    shipped = await trial.wait()
    missing = [way for way, ident in (("HTTP", by_http), ("TCP", by_tcp)) if not shipped[ident]]
    seen = f"missing: the one by {' and by '.join(missing)}"
    hint = f"await deliver(order) for each order, or hand it to what awaits it later; {last_words(trial.shop)}"
    return result.judge("both are shipped", not missing, seen=seen, hint=hint)


async def in_order(result: Result, trial: Trial) -> bool:
    """The ledger takes its time: 202 comes before the order is delivered, and the answer by TCP after it."""
    status, early = "", False
    for seconds in EARLY:
        by_http = trial.order()
        async with trial.book.slow(seconds), httpx.AsyncClient(base_url=trial.shop.http, timeout=LIMIT) as browser:
            status = await trial.post(browser, by_http)
            early = by_http not in {row.id for row in await trial.shipped()}
        if early or status != "202":
            break
    by_tcp = trial.order()
    async with trial.book.slow(EARLY[0]), caller(trial.shop) as client:
        answered = await trial.place(client, by_tcp)
        late = by_tcp in {row.id for row in await trial.shipped()}
    seen = "it was delivered before" if status == "202" else status
    good = result.judge("202 comes before the order is delivered", status == "202" and early, seen=seen, hint=WAITS)
    seen = "it was not delivered yet" if answered == "answered" else answered
    text = "the answer by TCP comes when the order is delivered"
    return result.judge(text, answered == "answered" and late, seen=seen, hint=HASTY) and good


async def drains(result: Result, trial: Trial, draw: Random) -> None:
    """The shop is told to stop (SIGTERM) while it still has to deliver what it accepted, by either door."""
    shop, book = trial.shop, trial.book
    await trial.wait()
    async with caller(shop) as client, httpx.AsyncClient(base_url=shop.http, timeout=LIMIT) as browser:
        async with book.slow(trial.hold / 2):
            calls = [trial.place(client, trial.order(), timeout=3 * LIMIT) for _ in range(draw.randint(10, 20))]
            answers = asyncio.gather(*calls)
            await all_read(client)
        async with book.slow(trial.hold):
            await asyncio.gather(*(trial.post(browser, trial.order()) for _ in range(draw.randint(15, 30))))
            await all_read(client)
        trial.events.append(Event(time.time(), "shop", "SIGTERM", ""))
        await shop.stop()  # one that forgets what it promised ends after `hold / 2`, with orders that need `hold`
        await answers
    await trial.wait(trial.hold + 1)  # no more than what the ledger has in its hands
    run = await trial.run()
    find(result, run, lost, "every accepted order is shipped, though SIGTERM came in the middle", LOST)
    find(result, run, duplicates, "no order is shipped twice", "deliver it in one place only.")
    codes = [replica.returncode for replica in shop.replicas]
    seen = f"exit code {', '.join(map(str, codes))}"
    result.judge("the shop ends by itself", codes == [0], expected="exit code 0", seen=seen, hint=NO_END)


async def all_read(client: Any) -> None:
    """Return when the shop has read what was sent to it before."""
    for _ in range(READ):
        await outcome(client.send(f"anything else {secrets.token_hex(2)}"))
