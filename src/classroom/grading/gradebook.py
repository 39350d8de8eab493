"""Marks as tables: for people, for programs, and in the forms that Canvas and Moodle import.

No cell begins like a formula: a spreadsheet would run it (=, +, -, @ and control characters get an apostrophe before).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from classroom.grading.pages import points, visible
from classroom.grading.report import GradeRun, Submission

__all__ = ["canvas", "defused", "gradebook", "gradebook_json", "mark", "moodle", "moodle_worksheet", "tasks_of"]

CANVAS_ID = re.compile(r"[^_/]+_(?:LATE_)?(\d+)_\d+_")  # how Canvas names the files of a download: name_user_file_
MOODLE_ID = re.compile(r"(.+)_(\d+)_assignsubmission_")  # and Moodle its folders: full name_participant_
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def defused(value: object) -> str:
    """A cell that no spreadsheet takes for a formula. Numbers stay as they are."""
    text = visible(value)
    harmless = (
        text == "-"
        or NUMBER.fullmatch(text)
        or not text.lstrip(" \t\n").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    )
    return text if harmless and not text.startswith(("\t", "\n")) else f"'{text}"


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([defused(cell) for cell in row] for row in rows)
    return text.getvalue()


def tasks_of(run: GradeRun) -> dict[str, float]:
    """The tasks of the lab and their points, in order, from the submissions that have most of them."""
    widest = max(run.submissions, key=lambda one: len(one.tasks), default=None)
    return {task.task: task.possible for task in widest.tasks} if widest else {}


def mark(submission: Submission, so_far: bool = False) -> float | None:
    """A submission's points; None while something is open, unless points `so_far` are asked for."""
    final = bool(submission.tasks) and not submission.needs_you
    return submission.earned if final or (so_far and submission.status == "graded") else None


def _cell(number: float | None) -> str:
    return "" if number is None else points(number)


def gradebook(run: GradeRun) -> str:
    """gradebook.csv: a row a student, a column a task. What nobody has decided yet is empty, never 0.

    The last column says what the submissions ran in: "bubblewrap", or "none" after --unsafe.
    """
    tasks = tasks_of(run)
    rows: list[Sequence[object]] = [("student", "file", "status", *tasks, "points", "possible", "open", "sandbox")]
    most = points(sum(tasks.values()))
    for one in run.submissions:
        earned = {task.task: task.earned for task in one.tasks}
        marks = [_cell(earned.get(task)) for task in tasks]
        total = _cell(mark(one, so_far=True))
        rows.append((one.student, one.file, one.status, *marks, total, most, " ".join(one.needs_you), run.sandbox))
    return _csv(rows)


def gradebook_json(run: GradeRun) -> str:
    """gradebook.json: the same for programs; the whole of it, conditions included, is in results.json."""
    students = [
        {
            "student": one.student,
            "status": one.status,
            "tasks": {task.task: task.earned for task in one.tasks},
            "points": mark(one, so_far=True),
            "open": list(one.needs_you),
        }
        for one in run.submissions
    ]
    about = {"sandbox": run.sandbox, "notes": list(run.notes), "finished": run.finished}
    whole = {"lab": run.lab, "possible": tasks_of(run), **about, "students": students}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def canvas(run: GradeRun, so_far: bool = False) -> str:
    """canvas.csv: the columns of Canvas's gradebook. Its ID is taken from the file names of a download from Canvas.

    Without one, the student's id stands as SIS Login ID. An empty cell changes nothing there.
    """
    rows: list[Sequence[object]] = [("Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"Lab {run.lab}")]
    rows.append(("    Points Possible", "", "", "", "", points(sum(tasks_of(run).values()))))
    for one in run.submissions:
        found = CANVAS_ID.match(PurePosixPath(one.file).name)
        login = "" if found else one.student
        rows.append((one.student, found[1] if found else "", "", login, "", _cell(mark(one, so_far))))
    return _csv(rows)


def moodle(run: GradeRun, so_far: bool = False) -> str:
    """moodle.csv, for Grades, Import, CSV file: map `username` to it, and the second column to the grade item."""
    rows: list[Sequence[object]] = [("username", f"Lab {run.lab}")]
    rows += [(one.student, _cell(mark(one, so_far))) for one in run.submissions]
    return _csv(rows)


def moodle_worksheet(run: GradeRun, so_far: bool = False) -> str | None:
    """moodle-worksheet.csv: an assignment's offline grading worksheet; None where no folder has Moodle's name.

    Participants are known by the folders of "Download all submissions". Times are left as Moodle has them ("-").
    """
    head = ("Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments")
    most = points(sum(tasks_of(run).values()))
    rows: list[Sequence[object]] = []
    for one in run.submissions:
        found = next((hit for part in one.file.split("/") if (hit := MOODLE_ID.match(part))), None)
        if found:
            told = "; ".join(
                [*(f"{task.task}: {points(task.earned)} of {points(task.possible)}" for task in one.tasks), *run.notes]
            )
            rows.append((f"Participant {found[2]}", found[1], _cell(mark(one, so_far)), most, "-", told))
    return _csv([head, *rows]) if rows else None
