"""Check 05.ack: a payment service that is killed, and whose ledger fails, and still charges every order."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from classroom.checks.invariants import duplicates, find, lost, unexpected
from classroom.checks.rehearsal import Stage, last_words, new_ids, rehearsal
from classroom.checks.result import Result
from postoffice.points import Point

PATTERN = "order.placed"
ORDERS = 8  # in each part
POINTS: tuple[Point, ...] = ("before-handler", "after-handler", "acked")
AT_MOST_ONCE = (
    "its service runs at most once: the broker forgets a letter as it hands it over. First line of the cell:"
    " --delivery at-least-once"
)
NOT_AWAITED = (
    "it died after the ack, before the charge: the handler had returned while its work was still to be done, as with"
    " asyncio.create_task. Await the charge in the handler."
)
SWALLOWED = (
    "the ledger refused, and the handler came to its end all the same, so the letter was acknowledged. Either an"
    " `except` hides the error, or the order was noted as done before it was. Let the error out."
)
TWICE = "nothing was killed here, and yet an order was charged more than once: is there a second call, or a loop?"
TOO_MANY = "more came again than was in flight when it was killed: does something else repeat the work?"


async def judge(result: Result, draw: Random, payments: Any, rabbit: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "payments", payments, rabbit, book) as stage:
        if await charges(result, stage, draw) and await outlives_refusals(result, stage, draw):
            await outlives_kills(result, stage, draw)


async def place(stage: Stage, draw: Random, number: int) -> dict[int, int]:
    """Place some orders; what each is to be charged."""
    orders = {ident: draw.randint(1, 99) for ident in new_ids(number)}
    for ident, total in orders.items():
        await stage.send(PATTERN, ident, {"id": ident, "total": total})
    return orders


async def charges(result: Result, stage: Stage, draw: Random, twice: str = TWICE) -> bool:
    """On a day without trouble, three orders are charged: each once, the right amount."""
    wanted = await place(stage, draw, 3)
    await stage.settle()
    if stage.service.plan.replicas > 1:
        await stage.service.stop()  # another one may be at it still
    rows = await stage.rows()
    seen = sorted((row.kind, str(row.id), row.amount) for row in rows if row.outcome == "effect")
    right = seen == sorted(("charge", str(ident), total) for ident, total in wanted.items())
    hint = twice if len(seen) > len(wanted) else last_words(stage.service)
    if seen and len(seen) <= len(wanted):
        hint = 'charge data["id"], and as its amount data["total"].'
    expected = ", ".join(f"charge {ident}: {total}" for ident, total in wanted.items())
    told = ", ".join(f"{kind} {ident}: {amount}" for kind, ident, amount in seen) or "nothing in the ledger"
    return result.judge("three orders are charged, each once", right, expected=expected, seen=told, hint=hint)


async def outlives_refusals(result: Result, stage: Stage, draw: Random) -> bool:
    """The ledger refuses two calls: these orders are charged later, or lie among the dead letters."""
    await stage.begin()
    async with stage.book.failing(2):
        await place(stage, draw, ORDERS)
        await stage.settle()
    run = await stage.run()
    hint = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else SWALLOWED
    kept = find(result, run, lost, "the ledger refuses two calls: no order is lost", hint)
    return find(result, run, duplicates, "the ledger refuses two calls: no order is charged twice", TWICE) and kept


async def outlives_kills(result: Result, stage: Stage, draw: Random, points: Sequence[Point] = POINTS) -> None:
    """It is killed at these points: before its work, after its work, and after its ack."""
    await stage.begin()
    for point in draw.sample(points, len(points)):
        crash = await stage.crash(point, draw.randint(1, ORDERS // 2))
        await place(stage, draw, ORDERS)
        await stage.restart_after(crash)
        await stage.settle()
        if not stage.service.alive:
            await stage.service.restart()
    run = await stage.run()
    hint = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else NOT_AWAITED
    find(result, run, lost, f"killed at {len(points)} points of its work: no order is lost", hint)
    find(result, run, duplicates, "killed: only what was in flight is charged again", TOO_MANY)
    find(result, run, unexpected, "killed: nothing is charged that nobody ordered", 'charge data["id"].')
