"""Check 05.poison: letters that fail, that can never be done, and that kill their reader."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

from classroom.checks.invariants import dead_letter_copies, dead_letter_ids, find, lost
from classroom.checks.rehearsal import Stage, last_words, new_ids, rehearsal
from classroom.checks.result import Result
from classroom.keeping import KeptUp
from classroom.service_plan import ServiceError

GOOD, EMPTY, REFUSALS = 6, 2, 2  # letters that are fine, that cannot be printed; calls that the ledger refuses
MOST_CRASHES = 5  # that one letter may cost
LOOP = (
    "the letter that kills its reader comes back for ever: a classic queue does not count deliveries. A quorum queue"
    " does: --quorum, and Retry(attempts=...) is its limit."
)
LIMITLESS = (
    "the quorum queue counts, but its limit is 20 deliveries where the handler has no Retry, or that of a Retry with"
    " many attempts: retry=Retry(attempts=3)."
)
AT_MOST_ONCE = "at most once, whatever fails is gone. First line of the cell: --delivery at-least-once"
HIDDEN = "an error was hidden, so the letter was acknowledged as done. Raise it: postoffice buries what fails."
INNOCENT = (
    "a good letter was in the reader's hand each time it died, so each crash counted as a delivery of it, too."
    " Hold one at a time: --prefetch 1"
)
IMPATIENT = (
    "the ledger refused for a moment, and a good letter was buried for it. Errors that pass are worth another attempt:"
    " @event_pattern(..., retry=Retry(attempts=3))"
)
STUBBORN = (
    "trying again cannot help here, and costs time each time: turn this error into a PermanentError, or name in"
    " Retry(on=...) the errors that pass."
)


async def judge(result: Result, draw: Random, labels: Any, rabbit: Any, book: Any) -> None:
    """All conditions of the task."""
    async with rehearsal(result, "labels", labels, rabbit, book) as stage:
        if not await ships(result, stage):
            return
        empty, killer, stranger = await send_all(stage, draw)
        if await goes_on(result, stage):
            await accounts(result, stage, empty, {*empty, killer, stranger})


async def ships(result: Result, stage: Stage) -> bool:
    """A good letter, on a day without trouble."""
    (ident,) = new_ids(1)
    await stage.send("label", ident, {"id": ident, "text": "Ada"})
    await stage.settle()
    seen = [(row.kind, row.id) for row in await stage.rows() if row.outcome == "effect"]
    text = "a good letter is shipped, once"
    hint = last_words(stage.service)
    return result.judge(text, seen == [("ship", ident)], expected=f"ship {ident}", seen=str(seen), hint=hint)


async def send_all(stage: Stage, draw: Random) -> tuple[set[int], int, int]:
    """All letters in one row, good ones at its end; the ids of the empty ones, the killer and the stranger."""
    await stage.begin()
    await stage.book.failing(REFUSALS)
    texts = ["Grace"] * (GOOD // 2) + [None] * EMPTY + ["\0"]
    draw.shuffle(texts)
    texts += ["Edsger"] * (GOOD - GOOD // 2)
    idents = new_ids(len(texts) + 1)
    stage.service.pause()  # so that all of them are there when it begins
    await stage.send("lable", idents[-1], {"id": idents[-1], "text": "a pattern with a slip"})
    for ident, text in zip(idents, texts, strict=False):
        await stage.send("label", ident, {"id": ident, "text": text})
    empty = {ident for ident, text in zip(idents, texts, strict=False) if text is None}
    return empty, idents[texts.index("\0")], idents[-1]


async def goes_on(result: Result, stage: Stage) -> bool:
    """It is started again whenever it crashes; the good letters are shipped, and it stops crashing."""
    async with stage.service.kept_up() as kept:
        with suppress(ServiceError):  # the killer may come first
            await stage.service.resume()
        await stage.settle(enough=lambda: kept.crashes > MOST_CRASHES)
    stage.crashes = kept.crashes
    text = f"the service dies {MOST_CRASHES} times at most over one letter, and goes on"
    hint = LIMITLESS if "--quorum" in stage.service.plan.queue else LOOP
    return result.judge(text, kept.crashes <= MOST_CRASHES, seen=_times(kept), hint=hint)


def _times(kept: KeptUp) -> str:
    return f"{kept.crashes} crashes, and then it was stopped" if kept.crashes > MOST_CRASHES else repr(kept)


async def accounts(result: Result, stage: Stage, empty: set[int], poison: set[int]) -> None:
    """Who was lost, who was buried, who was tried again in vain."""
    run = await stage.run(poison)
    letters = await stage.letters()
    kinds = {one.kind for one in letters if stage.number(one) not in poison}
    hint = AT_MOST_ONCE if stage.service.plan.delivery == "at-most-once" else HIDDEN
    find(result, run, lost, "no letter is lost", hint)
    hint = INNOCENT if "crashed" in kinds or "delivery_limit" in kinds else IMPATIENT if kinds else hint
    find(result, run, dead_letter_ids, "the dead letters are those that can never be handled, and no other", hint)
    find(result, run, dead_letter_copies, "a dead letter is there once", "is a letter sent on by hand, too?")
    tries = {stage.number(one): one.attempts for one in letters if stage.number(one) in empty}
    text = "a letter that cannot be printed is tried once"
    seen = ", ".join(f"letter {ident}: {number} times" for ident, number in tries.items()) or "none is there"
    verdict = all(number == 1 for number in tries.values()) if tries.keys() == empty else None
    result.judge(text, verdict, seen=seen, hint=STUBBORN)
