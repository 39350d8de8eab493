"""Which cell of a submission answers which task: by its id, else by what stands in it. Nothing is run for it.

The solution says what a task's cell looks like: the name behind %%service, or the names that its check needs; of
prose, the line it begins with. A cell with the right id counts when it has that, too. Otherwise the last cell that has
it does: in a notebook, too, the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from classroom.checks import Check, every_check
from classroom.notebooks import BEGIN, END, take_out_answers

__all__ = ["Answer", "Cell", "Lab", "Task", "answers", "lab_of"]

SERVICE = re.compile(r"\s*%%service\s+(\S+)(.*)")


@dataclass(frozen=True)
class Cell:
    """A cell of a submission, each part a text: kind is "code" or "markdown" (or whatever the file says)."""

    kind: str
    id: str
    grade_id: str
    source: str


@dataclass(frozen=True)
class Task:
    """A task, as the solution has it. `check` is None for prose.

    Attributes:
        name: "05.ack". ids: of the cells that answer it. service: the name behind %%service, or "".
        names: the variables that its cell must make. points: what it is worth. start: of prose, what a student finds.
    """

    name: str
    title: str
    kind: str
    points: float
    ids: tuple[str, ...]
    check: Check | None = None
    service: str = ""
    names: tuple[str, ...] = ()
    rubric: str = ""
    start: str = ""


@dataclass(frozen=True)
class Lab:
    """A lab: its tasks, and the sources of the cells that are given, in order."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    given: tuple[str, ...]

    @property
    def points(self) -> float:
        """All of them."""
        return sum(task.points for task in self.tasks)


@dataclass(frozen=True)
class Answer:
    """What was found: the cell, the sources of all other code cells in order, and a sentence for the instructor."""

    cell: Cell | None
    others: tuple[str, ...] = ()
    note: str = ""


def lab_of(name: str, solution: Any) -> Lab:
    """A lab, read from its solution (a notebook)."""
    checks = {one: check for one, check in every_check().items() if one.startswith(f"{name}.")}
    tasks: list[Task] = []
    given: list[str] = []
    waiting: list[Any] = []  # cells with an answer, until the check that is theirs
    for cell in solution.cells:
        marks = cell.metadata.get("nbgrader", {})
        check = checks.get(f"{name}.{cell.id.removesuffix('-check')}") if cell.id.endswith("-check") else None
        if check is not None:
            tasks.append(_task(f"{name}.{cell.id.removesuffix('-check')}", check, waiting, marks))
            waiting = []
        elif cell.cell_type == "code" and marks.get("solution"):
            waiting.append(cell)
        elif cell.cell_type == "code":
            given.append(cell.source)
        elif marks.get("grade"):
            tasks.append(_prose(name, cell, marks, solution))
    headline = next((one.source for one in solution.cells if one.cell_type == "markdown"), "")
    title = re.sub(r"^#+\s*", "", headline.splitlines()[0]) if headline else f"Lab {name}"
    return Lab(name, title, tuple(tasks), tuple(given))


def _task(name: str, check: Check, cells: list[Any], marks: dict[str, Any]) -> Task:
    found = next((match for cell in cells if (match := SERVICE.match(cell.source))), None)
    made = tuple(one for one in check.needs if any(makes(cell.source, one) for cell in cells))
    points = float(marks.get("points", check.points))
    service = found.group(1) if found else ""
    return Task(name, check.title, check.kind, points, tuple(one.id for one in cells), check, service, made)


def _prose(lab: str, cell: Any, marks: dict[str, Any], solution: Any) -> Task:
    words = next((one.source for one in solution.cells if one.id == f"{cell.id}-words"), "")
    headline = re.sub(r"^#+\s*(Task \d+:\s*)?", "", words.splitlines()[0]) if words else cell.id
    title = re.sub(r"\s*\(.*\)\s*$", "", headline)
    _, rubric, text = cell.source.partition("**Rubric.**")
    rubric = (rubric + text).replace(END, "").replace(BEGIN, "").strip()
    start = take_out_answers(cell.source, "*Your answer goes here.*")
    return Task(
        f"{lab}.{cell.id}", title, "prose", float(marks.get("points", 0)), (cell.id,), None, "", (), rubric, start
    )


def makes(source: str, name: str) -> bool:
    """Whether a cell makes a variable of that name, as far as its text shows."""
    word = re.escape(name)
    return bool(
        re.search(rf"^(async\s+def|def|class)\s+{word}\b|^{word}\s*(:[^=\n]*)?=(?!=)", source, re.MULTILINE)
        or ((found := SERVICE.match(source)) and found.group(1) == name)
    )


def fits(task: Task, cell: Cell) -> bool:
    """Whether a cell has what the task's has."""
    if task.check is None:
        return cell.kind == "markdown" and (cell.id in task.ids or cell.grade_id in task.ids or _headed(task, cell))
    if cell.kind != "code":
        return False
    if task.service:
        return makes(cell.source, task.service)
    return any(makes(cell.source, name) for name in task.names or task.check.needs)


def _headed(task: Task, cell: Cell) -> bool:
    """Whether a text begins as the one that students find, "**Your answer:**"."""
    head = task.start.strip().splitlines()[:1]
    return bool(head) and cell.source.strip().startswith(head[0])


def answers(task: Task, cells: Sequence[Cell]) -> Answer:
    """The cell that answers a task."""
    named = [cell for cell in cells if cell.id in task.ids or cell.grade_id in task.ids]
    fitting = [cell for cell in named if fits(task, cell)]
    if fitting:
        note = "" if len(fitting) == 1 else f"{len(fitting)} cells bear this task's name; the last one was taken"
        return _answer(fitting[-1], cells, note)
    found = [cell for cell in cells if fits(task, cell)]
    if found:
        one = "by its content, since no cell that bears the task's name has it"
        note = f"found {one}" if len(found) == 1 else f"found {one}; of {len(found)} such cells, the last one was taken"
        return _answer(found[-1], cells, note)
    if named and task.check is not None:
        return _answer(named[-1], cells, "")
    if task.check is None:
        return Answer(None, note="no text cell bears this task's name, or its first line: look in the notebook itself")
    return Answer(None, note="no cell bears this task's name, and none has what it asks for")


def _answer(cell: Cell, cells: Sequence[Cell], note: str) -> Answer:
    others = tuple(one.source for one in cells if one.kind == "code" and one is not cell)
    return Answer(cell, others, note)
