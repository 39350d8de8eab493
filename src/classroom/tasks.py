"""`classroom progress`: the tasks of the labs, what is passed, what is open, and how many minutes that may take."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from classroom import progress
from classroom.checks import Check, every_check

__all__ = ["Task", "main", "tasks"]


@dataclass(frozen=True)
class Task:
    """A task of a lab that has a check. `passed` is its last verdict; None: it was never checked."""

    name: str
    check: Check
    passed: bool | None

    @property
    def state(self) -> str:
        """passed, not yet or open."""
        return {True: "passed", False: "not yet", None: "open"}[self.passed]


def tasks() -> Iterator[Task]:
    """All of them, in the order of the labs, with what this learner's file says."""
    verdicts = {str(one["id"]): bool(one.get("passed")) for one in progress.events() if one["what"] == "check"}
    for name, check in every_check().items():
        yield Task(name, check, verdicts.get(name))


def table(found: list[Task]) -> str:
    """A line for each task, and the sums."""
    lines = [
        f"{one.state:8} {one.name:12} {one.check.title:28} {one.check.kind:11}"
        f"{one.check.points:2} points {one.check.minutes:3} minutes"
        for one in found
    ]
    passed = [one for one in found if one.passed]
    points, most = (sum(one.check.points for one in some) for some in (passed, found))
    left = sum(one.check.minutes for one in found if not one.passed)
    sums = f"{len(passed)} of {len(found)} tasks passed, {points} of {most} points; about {left} minutes are left."
    return "\n".join([*lines, "", sums, "Prose is read by your instructor, and is not in this list."])


def main(argv: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="classroom progress", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the list to a file, to hand in or to keep")
    options = parser.parse_args(argv)
    found = [*tasks()]
    if options.csv is None:
        print(table(found))
        return 0
    try:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("task", "title", "kind", "points", "minutes", "state"))
            for one in found:
                check = one.check
                rows.writerow((one.name, check.title, check.kind, check.points, check.minutes, one.state))
    except OSError as error:
        print(f"{options.csv} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.csv}: {len(found)} tasks, {sum(one.passed is True for one in found)} passed")
    return 0
