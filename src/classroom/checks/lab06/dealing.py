"""Check 06.once: a payment service of two replicas that charges each order once, whether anybody is there or not."""

from __future__ import annotations

from random import Random
from typing import Any

from classroom.checks.invariants import duplicates, find, lost
from classroom.checks.lab05.acking import SWALLOWED, charges, outlives_kills, place
from classroom.checks.rehearsal import Stage, rehearsal
from classroom.checks.result import Result

EVERYBODY = (
    "on a channel of Redis every replica hears every order, and each has a memory of its own: no set in one process"
    " knows what the other has done. A stream hands each order to one of them. First line of the cell:"
    " --delivery at-least-once. (The payments of your own cell heard these orders, too.)"
)
TWICE = "a stream hands each order to one replica, and yet it was charged more than once: is there a second call?"
ALONE = "the task is about two replicas that share the work: keep --replicas 2."


async def judge(result: Result, draw: Random, payments: Any, broker: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "payments", payments, broker, book, "redis") as stage:
        often = EVERYBODY if stage.service.plan.delivery == "at-most-once" else TWICE
        if not (has_two(result, stage) and await charges(result, stage, draw, often)):
            return
        if await outlives_absence(result, stage, draw):
            await outlives_kills(result, stage, draw, ("after-handler", "acked"))


def has_two(result: Result, stage: Stage) -> bool:
    """One replica alone would be easier."""
    number = stage.service.plan.replicas
    return result.judge("payments has two replicas", number >= 2, seen=f"{number} replica", hint=ALONE)


async def outlives_absence(result: Result, stage: Stage, draw: Random) -> bool:
    """Orders come in while no replica is there, and the ledger refuses two calls of the first one that is.

    What it gave up then is sent back to it. Of one replica, since with two a refused order may by luck come again to
    the other one, and be charged.
    """
    number = stage.service.plan.replicas
    await stage.begin(up=False)
    async with stage.book.failing(2):
        await place(stage, draw, draw.randint(4, 9))
        await stage.service.scale(1)
        await stage.settle()
    await stage.send_back()
    run = await stage.run()
    text = "orders come in while nobody is there, and the ledger refuses two calls"
    kept = find(result, run, lost, f"{text}: none is lost", SWALLOWED)
    once = find(result, run, duplicates, f"{text}: none is charged twice", TWICE)
    await stage.service.scale(number)
    return kept and once
