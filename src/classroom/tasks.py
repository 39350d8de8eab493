"""`classroom progress`: the tasks of the labs, what is passed, what is open, and how many minutes that may take."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from classroom import progress
from classroom.checks import every_check

__all__ = ["Task", "main", "tasks"]

LABS = Path(__file__).resolve().parents[2] / "labs"
EMPTY = "*Your answer goes here.*"  # as the labs have it
HEADING = re.compile(
    r"^## Task \d+: (?P<title>.+) \((?P<points>\d+) points?, (?P<minutes>\d+) minutes\)$", re.MULTILINE
)
State = Literal["passed", "not yet", "written", "open"]


@dataclass(frozen=True)
class Task:
    """A task of a lab.

    Attributes:
        state: "passed" and "not yet" are the last verdict of its check; "written" is prose that has an answer, which
            an instructor reads; "open": nothing was done, as far as is known here.
    """

    name: str
    title: str
    kind: str
    points: int
    minutes: int
    state: State

    @property
    def lab(self) -> str:
        """The lab's number, "03"."""
        return self.name.partition(".")[0]

    @property
    def is_left(self) -> bool:
        """Whether there is still something to do."""
        return self.state in ("open", "not yet")


def tasks(labs: Path = LABS) -> list[Task]:
    """All of them, in the order of the labs, with what this learner's file and notebooks say.

    `labs` is the folder of this learner's notebooks; tasks without a check are known from there. Where the course has
    some labs only, as in a bundle of one, the tasks are those of these.
    """
    here = {path.name.partition("-")[0] for path in LABS.glob("*.ipynb")}
    verdicts = {str(one["id"]): bool(one.get("passed")) for one in progress.events() if one["what"] == "check"}
    states: dict[bool | None, State] = {True: "passed", False: "not yet", None: "open"}
    checked = [
        Task(name, one.title, one.kind, one.points, one.minutes, states[verdicts.get(name)])
        for name, one in every_check().items()
        if not here or name.partition(".")[0] in here
    ]
    return sorted([*checked, *_prose(labs)], key=lambda one: one.lab)  # stable: prose comes last, as in its lab


def _prose(labs: Path) -> Iterator[Task]:
    """The tasks that an instructor reads: the text cells of the labs that have points."""
    for path in sorted(labs.glob("*.ipynb")):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            cells = {str(cell["id"]): cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
            for ident, cell in cells.items():
                if cell["cell_type"] == "markdown" and cell["metadata"].get("nbgrader", {}).get("grade"):
                    yield _prose_task(f"{path.name.partition('-')[0]}.{ident}", cell, cells[f"{ident}-words"])


def _prose_task(name: str, answer: dict[str, Any], words: dict[str, Any]) -> Task:
    """Raises TypeError where the heading is not that of a task."""
    found = HEADING.search("".join(words["source"]))
    if found is None:
        raise TypeError(f"{name} has no heading of a task")
    state: State = "open" if EMPTY in "".join(answer["source"]) else "written"
    return Task(name, found["title"], "prose", int(found["points"]), int(found["minutes"]), state)


def table(found: list[Task]) -> str:
    """A line for each task, and the sums."""
    width = max((len(one.title) for one in found), default=0)
    lines = [
        f"{one.state:8} {one.name:12} {one.title:<{width}} {one.kind:11}{one.points:2} points {one.minutes:3} minutes"
        for one in found
    ]
    passed = [one for one in found if one.state == "passed"]
    points, most = (sum(one.points for one in some) for some in (passed, found))
    left = sum(one.minutes for one in found if one.is_left)
    sums = f"{len(passed)} of {len(found)} tasks passed, {points} of {most} points; about {left} minutes are left."
    return "\n".join([*lines, "", sums, "Prose gets its points from your instructor, who reads it."])


def main(argv: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="classroom progress", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the list to a file, to hand in or to keep")
    parser.add_argument(
        "--labs", type=Path, metavar="FOLDER", default=LABS, help="where your notebooks of the labs are"
    )
    options = parser.parse_args(argv)
    found = tasks(options.labs)
    if options.csv is None:
        print(table(found))
        return 0
    try:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("task", "title", "kind", "points", "minutes", "state"))
            rows.writerows((one.name, one.title, one.kind, one.points, one.minutes, one.state) for one in found)
    except OSError as error:
        print(f"{options.csv} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.csv}: {len(found)} tasks, {sum(one.state == 'passed' for one in found)} passed")
    return 0
