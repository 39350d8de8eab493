"""Check 05.prefetch: two printers share a queue, and a long job does not hold up the short ones."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from classroom.checks.invariants import duplicates, find, lost
from classroom.checks.rehearsal import LIMIT, Stage, last_words, new_ids, prefetch, rehearsal
from classroom.checks.result import Result
from classroom.checks.runs import Run

SHORT = 14  # jobs of a page each
PAGE = 0.02  # seconds that a page takes, as the cell says
LONGER = (4, 20)  # times as long as all short jobs together: the long job, and where the machine is busy, a second one
LONGEST = 6.0  # seconds; a service that is stopped has ten to finish
POCKET = "short jobs lay in the pocket of the replica that had the long one"
LEFT_OUT = (
    "the long job was acknowledged, and never printed. Either it is left out, or the handler had returned while its"
    " work was still to be done, and the replica stopped. Await the work in the handler."
)
RETURNED = (
    "it died after the ack, before the job was printed: the handler had returned while its work was still to be done."
    " Await the work in the handler."
)


async def judge(result: Result, draw: Random, printers: Any, rabbit: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "printers", printers, rabbit, book) as stage:
        seconds = await prints(result, stage)
        if seconds is not None and await lets_pass(result, stage, draw, seconds):
            await loses_nothing(result, stage, draw)


async def jobs(stage: Stage, number: int, pages: int = 1) -> list[int]:
    """Send some jobs; their ids."""
    idents = new_ids(number)
    for ident in idents:
        await stage.send("print", ident, {"id": ident, "pages": pages})
    return idents


async def prints(result: Result, stage: Stage) -> float | None:
    """Short jobs alone: how many seconds they take here and now; None when they are not printed."""
    began = time.perf_counter()
    sent = await jobs(stage, SHORT)
    await stage.settle()
    seconds = time.perf_counter() - began
    done = [row.id for row in await stage.rows() if row.outcome == "effect"]
    seen = f"{len(set(sent) & set(done))} printed, {len(done)} records"
    text = f"{SHORT} short jobs are printed, each once"
    good = result.judge(text, sorted(done, key=str) == sorted(sent, key=str), seen=seen, hint=last_words(stage.service))
    return seconds if good else None


async def lets_pass(result: Result, stage: Stage, draw: Random, seconds: float) -> bool:
    """A long job among the first three of all: every short one is done before it.

    A short job that lies behind the long one comes after it, however long that is. One that was only slow does not come
    after a job that is longer still.
    """
    before, seen, late = draw.randint(0, 2), "", None
    for times in LONGER:
        run, long, short = await _one_long(stage, before, min(times * seconds, LONGEST))
        if not find(result, run, lost, "with a long job among them, every job is printed", LEFT_OUT):
            break
        done = [row.id for row in sorted(run.ledger or (), key=lambda row: row.number) if row.outcome == "effect"]
        late = len(set(done[done.index(long) :]) & set(short)) if long in done else None
        seen = f"{late} of {len(short)} came after it" if late is not None else "the long job was not printed"
        if not late or times == LONGER[-1]:
            break
        result.conditions.pop()  # it is judged again, with a longer one
    text = "every short job is done before the long one that was sent among the first"
    unclear = late is None or (late and 2 * seconds > LONGEST)  # this machine is too slow to tell
    return result.judge(text, None if unclear else not late, expected="0 after it", seen=seen, hint=_why(stage))


async def _one_long(stage: Stage, before: int, seconds: float) -> tuple[Run, int, list[int]]:
    """Some short jobs, one that takes so long, and short ones again: what came of them."""
    await stage.begin()
    first = await jobs(stage, before)
    (long,) = await jobs(stage, 1, pages=round(max(1.0, seconds) / PAGE))
    short = first + await jobs(stage, SHORT)
    await stage.settle(LIMIT + seconds)
    return await stage.run(), long, short


def _why(stage: Stage) -> str:
    plan = stage.service.plan
    if plan.delivery == "at-most-once":
        return f"{POCKET}: at most once, the broker hands over all it has. --delivery at-least-once, and --prefetch"
    if plan.replicas == 1:
        return "there is one replica only: whatever stands behind the long job waits. --replicas 2"
    return f"{POCKET}: each may hold {prefetch(stage.service)} letters. Let it hold one: --prefetch 1"


async def loses_nothing(result: Result, stage: Stage, draw: Random) -> None:
    """A replica dies just after an ack: what it had acknowledged was printed."""
    await stage.begin()
    crash = await stage.crash("acked", draw.randint(1, 3))
    await jobs(stage, SHORT)
    await stage.restart_after(crash)
    await stage.settle()
    run = await stage.run()
    find(result, run, lost, "a replica is killed: no job is lost", RETURNED)
    find(result, run, duplicates, "a replica is killed: only what was in flight is printed again", "is a job sent on?")
