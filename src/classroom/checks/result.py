"""What a check answers with: one line a condition, readable as text and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from classroom.events import Life
from classroom.views.markup import Markup, tag

VERDICTS = {True: "public checks passed", False: "passed"}  # by `public`; where it did not pass: "not yet"
MARKS = {True: "pass", False: "FAIL", None: "not judged"}
LEFT, TOP = "text-align: left", "text-align: left; vertical-align: top"
SHORT = f"{TOP}; white-space: nowrap"
COLUMNS = ("time", "who", "what happened", "")


class Over(Exception):
    """A check is over before its end; why stands in its result."""


@dataclass(frozen=True)
class Condition:
    """One thing that must hold.

    `passed` is None where it could not be judged, for example because something before it failed. `life` is the
    counterexample of one that failed: what happened to one message, in order of time.
    """

    text: str
    passed: bool | None
    expected: str = ""
    seen: str = ""
    hint: str = ""
    life: Life | None = None

    @property
    def mark(self) -> str:
        """The verdict as a word; colour is never the only sign."""
        return MARKS[self.passed]

    @property
    def details(self) -> list[tuple[str, str]]:
        """What there is to say of one that did not pass, each with its name."""
        named = (("expected", self.expected), ("seen", self.seen), ("hint", self.hint))
        return [] if self.passed else [(name, text) for name, text in named if text]

    def lines(self) -> Iterator[str]:
        """The condition as text, with the life at its end; a passed one needs one line only."""
        yield f"[{self.mark}] {self.text}"
        yield from (f"    {name}: {text}" for name, text in self.details)
        if self.life is not None:
            yield from (f"    {line}" for line in self.life.lines())


@dataclass
class Result:
    """The answer of one check. Conditions keep the order in which they were tried.

    `public` says that the data were those that every learner is judged with; a grader has others besides.
    """

    name: str
    title: str
    conditions: list[Condition] = field(default_factory=list)
    public: bool = False

    @property
    def passed(self) -> bool:
        """Whether every condition passed; one that was not judged did not."""
        return bool(self.conditions) and all(condition.passed for condition in self.conditions)

    def judge(
        self,
        text: str,
        passed: bool | None,
        *,
        expected: str = "",
        seen: str = "",
        hint: str = "",
        life: Life | None = None,
    ) -> bool:
        """Add a condition; return whether it passed. `life` is kept only for one that did not."""
        self.conditions.append(Condition(text, passed, expected, seen, hint, None if passed else life))
        return bool(passed)

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *(line for one in self.conditions for line in one.lines())])

    def _headline(self) -> str:
        good = sum(condition.passed is True for condition in self.conditions)
        verdict = VERDICTS[self.public] if self.passed else "not yet"
        return f"{self.name}, {self.title}: {verdict}, {good} of {len(self.conditions)} conditions hold"

    def _repr_html_(self) -> str:
        head = [tag("th", name, scope="col", style=LEFT) for name in ("", "condition")]
        caption = tag("caption", tag("b", self._headline()), style=f"{LEFT}; white-space: nowrap")
        rows = [_row(condition) for condition in self.conditions]
        return str(tag("table", caption, tag("thead", tag("tr", head)), tag("tbody", rows)))


def _row(condition: Condition) -> Markup:
    """What there is to say of it stands under its text, so that there is room for a timeline."""
    inside = [tag("div", condition.text)]
    inside += [tag("div", tag("b", f"{name}: "), text) for name, text in condition.details]
    if condition.life is not None:
        inside.append(_timeline(condition.life))
    return tag("tr", tag("td", tag("b", condition.mark), style=SHORT), tag("td", inside, style=TOP))


def _timeline(life: Life) -> Markup:
    """A life as a small table: one event a row."""
    rows = [tag("tr", [tag("td", text, style=SHORT) for text in cells]) for cells in life.table()]
    caption = tag("caption", f"message {life.message}: what happened", style=LEFT)
    head = [tag("th", name, scope="col", style=LEFT) for name in COLUMNS]
    return tag("table", caption, tag("thead", tag("tr", head)), tag("tbody", rows))
