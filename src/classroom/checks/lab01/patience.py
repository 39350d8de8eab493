"""Check 01.call: a call that ends by its deadline, and says no more than its caller can know."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

from classroom.brokers.ports import HOST, Port
from classroom.checks.asking import Answer, ask
from classroom.checks.needs import need_function
from classroom.checks.rehearsal import new_ids
from classroom.checks.result import Result
from classroom.checks.street import PATIENCE, Street, street, until

WORDS = ("charged", "refused", "not done", "unknown")
SLOWEST = 8  # times its patience; whoever takes longer does not look at it
DEAF = "it has no limit of its own, or another than `patience`: timeout=patience in each send."
SURE = "no answer is not a no: the order may be charged already, or be charged yet. Only 'unknown' is true here."
BREAKS = "the connection broke while the answer was awaited: ConnectionLost. The bank may have been done by then."
AGAIN = "it asked again by itself, and the customer paid twice. One call of yours is one request."


async def judge(result: Result, draw: Random, charge: Any, bank: Any, road: Any, book: Any) -> None:
    """All conditions of the task."""
    need_function(result, "charge", charge, "async def charge(...):")
    async with street(result, bank, road, book) as here:
        if await succeeds(result, charge, here, draw) and await is_refused(result, charge, here, draw):
            await finds_nobody(result, charge)
            faults = ["request lost", "reply lost", "bank paused"]
            draw.shuffle(faults)
            for fault in faults:
                if not await is_silent(result, charge, here, draw, fault):
                    return
            await breaks(result, charge, here, draw)


async def told(charge: Any, url: str, order: dict[str, Any], patience: float = PATIENCE) -> tuple[Answer, float]:
    """What `charge` says, and how long that took, in seconds."""
    began = time.perf_counter()
    answer = await ask(charge, url, order, patience, limit=2 * SLOWEST * PATIENCE)
    return answer, time.perf_counter() - began


async def succeeds(result: Result, charge: Any, here: Street, draw: Random) -> bool:
    """On a good day: 'charged', and so says the ledger."""
    (ident,) = new_ids(1)
    answer, _ = await told(charge, here.road.url, {"id": ident, "amount": draw.randint(1, 99)}, patience=5.0)
    hint = "write this part first." if answer.kind == "NotImplementedError" else f"return one of {WORDS}."
    text = "a good order is 'charged'"
    if not result.judge(text, answer.value == "charged", expected="'charged'", seen=repr(answer), hint=hint):
        return False
    await until(lambda: here.charged(ident), 3.0)
    seen = await here.charged(ident)
    hint = 'send the order as it is, once, under the pattern "charge".'
    return result.judge("and the ledger has it once", seen == 1, seen=f"{seen} times", hint=hint)


async def is_refused(result: Result, charge: Any, here: Street, draw: Random) -> bool:
    """The bank says no: the caller knows for certain."""
    (ident,) = new_ids(1)
    answer, _ = await told(charge, here.road.url, {"id": ident, "amount": 1001 + draw.randint(0, 99)}, patience=5.0)
    hint = "the bank answered with an error: RpcError. That is an answer."
    text = "an order over 1000 is 'refused'"
    return result.judge(text, answer.value == "refused", expected="'refused'", seen=repr(answer), hint=hint)


async def finds_nobody(result: Result, charge: Any) -> None:
    """Nobody listens at the address: nothing was sent."""
    port = Port()
    try:
        answer, _ = await told(charge, f"tcp://{HOST}:{port.number}", {"id": 1, "amount": 1})
    finally:
        port.release()
    hint = "ConnectError: nothing was sent, so it is certain. Connecting belongs into the `try`, too."
    text = "where nobody listens it is 'not done'"
    result.judge(text, answer.value == "not done", expected="'not done'", seen=repr(answer), hint=hint)


async def is_silent(result: Result, charge: Any, here: Street, draw: Random, fault: str) -> bool:
    """No answer comes, for one of three reasons. It ends in time, says 'unknown', and asks once only."""
    (ident,) = new_ids(1)
    async with here.fault(fault):
        answer, seconds = await told(charge, here.road.url, {"id": ident, "amount": draw.randint(1, 99)})
    times = seconds / PATIENCE
    text, late = f"{fault}: the call ends by its deadline", times > SLOWEST
    if not result.judge(text, not late, seen=f"after {times:.1f} times its patience", hint=DEAF):
        return False
    hint = SURE if answer.value in WORDS else "RequestTimeout is an end like any other: catch it."
    text = f"{fault}: the caller says 'unknown'"
    if not result.judge(text, answer.value == "unknown", expected="'unknown'", seen=repr(answer), hint=hint):
        return False
    if fault != "request lost":
        await until(lambda: here.charged(ident))
    await here.quiet()
    seen = await here.charged(ident)
    return result.judge(f"{fault}: charged once at most", seen <= 1, seen=f"{seen} times", hint=AGAIN)


async def breaks(result: Result, charge: Any, here: Street, draw: Random) -> None:
    """The bank has the request, and is killed before it answers."""
    (ident,) = new_ids(1)
    before = (await here.passed())["upstream"]

    async def arrived() -> bool:
        return (await here.passed())["upstream"] > before

    async with here.fault("bank paused"):
        asking = asyncio.ensure_future(told(charge, here.road.url, {"id": ident, "amount": 10}, patience=5.0))
        await until(arrived)
        here.bank.kill()
        answer, _ = await asking
    await here.quiet()
    hint = SURE if answer.value in WORDS else BREAKS
    text = "a connection that breaks before the answer is 'unknown'"
    result.judge(text, answer.value == "unknown", expected="'unknown'", seen=repr(answer), hint=hint)
