"""Check 02.account: what was lost, what came twice, and what nobody sent, read from the ledger."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from classroom.checks.asking import Answer, ask
from classroom.checks.needs import need_function
from classroom.checks.result import Result

__all__ = ["judge"]

KEYS = ("lost", "twice", "strange")
WRITE = "write this part first."
SHAPE = "return a dict with the keys lost, twice and strange, each a sorted list of ids."
PLAIN = "count how often each id has the outcome 'effect'."
FAILED = "a row with the outcome 'failed' is a call that took no effect: that event was not handled."
REPEAT = "a 'repeat' was recognised by its key, and nothing happened a second time; but its event was handled."
SILENT = "nothing was confirmed, so nothing was promised: it may be there or not, and neither is a loss."
STRANGE = "an id in the ledger that was never sent is strange; and one that was sent and not confirmed is not."
Trial = tuple[str, str, list[int], list[int], list[tuple[int, str]]]  # text, hint, sent, confirmed, rows


async def judge(result: Result, draw: Random, account: Any) -> None:
    """All conditions: from the plain case to the ones that are easily got wrong."""
    need_function(result, "account", account, "def account(...):")
    for text, hint, sent, confirmed, pairs in trials(draw):
        rows = [{"id": ident, "outcome": outcome} for ident, outcome in pairs]
        answer = await ask(account, sent, confirmed, rows)
        wanted = truth(sent, confirmed, pairs)
        right = not answer.error and type(answer.value) is dict and answer.value == wanted
        if not result.judge(text, right, expected=f"{wanted}", seen=f"{answer!r:.300}", hint=_hint(answer, hint)):
            return


def _hint(answer: Answer, hint: str) -> str:
    if answer.kind == "NotImplementedError":
        return WRITE
    value = answer.value
    shaped = type(value) is dict and {*value} == {*KEYS} and all(_sorted(ids) for ids in value.values())
    return hint if shaped else SHAPE


def _sorted(ids: Any) -> bool:
    return type(ids) is list and all(type(one) is int for one in ids) and ids == sorted(ids)


def truth(sent: list[int], confirmed: list[int], rows: list[tuple[int, str]]) -> dict[str, list[int]]:
    """What is right."""
    effects = Counter(ident for ident, outcome in rows if outcome == "effect")
    handled = {ident for ident, outcome in rows if outcome in ("effect", "repeat")}
    return {
        "lost": sorted({*confirmed} - handled),
        "twice": sorted(ident for ident, times in effects.items() if times > 1),
        "strange": sorted(effects.keys() - {*sent}),
    }


def trials(draw: Random) -> list[Trial]:
    """One for each thing that is easily got wrong; the ids are drawn."""
    ids = draw.sample(range(1, 1000), 12)
    done = [(one, "effect") for one in ids]
    few, gone, stray = ids[:2], ids[2:4], [one + 1000 for one in ids[4:6]]
    mixed = [row for row in done if row[0] not in gone] + [(one, "effect") for one in few]
    draw.shuffle(mixed)
    failed = [row for row in done if row[0] not in gone] + [(one, "failed") for one in [*gone, *few]]
    repeats = [*done, *((one, "repeat") for one in few)]
    silent = [one for one in ids if one not in gone]
    return [
        ("some are lost, some came twice", PLAIN, ids, ids, mixed),
        ("calls that failed took no effect", FAILED, ids, ids, failed),
        ("a repeat of an idempotency key is no second effect", REPEAT, ids, ids, repeats),
        ("an event whose first call got no answer, and whose repeat did", REPEAT, ids, ids, [
            *((one, "repeat") for one in few), *(row for row in done if row[0] not in few)]),
        ("what was never confirmed is not lost", SILENT, ids, silent, [r for r in done if r[0] not in [*gone, *few]]),
        ("what was never sent is strange", STRANGE, ids, silent, [*done, *((one, "effect") for one in stray)]),
        ("nothing was sent, and nothing came", PLAIN, [], [], []),
    ]  # fmt: skip
