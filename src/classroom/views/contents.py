"""The course's contents with what the learner has done: guesses made, answers right, checks of labs passed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classroom import progress
from classroom.tasks import Task, tasks
from classroom.views.markup import Markup, tag

__all__ = ["Entry", "StartPage", "entries"]

COURSE = Path(__file__).resolve().parents[3]
LEFT = "text-align: left"


@dataclass(frozen=True)
class Entry:
    """A notebook, and what was done of it, in words."""

    path: Path
    title: str
    done: str


class StartPage:
    """A list of all notebooks, in order. Made anew each time it is shown."""

    def __repr__(self) -> str:
        found = [*entries(COURSE)]
        width = max((len(one.title) for one in found), default=0)
        return "\n".join([TITLE, *(f"  {one.title:<{width}}  {one.done}".rstrip() for one in found)])

    def _repr_html_(self) -> str:
        head = tag("tr", [tag("th", name, scope="col", style=LEFT) for name in ("notebook", "what you have done")])
        rows = [
            tag("tr", tag("th", _link(one), scope="row", style=LEFT), tag("td", one.done, style=LEFT))
            for one in entries(COURSE)
        ]
        return tag("table", tag("caption", TITLE, style=LEFT), tag("thead", head), tag("tbody", rows))


TITLE = "The notebooks of this course"


def entries(course: Path) -> Iterator[Entry]:
    """Each lesson with its number, then its lab, whose title has it."""
    known = tasks(course / "labs")
    for lesson in sorted((course / "notebooks").glob("*.ipynb")):
        number, title = lesson.stem.partition("-")[0], _title(lesson)
        yield Entry(lesson, title if title.startswith(number) else f"{number} {title}", _guesses(number))
        for lab in sorted((course / "labs").glob(f"{number}-*.ipynb")):
            yield Entry(lab, _title(lab), _checks([one for one in known if one.lab == number]))


def _link(entry: Entry) -> Markup:
    return tag("a", entry.title, href=f"../{entry.path.parent.name}/{entry.path.name}")


def _title(path: Path) -> str:
    """Its first heading; the file's name where it has none."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for line in "".join(cell["source"]).splitlines() if cell["cell_type"] == "markdown" else ():
                if line.startswith("# "):
                    return line[2:].strip()
    return path.stem


def _guesses(number: str) -> str:
    mine = [one for one in progress.events() if str(one["id"]).startswith(f"{number}.")]
    guessed = {one["id"] for one in mine if one["what"] == "guess"}
    right = {one["id"]: bool(one.get("right")) for one in mine if one["what"] == "revealed"}
    if not guessed:
        return ""
    return f"{len(guessed)} prediction{'' if len(guessed) == 1 else 's'} made, {sum(right.values())} right"


def _checks(mine: list[Task]) -> str:
    """What of a lab is passed, and the minutes of what is left, its prose included."""
    checks = [one for one in mine if one.kind != "prose"]
    if not checks:
        return ""
    passed, left = sum(one.state == "passed" for one in checks), sum(one.minutes for one in mine if one.is_left)
    sign, rest = ("", f", about {left} minutes left") if left else ("✓ ", "")
    return f"{sign}{passed} of {len(checks)} checks passed{rest}"
