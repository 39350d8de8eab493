"""What speaks for one program and what for several services, factor by factor; and five cases to try it on.

The factors are those of the chapter's decision table, in our words. The table has gaps (six to nine developers), so
each factor has a third answer. The readings of the cases are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CASES", "FACTORS", "OPERATIONS", "Case", "Factor", "verdict"]

OPERATIONS = "operations"  # the factor that all others need: who runs it
BETWEEN = "somewhere between"


@dataclass(frozen=True)
class Factor:
    """A line of the table: `stay` speaks for one program, `split` for services."""

    name: str
    question: str
    stay: str
    split: str

    @property
    def options(self) -> dict[str, str]:
        """The answers, by letter: a is `stay`, b is `split`."""
        return {"a": self.stay, "b": self.split, "c": BETWEEN}


FACTORS = {
    one.name: one
    for one in (
        Factor("team", "Team: how many develop it?", "1 to 5 people", "10 or more, in teams that work on their own"),
        Factor(
            "deploys",
            "Deploys: how often is it deployed?",
            "once a week or less",
            "several times a day, by several teams",
        ),
        Factor("load", "Load: where is it?", "about the same on all features", "100 times as much on one feature"),
        Factor(
            "faults", "Faults: what if a part fails?", "all may be down for a moment", "no other part may fail with it"
        ),
        Factor("data", "Data: where are they?", "one database for all is fine", "parts need databases of their own"),
        Factor(
            OPERATIONS,
            "Operations: who runs it?",
            "nobody with experience; no tracing, and nothing that starts failed services again",
            "experienced people, with tracing and orchestration (what starts, copies and restarts services)",
        ),
    )
}


@dataclass(frozen=True)
class Case:
    """A case to decide: its story, how we answer each factor, and why, where one may differ."""

    title: str
    story: str
    answers: Mapping[str, str]
    why: str


def _case(title: str, story: str, letters: str, why: str) -> Case:
    return Case(title, story, dict(zip(FACTORS, letters, strict=True)), why)


CASES = {
    "1": _case(
        "The bookshop",
        "Three people keep a web shop for old books, one program with one database. They release on Thursdays. No page"
        " is much busier than another. When it was down for ten minutes, two customers wrote a friendly mail."
        " It runs on a rented machine that nobody watches.",
        "aaaaaa",
        "Nothing here hurts that services would cure.",
    ),
    "2": _case(
        "The ticket office",
        "Seven people sell concert tickets: one program, one database that they know well, a release every other"
        " Monday. When a famous band announces a tour, the page that sells seats gets 100 times the requests of all"
        " the others. If all is slow for an hour then, it is in the papers, and nobody is hurt. They have no tracing.",
        "cabaaa",
        "One strong reason, the load. A program can be copied as a whole, too: try that first, it costs an afternoon."
        " If it is too dear, one service beside the program is enough; nobody has to split the rest.",
    ),
    "3": _case(
        "The bank",
        "Ninety developers in eleven teams. Each team deploys on its own, together forty times a day. Load is even."
        " A fault in the savings plans must never stop card payments. Every team keeps its own data. Two teams do"
        " nothing but run it all, with tracing and alerts that wake people.",
        "bbabbb",
        "All that services cost is paid for here already, and even load is no reason against them.",
    ),
    "4": _case(
        "The start-up",
        "Four developers, one app, one database. They read that famous companies have hundreds of services, and want"
        " some. They deploy eight times a day. Every feature has its few hundred users, and these forgive much."
        " One of the four has played with Kubernetes; there is no tracing.",
        "acaaaa",
        "Many deploys a day are b only where different teams would wait for each other. Four people at one table do"
        " not. They would pay for services every day, and get nothing that they miss.",
    ),
    "5": _case(
        "The hospital",
        "Thirty developers in four teams share one program, and since all must be ready at once, it is released once a"
        " month. Load is even. A fault in the canteen's menu has once stopped the admission of patients. By law,"
        " laboratory data must be kept apart. Nobody can say which part of a request was slow: there is no tracing.",
        "baabba",
        "The reasons are strong, and what is needed to run services is missing. So first tracing, health checks and"
        " deployment by machine, which the one program can use as well; then one service, where it hurts most.",
    ),
}


def verdict(answers: Mapping[str, str]) -> str:
    """What the answers say, by a rule that is ours: the table itself only names what speaks for which side."""
    missing = [name for name in FACTORS if name not in answers]
    if missing:
        return f"{len(FACTORS) - len(missing)} of {len(FACTORS)} answered; still open: {', '.join(missing)}"
    reasons = [name for name in FACTORS if answers[name] == "b" and name != OPERATIONS]
    count = f"{len(reasons)} of {len(FACTORS) - 1} reasons for services"
    if len(reasons) < 2:
        return f"stay with one program: {count}"
    named = f"{count} ({', '.join(reasons)})"
    if answers[OPERATIONS] != "b":
        return f"not yet: {named}, and nobody could run them. Learn to run what you have, then split off one part"
    return f"consider services: {named}, and you can run them. Begin with one"
