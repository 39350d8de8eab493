"""The marks of a run, in an nbgrader course: its formgrader shows them, prose is marked there, its export has all.

The notebooks that go there are the released lab with the student's answers in it, and the grader's words as the checks'
outputs. Nothing of them is run, and an answer in prose is text, never HTML.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat.v4

from classroom.bootstrap import ROOT
from classroom.grading.bundle import ReleaseError, notebooks_of
from classroom.grading.feedback import BY_HAND
from classroom.grading.nbgrader_home import NbgraderError, python
from classroom.grading.pages import MARKS, points, visible
from classroom.grading.prose import SHA, ByHand
from classroom.grading.release import ASSIGNMENT
from classroom.grading.report import GradeRun, ReportError, Submission, TaskMark
from classroom.notebooks import Notebook, NotebookError, read

__all__ = ["exchange"]

Given = Mapping[tuple[str, str], ByHand]
LARGEST = 20_000_000  # bytes of a submission that is read for its answers
LONGEST = 20_000  # characters of an answer
WIDTH = 100  # characters in a line of prose


def exchange(run: GradeRun, given: Given, course: Path, submissions: Path | None) -> dict[tuple[str, str], ByHand]:
    """Write the marks into a course, and bring back what persons have given there.

    Args:
        run: the grader's own marks.
        given: points that persons gave elsewhere; they are written where the course has none by a person.
        course: the folder that `classroom release LAB --nbgrader` made.
        submissions: where the students' notebooks are; without it, code is not shown in the formgrader.

    Raises:
        ReportError: nbgrader is not set up, or the lab was not released into this course.
    """
    try:
        solution, _ = notebooks_of(ROOT, run.lab)
        name = ASSIGNMENT.format(run.lab)
        released = read(course / "release" / name / solution.name)
        graded = [one for one in run.submissions if one.status == "graded"]
        students = {one.student: _student(one, run, given, released, submissions) for one in graded}
        wanted = {"assignment": name, "notebook": solution.stem, "students": students}
        answer = python(["-m", "classroom.grading.nbgrader_import"], course, json.dumps(wanted))
    except (ReleaseError, NotebookError, NbgraderError) as error:
        raise ReportError(f"{error}") from None
    shas = {one.student: one.sha256[:SHA] for one in graded}
    back: dict[tuple[str, str], ByHand] = {}
    for row in json.loads(answer.splitlines()[-1]):
        task = f"{run.lab}.{row['cell'].removesuffix('-check')}"
        back[row["student"], task] = ByHand(row["points"], row["comment"], shas[row["student"]])
    return back


def _student(
    one: Submission, run: GradeRun, given: Given, released: Notebook, submissions: Path | None
) -> dict[str, Any]:
    """What nbgrader gets of one submission."""
    answers = _answers(one, submissions)
    notebook = nbformat.from_dict(released)
    cells: dict[str, dict[str, Any]] = {}
    for task in one.tasks:
        name = task.task.partition(".")[2]
        hand = given.get((one.student, task.task))
        graded = name if task.kind == "prose" else f"{name}-check"
        auto = None if task.state in ("manual", "unknown") else task.earned
        by_hand = {"hand": hand.points if hand else None, "comment": hand.comment if hand else ""}
        cells[graded] = {"auto": auto, "answer": name, **by_hand}
        _fill(notebook, task, name, answers, run.notes)
    text = nbformat.v4.writes(notebook) + "\n"
    return {"cells": cells, "text": text}


def _fill(notebook: Notebook, task: TaskMark, name: str, answers: Mapping[str, str], notes: Sequence[str]) -> None:
    """Put one answer, and what the grader said of it, into the released lab."""
    for cell in notebook.cells:
        if cell.id == name and task.kind == "prose":
            cell.source = "**The student's answer:**\n\n" + _verbatim(task.answer or "(nothing was written)")
        elif cell.id == name:
            instead = NOTHING if task.state == "missing" else NOT_SHOWN
            cell.source = visible(answers.get(task.cell or name, instead))[:LONGEST]
        elif cell.id == f"{name}-check":
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=_wrapped([*_words(task), *notes]))]


NOTHING = "# No answer was found."
NOT_SHOWN = "# The answer is not shown here: give its folder by --submissions, or look into the student's notebook."


def _verbatim(text: str) -> str:
    """Text as a block of Markdown in which nothing is Markdown, HTML or a formula."""
    lines = [part for line in visible(text[:LONGEST]).splitlines() for part in textwrap.wrap(line, WIDTH) or [""]]
    return "\n".join(f"    {line}" for line in lines)


def _words(task: TaskMark) -> Iterator[str]:
    """What the grader says of a task."""
    yield f"classroom grade: {task.task}, {task.state}, {points(task.earned)} of {points(task.possible)} points"
    for one in task.conditions:
        yield visible(f"{MARKS[one.passed]}: {one.text}")
        if one.passed is False:
            pairs = (("expected", one.expected), ("seen", one.seen), ("hint", one.hint))
            yield from (f"    {name}: {visible(text)}" for name, text in pairs if text)
    if note := task.note.partition(BY_HAND)[0].strip():
        yield visible(note)


def _wrapped(lines: Sequence[str]) -> str:
    """Lines that fit the formgrader's width; what goes on is indented."""
    parts = [line for text in lines for line in text.splitlines()]
    return "".join(f"{one}\n" for line in parts for one in textwrap.wrap(line, WIDTH, subsequent_indent=" " * 8))


def _answers(one: Submission, submissions: Path | None) -> dict[str, str]:
    """The sources of a submission's cells, by id; {} where it cannot be read or is not inside the folder."""
    if submissions is None:
        return {}
    path = (submissions / one.file).resolve()
    if not path.is_relative_to(submissions.resolve()):
        return {}
    try:
        if path.stat().st_size > LARGEST:
            return {}
        cells = json.loads(path.read_bytes())["cells"]
        found = {str(cell.get("id", "")): cell.get("source", "") for cell in cells}
        return {ident: source if isinstance(source, str) else "".join(source) for ident, source in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
