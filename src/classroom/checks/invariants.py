"""Checkers: what must hold of a run, whatever was broken in it. Pure functions of what was recorded (`Run`).

    run = Run(range(1000), acknowledged=acknowledged, handled=handled, dead_lettered=[], crashes=1, in_flight=16)
    verify(run, lost, unexpected, duplicates)

Each gives a `Finding`: pass, fail or unknown, its numbers, and of a failed one the life of one offending message. What
could not be read makes unknown what depends on it, and so does a run in which nothing happened: it shows nothing.
Ids whose sending ended in a timeout are counted apart: they may be handled or not, and neither is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from classroom.checks.effects import one_effect_per_id, one_effect_per_key, same_reply
from classroom.checks.findings import Finding, counted, in_order, missing, no_verdict
from classroom.checks.result import Result
from classroom.checks.runs import Handling, Id, Run, handlings
from classroom.checks.tally import Tally, inversions, lost_ids, tally

__all__ = [
    "CHECKERS",
    "Finding",
    "Handling",
    "Run",
    "Tally",
    "dead_letter_copies",
    "dead_letter_ids",
    "deliveries",
    "duplicates",
    "ends",
    "find",
    "handlings",
    "lost",
    "one_effect_per_id",
    "one_effect_per_key",
    "order",
    "same_reply",
    "tally",
    "unexpected",
    "verify",
]

Checker = Callable[[Run], Finding]


def lost(run: Run) -> Finding:
    """lost = acknowledged - handled - dead-lettered. None may be."""
    text = "no acknowledged message is lost"
    if not run.acknowledged:
        return no_verdict(text, missing("acknowledged ids", run.acknowledged))
    if run.handled is None:
        return no_verdict(text, missing("handled messages", None))
    if (gone := lost_ids(run)) is None:
        return no_verdict(text, "some were not handled, and the dead-letter queue could not be read")
    return counted(
        text, run, in_order(run, gone), f"lost of {len(set(run.acknowledged)):,} acknowledged", note=lambda _: "lost"
    )


def unexpected(run: Run) -> Finding:
    """unexpected = handled - attempted. None may be; nor one of which the sender was told that nothing was sent."""
    text = "nothing is handled that was never sent"
    if not run.handled:
        return no_verdict(text, missing("handled messages", run.handled))
    refused = set(run.refused) - set(run.acknowledged or ()) - set(run.unknown)
    attempted = set(run.attempted) - refused
    strange = list(dict.fromkeys(one.id for one in run.handled if one.id not in attempted))
    return counted(text, run, strange, "handled and never sent", note=lambda _: "nobody sent it")


def duplicates(run: Run) -> Finding:
    """Work done more than once: at most one time for each message in flight at a crash."""
    text = "work is repeated only for what was in flight at a crash"
    if not run.handled:
        return no_verdict(text, missing("handled messages", run.handled))
    counts = Counter(one.id for one in run.done)
    twice = [one for one, times in counts.items() if times > 1]
    extra = sum(counts[one] - 1 for one in twice)
    if extra and run.crashes is None:
        return no_verdict(text, f"{extra:,} handled again, and how many crashes there were is not known")
    most = (run.crashes or 0) * run.in_flight
    wanted = f"at most {most:,}: {run.crashes or 0:,} crashes, {run.in_flight:,} in flight at each"
    return counted(text, run, twice, "handled again", extra, most, wanted)


def order(run: Run, most: int = 0) -> Finding:
    """Messages of one key are handled in the order of sending; an inversion is a pair of them the other way round.

    The first time that a message's work was done counts. Two at the very same time are in order.
    """
    text = "messages of one key are handled in the order of sending"
    if not run.handled:
        return no_verdict(text, missing("handled messages", run.handled))
    found, overtaken = inversions(run)
    what = f"inversions, of {len(overtaken):,} messages that were overtaken"

    def note(ident: Id) -> str:
        return f"handled behind {overtaken[ident]}, which was sent later"

    return counted(text, run, list(overtaken), what, found, most, note=note)


def deliveries(run: Run, *, counts_crashes: bool = False) -> Finding:
    """No message is delivered more often than the limit; where crashes are not counted, than the limit and all crashes.

    Args:
        counts_crashes: whether the broker counts deliveries itself, so that one that kills its process counts too.
    """
    text = "no message is delivered more often than the limit"
    if not run.handled:
        return no_verdict(text, missing("handled messages", run.handled))
    if run.limit is None:
        return no_verdict(text, "the limit is not known")
    most = run.limit + (0 if counts_crashes else run.crashes or 0)
    counts = Counter(one.id for one in run.handled)
    for one in run.handled:
        counts[one.id] = max(counts[one.id], one.attempt)
    over = [one for one, times in counts.items() if times > most]
    if over and run.crashes is None and not counts_crashes:
        return no_verdict(text, f"{len(over):,} delivered more often, and how many crashes there were is not known")
    what = f"delivered more often, up to {max(counts.values()):,} times"
    return counted(text, run, over, what, expected=f"at most {most:,} deliveries of each message")


def dead_letter_ids(run: Run) -> Finding:
    """The ids in the dead-letter queue are the poison ids: all that were acknowledged, and no other."""
    text = "the dead letters are the poison messages"
    if run.dead_lettered is None or run.poison is None or run.acknowledged is None:
        parts = {"dead letters": run.dead_lettered, "poison ids": run.poison, "acknowledged ids": run.acknowledged}
        return no_verdict(text, "; ".join(missing(name, None) for name, found in parts.items() if found is None))
    if not run.attempted:
        return no_verdict(text, "nothing was sent")
    there, poison = set(run.dead_lettered), set(run.poison) & set(run.attempted)
    absent = in_order(run, (poison & set(run.acknowledged)) - there)
    healthy = in_order(run, there - poison)
    what = f"wrong ones, of which {len(absent):,} missing and {len(healthy):,} not poison"
    return counted(text, run, [*absent, *healthy], what, expected=f"the {len(poison):,} poison ids")


def dead_letter_copies(run: Run) -> Finding:
    """Each dead letter is there once; a crash may leave one more copy of each message that was in flight."""
    text = "a dead letter is there once"
    if run.dead_lettered is None:
        return no_verdict(text, missing("dead letters", None))
    counts = Counter(run.dead_lettered)
    twice = [one for one, times in counts.items() if times > 1]
    extra = sum(counts[one] - 1 for one in twice)
    if extra and run.crashes is None:
        return no_verdict(text, f"{extra:,} extra copies, and how many crashes there were is not known")
    return counted(text, run, twice, "extra copies", extra, (run.crashes or 0) * run.in_flight)


def ends(run: Run) -> Finding:
    """Every sending ended: acknowledged, refused, or unknown after a timeout. Unknown ones are no failures."""
    text = "every sending came to an end"
    if run.acknowledged is None or not run.attempted:
        return no_verdict(text, missing("acknowledged ids", None) if run.attempted else "nothing was sent")
    acknowledged, refused, unknown = set(run.acknowledged), set(run.refused), set(run.unknown) - set(run.acknowledged)
    open_ones = in_order(run, set(run.attempted) - acknowledged - refused - unknown)
    handled = len(unknown & {one.id for one in run.done})
    what = f"without an end; {len(acknowledged):,} acknowledged, {len(refused):,} refused, {len(unknown):,} unknown"
    return counted(text, run, open_ones, f"{what} ({handled:,} of these handled)")


CHECKERS: tuple[Checker, ...] = (
    ends,
    lost,
    unexpected,
    duplicates,
    order,
    deliveries,
    dead_letter_ids,
    dead_letter_copies,
    one_effect_per_key,
    one_effect_per_id,
    same_reply,
)


def verify(run: Run, *checkers: Checker, name: str = "run") -> Result:
    """All findings of some checkers, as one result; of all of them, when none is named.

    It has passed when each has: an unknown one has not.
    """
    result = Result(name, f"{len(run.attempted):,} messages")
    result.conditions += [checker(run) for checker in checkers or CHECKERS]
    return result


def find(result: Result, run: Run, checker: Checker, text: str, hint: str) -> bool:
    """Add what a checker finds, in the words of the task, with the hint for a failure."""
    finding = checker(run)
    result.conditions.append(replace(finding, text=text, hint="" if finding.passed else hint))
    return bool(finding.passed)
