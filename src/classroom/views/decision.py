"""One program or several services? The decision table as questions, for five cases or for your own.

decision = decide()                 # in a notebook: choose a case, and answer
decision.choose("2")                # the same without a mouse
decision.answer("load", "b")
decision.reading()                  # how we answer this case, beside what you said
"""

from __future__ import annotations

from collections.abc import Mapping

from classroom.views.decision_table import CASES, FACTORS, verdict
from classroom.views.page import Block, Choice, Page, Said, Table
from classroom.views.view import Press, View, called

__all__ = ["Decision", "decide", "readings"]

OWN = "own"  # no written case


def decide(case: str = "1") -> Decision:
    """The questions, beginning with a case: "1" to "5", or "own" for one that you know. Raises ValueError."""
    return Decision(case)


def readings() -> Readings:
    """How we answer the five cases, factor by factor, and what follows from it."""
    head = ["factor", *(f"{number} {case.title}" for number, case in CASES.items())]
    rows = [[name, *(case.answers[name] for case in CASES.values())] for name in FACTORS]
    rows.append(["so", *(verdict(case.answers).partition(":")[0] for case in CASES.values())])
    return Readings("Our answers to the five cases (a: one program, b: services, c: between)", head, rows)


class Readings(Table):
    """A table that a notebook shows by itself."""

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return self.html(live=False)


class Decision(View):
    """Six questions about a case, and what the answers say. `choose`, `answer` and `reading` do what clicks do."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.name = "decision"
        self.settings = {"case", *FACTORS}
        self.verbs = {"case": self._case, **dict.fromkeys(FACTORS, self._answer)}
        self._answers: dict[str, dict[str, str]] = {one: {} for one in (*CASES, OWN)}
        self.choose(case)

    @property
    def answers(self) -> Mapping[str, str]:
        """The letters that were chosen for this case so far, by factor."""
        return dict(self._answers[self.case])

    def choose(self, case: str) -> None:
        """Turn to a case: "1" to "5", or "own". Answers given before stay. Raises ValueError for no such case."""
        if case not in self._answers:
            raise ValueError(f"there is no case {case!r}; there are {', '.join(self._answers)}")
        self.case = case

    def answer(self, factor: str, letter: str) -> None:
        """Answer one question by a, b or c. Raises ValueError for no such factor or letter."""
        if factor not in FACTORS:
            raise ValueError(f"there is no factor {factor!r}; there are {', '.join(FACTORS)}")
        if letter not in FACTORS[factor].options:
            raise ValueError(f"{factor} has no answer {letter!r}; there are {', '.join(FACTORS[factor].options)}")
        self._answers[self.case][factor] = letter

    def verdict(self) -> str:
        """What the answers to this case say."""
        return verdict(self._answers[self.case])

    def reading(self) -> Readings:
        """Your answers beside ours. Raises ValueError where there is no written case."""
        if self.case == OWN:
            raise ValueError('only the five cases have a reading of ours: decision.choose("1")')
        mine, ours = self._answers[self.case], CASES[self.case].answers
        rows = [[name, mine.get(name, "-"), ours[name], _same(mine.get(name), ours[name])] for name in FACTORS]
        return Readings("Your answers and ours", ("factor", "you", "we", "compared"), rows)

    def page(self) -> Page:
        mine = self._answers[self.case]
        options = {number: case.title for number, case in CASES.items()} | {OWN: "one that you know"}
        blocks: list[Block] = [Choice("case", "Which case?", options, self.case)]
        blocks += [Said(CASES[self.case].story)] if self.case in CASES else []
        blocks += [Choice(name, one.question, one.options, mine.get(name)) for name, one in FACTORS.items()]
        if len(mine) == len(FACTORS):
            blocks.append(Said(f"You: {self.verdict()}."))  # once more, where the last answer was given
            if self.case in CASES:
                case = CASES[self.case]
                blocks += [self.reading(), Said(f"We: {verdict(case.answers)}. {case.why}")]
        else:
            open_ = next(name for name in FACTORS if name not in mine)
            blocks.append(Said(f'Or in a cell: {called(self, "decision")}.answer("{open_}", "a")'))
        return Page("One program, or services?", self.verdict(), blocks)

    async def _case(self, press: Press) -> None:
        self.choose(press.arg)

    async def _answer(self, press: Press) -> None:
        self.answer(press.act, press.arg)


def _same(mine: str | None, ours: str) -> str:
    return "" if mine is None else "the same" if mine == ours else "another"
