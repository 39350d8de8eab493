"""What a check answers with: one line a condition, readable as text and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

MARKS = {True: "pass", False: "FAIL", None: "not judged"}


@dataclass(frozen=True)
class Condition:
    """One thing that must hold.

    `passed` is None where it could not be judged, for example because something before it failed.
    """

    text: str
    passed: bool | None
    expected: str = ""
    seen: str = ""
    hint: str = ""

    @property
    def mark(self) -> str:
        """The verdict as a word; colour is never the only sign."""
        return MARKS[self.passed]

    def lines(self) -> Iterator[str]:
        """The condition as text; a passed one needs one line only."""
        yield f"[{self.mark}] {self.text}"
        if not self.passed:
            named = (("expected", self.expected), ("seen", self.seen), ("hint", self.hint))
            yield from (f"    {name}: {text}" for name, text in named if text)


@dataclass
class Result:
    """The answer of one check. Conditions keep the order in which they were tried."""

    name: str
    title: str
    conditions: list[Condition] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every condition passed; one that was not judged did not."""
        return bool(self.conditions) and all(condition.passed for condition in self.conditions)

    def judge(self, text: str, passed: bool | None, *, expected: str = "", seen: str = "", hint: str = "") -> bool:
        """Add a condition; return whether it passed."""
        self.conditions.append(Condition(text, passed, expected, seen, hint))
        return bool(passed)

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *(line for one in self.conditions for line in one.lines())])

    def _headline(self) -> str:
        good = sum(condition.passed is True for condition in self.conditions)
        verdict = "passed" if self.passed else "not yet"
        return f"{self.name}, {self.title}: {verdict}, {good} of {len(self.conditions)} conditions hold"

    def _repr_html_(self) -> str:
        rows = "".join(_row(condition) for condition in self.conditions)
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in ("", "condition", "details"))
        return (
            f"<table><caption style='text-align:left'><b>{escape(self._headline())}</b></caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _row(condition: Condition) -> str:
    details = "" if condition.passed else "<br>".join(escape(line.strip()) for line in [*condition.lines()][1:])
    cells = (f"<b>{condition.mark}</b>", escape(condition.text), details)
    return "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"
