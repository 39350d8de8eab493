"""The numbers of a run, without a judgement."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from classroom.checks.runs import Id, Run

__all__ = ["Tally", "inversions", "lost_ids", "tally"]


@dataclass(frozen=True)
class Tally:
    """The numbers of a run; None where one is not known.

    `recovered` are the messages whose work was done after a delivery that was not the first. `inversions` are pairs.
    """

    attempted: int
    acknowledged: int | None
    handled: int | None
    lost: int | None
    duplicated: int | None
    recovered: int | None
    dead_lettered: int | None
    unknown: int
    inversions: int | None


def tally(run: Run) -> Tally:
    """The numbers of a run, without a judgement."""
    done = {one.id for one in run.done}
    tried = {one.id for one in run.handled or () if one.end != "handled"} | {o.id for o in run.done if o.attempt > 1}
    read, gone = run.handled is not None, lost_ids(run)
    return Tally(
        attempted=len(set(run.attempted)),
        acknowledged=None if run.acknowledged is None else len(set(run.acknowledged)),
        handled=len(done) if read else None,
        lost=None if gone is None else len(gone),
        duplicated=len(run.done) - len(done) if read else None,
        recovered=len(done & tried) if read else None,
        dead_lettered=None if run.dead_lettered is None else len(set(run.dead_lettered)),
        unknown=len(set(run.unknown) - set(run.acknowledged or ())),
        inversions=inversions(run)[0] if read else None,
    )


def lost_ids(run: Run) -> set[Id] | None:
    """acknowledged - handled - dead-lettered; None where it cannot be known."""
    if run.acknowledged is None or run.handled is None:
        return None
    away = set(run.acknowledged) - {one.id for one in run.done}
    if away and run.dead_lettered is None:
        return None
    return away - set(run.dead_lettered or ())


def inversions(run: Run) -> tuple[int, dict[Id, Id]]:
    """How many pairs of one key were done the other way round; and who was overtaken, with one who overtook it."""
    place = {one: number for number, one in enumerate(run.attempted)}
    keys = run.order_keys
    done: dict[Id, float] = {}
    for one in run.done:
        if one.id in place and (keys is None or one.id in keys):
            done[one.id] = min(one.at, done.get(one.id, one.at))
    before: dict[Hashable, list[int]] = defaultdict(list)  # the places of those done already, sorted
    found, overtaken, ids = 0, dict[Id, Id](), list(run.attempted)
    for ident in sorted(done, key=lambda one: (done[one], place[one])):
        places = before[keys[ident] if keys is not None else None]
        later = len(places) - bisect_left(places, place[ident])
        if later:
            overtaken[ident] = ids[places[-1]]
        found += later
        insort(places, place[ident])
    return found, overtaken
