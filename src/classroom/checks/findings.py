"""What a checker finds: `Finding`, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from classroom.checks.result import Condition
from classroom.checks.runs import Id, Run

__all__ = ["Finding", "counted", "in_order", "missing", "no_verdict"]

SHOWN = 8  # ids named in a finding; the rest is counted
MARKS = {True: "pass", False: "FAIL", None: "unknown"}


@dataclass(frozen=True)
class Finding(Condition):
    """What a checker found: a condition with its numbers. `passed` is None where it is unknown.

    Attributes:
        count: how many offences there are; None where that is unknown.
        most: how many are allowed; None where that is unknown, or no number.
        offenders: the ids concerned, each once. `life` is that of one of them, of a failed one: the shortest.
    """

    count: int | None = None
    most: int | None = None
    offenders: tuple[Id, ...] = ()

    @property
    def mark(self) -> str:
        """pass, FAIL or unknown."""
        return MARKS[self.passed]

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def counted(
    text: str,
    run: Run,
    offenders: list[Id],
    what: str,
    count: int | None = None,
    most: int = 0,
    expected: str = "",
    note: Callable[[Id], str] = lambda _: "",
) -> Finding:
    """A finding by a number: it passes when `count` (by default one for each offender) is `most` or less."""
    count = len(offenders) if count is None else count
    passed = count <= most
    seen = f"{count:,} {what}" + (f": {_named(offenders)}" if offenders else "")
    expected = expected or (f"at most {most:,}" if most else "0")
    life = None if passed else run.life(offenders, note)
    return Finding(text, passed, expected, seen, "", life, count, most, tuple(offenders))


def no_verdict(text: str, why: str) -> Finding:
    """A finding that cannot be made: `why` says what is missing."""
    return Finding(text, None, seen=why)


def missing(what: str, found: Collection[object] | None) -> str:
    """Why something is unknown: what could not be read (None), or was empty."""
    return f"the {what} could not be read" if found is None else f"there are no {what}, so nothing is shown"


def in_order(run: Run, ids: set[Id]) -> list[Id]:
    """Some ids in the order of sending; those that were never sent at the end."""
    known = dict.fromkeys(one for one in run.attempted if one in ids)
    return [*known, *sorted(ids - known.keys(), key=str)]


def _named(ids: Collection[Id]) -> str:
    """Some ids as text."""
    some = list(ids)[:SHOWN]
    return ", ".join(map(str, some)) + (f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else "")
