"""Check 02.choose: a transport and a promise for four cases, each tried in what its case asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from classroom.checks.lab02.guaranteeing import BROKERS, TRANSPORTS, need_all, need_words, run
from classroom.checks.needs import no_verdict
from classroom.checks.result import Result
from classroom.guarantees import Cell, Fault, Seen, Word
from postoffice.service import DeliveryMode

__all__ = ["judge"]


@dataclass(frozen=True)
class Need:
    """What a case asks for under a fault: one of these ends, in words for its reader, and why another is no good."""

    fault: Fault
    ends: tuple[Word, ...]
    text: str
    hint: str


EACH = Need("replicas", ("twice",), "each of the two gets each event", "the two share the events, as workers would.")
SHARED = Need(
    "replicas", ("all",), "the two share the events, each is handled once", "each of the two gets a copy of its own."
)
KEPT = Need("away", ("all",), "what is sent while they are away comes later", "nobody keeps it while they are away.")
CASES: Mapping[str, tuple[Need, ...]] = {
    "prices": (
        EACH,
        Need("away", ("none",), "what is sent while they are away never comes", "old prices are kept, and shown late."),
    ),
    "invoices": (
        SHARED,
        KEPT,
        Need("killed", ("all", "twice"), "none is lost when one is killed", "what it held when it died is gone."),
    ),
    "alarms": (EACH, KEPT),
    "games": (
        SHARED,
        KEPT,
        Need(
            "killed",
            ("all", "lost", "none"),
            "none is handled twice when one is killed",
            "what was done and not acknowledged comes again: here losing it is better.",
        ),
    ),
}
PROMISES: dict[str, DeliveryMode] = {"at most once": "at-most-once", "at least once": "at-least-once"}
CHOICES = {f"{one}, {said}": (one, promise) for one in TRANSPORTS for said, promise in PROMISES.items()}


async def judge(result: Result, draw: Random, choice: Any, book: Any, *brokers: Any) -> None:
    """All conditions: what each case needs, of what was chosen for it."""
    named = dict(zip(BROKERS, brokers, strict=True))
    need_all(result, book, named)
    need_words(result, "choice", choice, CASES, [*CHOICES])
    wanted = {(case, need): Cell(CHOICES[choice[case]][0], need.fault, CHOICES[choice[case]][1])
              for case, needs in CASES.items() for need in needs}  # fmt: skip
    with no_verdict(result):
        cells = [*dict.fromkeys(wanted.values())]
        found: dict[Cell, Seen] = dict(zip(cells, await run(result, cells, book, named, draw), strict=True))
        for (case, need), cell in wanted.items():
            seen = found[cell]
            text, chosen = f"{case}: {need.text}", f"{choice[case]}: {need.hint}"
            result.judge(text, seen.word in need.ends, expected=" or ".join(need.ends), seen=f"{seen!r}", hint=chosen)
