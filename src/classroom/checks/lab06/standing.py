"""Check 06.stuck: a service that stands still: what it holds never ends, and every entry bears a live reader's name."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from classroom.checks.invariants import dead_letter_ids, find, lost
from classroom.checks.rehearsal import POLL, Stage, last_words, new_ids, prefetch, rehearsal
from classroom.checks.result import Result

PATTERN = "parcel.packed"
GOOD = 6
STILL = 12.0  # seconds in which nothing at all changes; the task allows 2 for one attempt
MOST_TRIES = 2
NO_LIMIT = (
    "every place in its hand is taken by an entry that never ends: XPENDING names a reader, and that reader lives and"
    " says so, hence nobody will claim them. Give the scale a limit: async with asyncio.timeout(1)."
)
FOR_EVER = (
    "the good parcels went through, and yet entries stay pending for ever: more room in the hand only puts it off. Give"
    " the scale a limit: async with asyncio.timeout(1)."
)
AT_MOST_ONCE = "at most once, whatever fails is gone. First line of the cell: --delivery at-least-once"
HIDDEN = (
    "an entry was acknowledged and its parcel neither shipped nor buried. Either an `except` hides the TimeoutError, or"
    " the handler returns while its work is still to be done. Let the error out: postoffice buries what fails."
)
IMPATIENT = "a scale that is busy answers after half a second: wait longer than that, a second at least."
GUESSED = "a parcel that was never weighed was shipped: a TimeoutError is no weight."
STUBBORN = "a scale that is stuck stays stuck: try it twice at most, retry=Retry(attempts=2)."


async def judge(result: Result, draw: Random, parcels: Any, broker: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "parcels", parcels, broker, book, "redis") as stage:
        if not await ships(result, stage, draw):
            return
        good, stuck = await send_all(stage, draw)
        await until_still(stage)
        if await passes(result, stage, good):
            await accounts(result, stage, good, stuck)


async def ships(result: Result, stage: Stage, draw: Random) -> bool:
    """A good parcel, on a day without trouble."""
    (ident,), size = new_ids(1), draw.randint(1, 50)
    await stage.send(PATTERN, ident, {"id": ident, "size": size, "scale": "idle"})
    await stage.settle()
    rows = [row for row in await stage.rows() if row.outcome == "effect"]
    seen = [(row.kind, row.id, row.fields.get("weight")) for row in rows]
    wanted = [("ship", ident, 2 * size)]
    text, hint = "a parcel is shipped, once, with its weight", last_words(stage.service)
    if len(seen) > 1 and stage.service.plan.delivery == "at-most-once":
        hint = f"a channel of Redis is heard by the parcels of your own cell, too. {AT_MOST_ONCE}"
    return result.judge(text, seen == wanted, expected=str(wanted), seen=str(seen), hint=hint)


async def send_all(stage: Stage, draw: Random) -> tuple[set[int], set[int]]:
    """More parcels of stuck scales than it may hold, and good ones behind them; the ids of both."""
    await stage.begin()
    scales = ["stuck"] * (prefetch(stage.service) * stage.service.plan.replicas + 2 + draw.randint(0, 3))
    scales = scales[:40] + [draw.choice(["idle", "busy"]) for _ in range(GOOD - 1)] + ["busy"]
    idents = new_ids(len(scales))
    for ident, scale in zip(idents, scales, strict=True):
        await stage.send(PATTERN, ident, {"id": ident, "size": draw.randint(1, 50), "scale": scale})
    stuck = {ident for ident, scale in zip(idents, scales, strict=True) if scale == "stuck"}
    return set(idents) - stuck, stuck


async def until_still(stage: Stage) -> None:
    """Wait until nothing waits and all has come to its end, or nothing has changed for a long time."""
    loop, before, since = asyncio.get_running_loop(), (-1, -1, -1), 0.0
    since = loop.time()
    while loop.time() - since < STILL:
        waiting = await stage.waiting()
        now = (len(await stage.rows()), waiting, len(await stage.letters()))
        if now != before:
            before, since = now, loop.time()
        if not waiting and (not await stage.missing() or loop.time() - since > 1):
            return
        await asyncio.sleep(POLL)


async def passes(result: Result, stage: Stage, good: set[int]) -> bool:
    """The good ones were not held up for ever."""
    seen = await stage.rows()
    shipped = {row.id for row in seen if row.outcome == "effect"} & good
    buried = {stage.number(one) for one in await stage.letters()} & good
    hint = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else IMPATIENT if buried else NO_LIMIT
    text, told = "the good parcels behind the stuck ones are shipped", f"{len(shipped)} of {len(good)}"
    return result.judge(text, shipped == good, expected=f"{len(good)} shipped", seen=told, hint=hint)


async def accounts(result: Result, stage: Stage, good: set[int], stuck: set[int]) -> None:
    """Nothing is lost, nothing stays pending, and what cannot be weighed is buried."""
    waiting = await stage.waiting()
    result.judge("nothing stays pending", not waiting, expected="0", seen=f"{waiting} entries", hint=FOR_EVER)
    if waiting:
        return
    run = await stage.run(stuck)
    guessed = {row.id for row in await stage.rows() if row.outcome == "effect"} & stuck
    text = "no parcel is shipped that was not weighed"
    result.judge(text, not guessed, expected="0", seen=f"{len(guessed)} of {len(stuck)}", hint=GUESSED)
    hint = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else HIDDEN
    find(result, run, lost, "no parcel is lost", hint)
    find(result, run, dead_letter_ids, "the dead letters are the parcels of the stuck scales", hint)
    tries = [one.attempts for one in await stage.letters() if stage.number(one) in stuck]
    text, seen = f"a stuck scale is tried {MOST_TRIES} times at most", f"up to {max(tries, default=0)} times"
    result.judge(text, all(one <= MOST_TRIES for one in tries), seen=seen, hint=STUBBORN)
