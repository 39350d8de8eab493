"""Check 09a.once: orders that come twice, a ledger that fails, a service that is killed: one charge for each order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from classroom.checks.effects import one_effect_per_id
from classroom.checks.findings import counted
from classroom.checks.invariants import find, lost
from classroom.checks.lab05.acking import AT_MOST_ONCE
from classroom.checks.rehearsal import Stage, last_words, new_ids, rehearsal
from classroom.checks.result import Result
from classroom.checks.runs import Id, Run
from postoffice import DeadLetter
from postoffice.points import Point

PATTERN = "order.placed"
ORDERS = 6  # in each part
REFUSALS = 3  # calls in a row that the ledger refuses, as the task says; and answers that it loses
CLICKED = (
    "the customer clicked twice: two messages, one order. A message_id names the message, and the key must name what"
    " is to be done once: the order."
)
NO_KEY = "the ledger was given no idempotency_key: to it each call is a charge of its own."
NEW_KEYS = (
    "the calls for one order bore different keys. A key that is made in the handler, or from the attempt, is another"
    " one each time: make it from the order's number alone."
)
MERGED = (
    "two orders of one customer, with one total, are two charges. A key that is made from anything but the order's"
    " number takes them for one."
)
CHANGED = (
    "one key came with two payloads, and the ledger refused the second. In each repetition of an order its call must be"
    " the same: number, amount, and whatever you give besides."
)
REMEMBERED = (
    "it remembered in its own memory, and forgot it when it died; two replicas would not share it, either. The ledger"
    " does not forget: give it a key."
)
TOO_FEW = (
    "the ledger failed for a moment, and a good order lies among the dead letters: up to three calls in a row may"
    " fail, so there must be a fourth attempt: retry=Retry(attempts=5, initial=0.1)."
)
NO_RETRY = (
    "the ledger failed for a moment, and nobody tried again, so a good order lies among the dead letters:"
    " @event_pattern(..., retry=Retry(initial=0.1))"
)
FAR_OFF = (
    "the next attempt lies too far off, or there are too many of them: start with a tenth of a second, and end after a"
    " few attempts: retry=Retry(attempts=5, initial=0.1)."
)
UNKNOWN = (
    "a record of your own says 'started', and cannot say whether it was done. The ledger takes keys: hand it one, and"
    " need no record."
)
GONE = "the handler came to its end without a charge: an `except` hides the error, or it was noted as done before."


async def judge(result: Result, draw: Random, payments: Any, rabbit: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "payments", payments, rabbit, book) as stage:
        if not (await charges(result, stage, draw) and await comes_twice(result, stage, draw)):
            return
        if await outlives_faults(result, stage, draw):
            await outlives_kills(result, stage, draw)


async def place(stage: Stage, draw: Random, number: int, *, customer: str = "", total: int = 0) -> dict[int, Any]:
    """Place some orders; the event of each. The service is up then."""
    if not stage.service.alive:  # it was stopped to see whether it holds what is missing
        await stage.service.restart()
    orders = {}
    for ident in new_ids(number):
        order = {"order": ident, "customer": customer or draw.choice(("Ada", "Grace", "Edsger"))}
        orders[ident] = order | {"total": total or draw.randint(1, 99)}
        await send(stage, orders[ident])
    return orders


async def send(stage: Stage, order: dict[str, Any], copy: str = "") -> None:
    """One message of an order; a `copy` has a message id of its own."""
    await stage.send(PATTERN, order["order"], order, copy=copy)


async def charges(result: Result, stage: Stage, draw: Random) -> bool:
    """On a day without trouble, three orders are charged: each once, the right amount."""
    wanted = await place(stage, draw, 3)
    await stage.settle()
    rows = await stage.rows()
    seen = sorted((row.kind, row.id, row.amount) for row in rows if row.outcome == "effect")
    right = sorted(("charge", ident, order["total"]) for ident, order in wanted.items())
    hint = last_words(stage.service)
    if any(row.outcome in ("conflict", "repeat") and row.id not in {ident for _, ident, _ in seen} for row in rows):
        hint = MERGED  # another order has had the same key, perhaps in an earlier check
    elif seen:
        hint = 'charge data["order"], and as its amount data["total"].'
    expected, told = (", ".join(f"{kind} {ident}: {amount}" for kind, ident, amount in rows) for rows in (right, seen))
    text = "three orders are charged, each once"
    return result.judge(text, seen == right, expected=expected, seen=told or "nothing in the ledger", hint=hint)


async def comes_twice(result: Result, stage: Stage, draw: Random) -> bool:
    """The sender repeats a message; a customer clicks twice; a customer orders the same once more."""
    await stage.begin()
    total = draw.randint(1, 99)
    orders = [*(await place(stage, draw, 3, customer="Ada", total=total)).values()]
    repeated, clicked, _ = orders
    await send(stage, repeated)
    await send(stage, clicked, copy="-clicked")
    await stage.drain()
    return await accounts(result, stage, "three orders alike, one sent twice, one clicked twice", CLICKED)


async def accounts(result: Result, stage: Stage, what: str, hint: str) -> bool:
    """Nothing lost, nothing dead, nothing twice; `hint` where an order is charged twice and no key tells why."""
    if waiting := await stage.waiting():
        hint = FAR_OFF if stage.service.alive else last_words(stage.service)
        text = f"{what}: at last nothing waits for another attempt"
        return result.judge(text, False, expected="0", seen=f"{waiting} still wait", hint=hint)
    run, letters = await stage.run(), await stage.letters()
    gone = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else GONE
    if not find(result, run, lost, f"{what}: no order is lost", gone):
        return False
    dead = counted(f"{what}: no order is given up", run, list(dict.fromkeys(run.dead_lettered or ())), "dead letters")
    told = f"{dead.seen} ({letters[0].reason[:200]})" if letters else dead.seen
    result.conditions.append(replace(dead, seen=told, hint="" if dead.passed else _why_dead(run, letters)))
    paid = one_effect_per_id(run)
    told = "" if paid.passed else _why_twice(run, paid.offenders, hint)
    result.conditions.append(replace(paid, text=f"{what}: each order is charged once", hint=told))
    return bool(dead.passed and paid.passed)


def _why_dead(run: Run, letters: Sequence[DeadLetter]) -> str:
    conflicts = {row.id for row in run.ledger or () if row.outcome == "conflict"}
    if conflicts:
        paid = {row.id for row in run.ledger or () if row.outcome == "effect"}
        return CHANGED if conflicts <= paid else MERGED
    if any(one.reason.startswith("OutcomeUnknown") for one in letters):
        return UNKNOWN
    return NO_RETRY if any(one.attempts == 1 for one in letters) else TOO_FEW


def _why_twice(run: Run, paid_twice: Collection[Id], hint: str) -> str:
    keys = [row.key for row in run.ledger or () if row.id in paid_twice and row.outcome == "effect"]
    return NO_KEY if None in keys else hint


async def outlives_faults(result: Result, stage: Stage, draw: Random) -> bool:
    """The ledger refuses some calls; then it does its work, and loses some answers."""
    await stage.begin()
    async with stage.book.failing(REFUSALS):
        await place(stage, draw, 1)  # alone, so that all of them are its own
        await stage.settle()
    async with stage.book.failing(REFUSALS, after_effect=True):
        await place(stage, draw, ORDERS)
        await stage.drain()
    return await accounts(result, stage, "the ledger refuses, then loses its answers", NEW_KEYS)


async def outlives_kills(result: Result, stage: Stage, draw: Random) -> None:
    """It is killed before its work, after its work and after its ack; after each, an old order comes once more."""
    await stage.begin()
    points: tuple[Point, ...] = ("before-handler", "after-handler", "acked")
    orders: list[dict[str, Any]] = []
    for point in draw.sample(points, len(points)):
        crash = await stage.crash(point, draw.randint(1, ORDERS // 2))
        orders += (await place(stage, draw, ORDERS)).values()
        await stage.restart_after(crash)
        await send(stage, draw.choice(orders), copy=f"-after-{point}")
    await stage.drain()
    await accounts(result, stage, f"killed at {len(points)} points of its work, and old orders come again", REMEMBERED)
