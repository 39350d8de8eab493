"""What a person marks: a page with each answer and its rubric, and a table (prose.csv) in which the points are written.

prose.csv is form and store in one: whoever writes points into it and runs `classroom report` again has them in every
gradebook, and they stay when the class is graded anew. Points for a notebook that has changed since are not taken: they
go to the column `before`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from classroom.grading.feedback import BY_HAND
from classroom.grading.gradebook import defused
from classroom.grading.pages import document, noted, points, said, table, visible
from classroom.grading.report import GradeRun, ReportError, Submission, TaskMark
from classroom.views.markup import Child, Markup, tag

__all__ = ["ByHand", "apply", "form", "is_open", "page", "read_points"]

COLUMNS = ("student", "task", "title", "state", "possible", "points", "comment", "notebook", "before")
NEEDED = ("student", "task", "points")
SHA = 12  # characters of a notebook's sha256: enough to see that it is another


@dataclass(frozen=True)
class ByHand:
    """Points that a person gave. `notebook`: the first characters of the sha256 of what was marked; "" if not known."""

    points: float
    comment: str = ""
    notebook: str = ""


def read_points(path: Path, run: GradeRun) -> dict[tuple[str, str], ByHand]:
    """The points in a table: (student, task) -> what was given; rows without points are passed over.

    Commas or semicolons between columns, and decimal commas, are understood. Raises `ReportError`, which names every
    line that cannot be right; then none of it is taken.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} cannot be read: {error}. Save it as CSV in UTF-8.") from None
    head = text.partition("\n")[0]
    lines = csv.DictReader(io.StringIO(text), delimiter=";" if head.count(";") > head.count(",") else ",")
    if missing := [name for name in NEEDED if name not in (lines.fieldnames or ())]:
        raise ReportError(f"{path} has no column {', '.join(missing)}. Its first line needs: {', '.join(NEEDED)}.")
    known = {(one.student, task.task): task for one in run.submissions for task in one.tasks}
    found: dict[tuple[str, str], ByHand] = {}
    wrong: list[str] = []
    for row in lines:
        given = (row["points"] or "").strip().replace(",", ".")
        key = ((row["student"] or "").removeprefix("'"), (row["task"] or "").strip())
        if not given:
            continue
        problem = _problem(given, key, known)
        if problem or key in found:
            wrong.append(f"  line {lines.line_num}: {problem or 'this student and task were there already'}")
        else:
            comment = (row.get("comment") or "").removeprefix("'")
            found[key] = ByHand(float(given), comment, (row.get("notebook") or "").removeprefix("'"))
    if wrong:
        raise ReportError(f"{path}: nothing was taken from it. Mend these lines and try again:\n" + "\n".join(wrong))
    return found


def _problem(given: str, key: tuple[str, str], known: dict[tuple[str, str], TaskMark]) -> str:
    """What is wrong with a line; "" where nothing is."""
    student, task = key
    if key not in known:
        return f"there is no {task!r} of {student!r} in results.json"
    try:
        number = float(given)
    except ValueError:
        return f"{given!r} is no number"
    most = known[key].possible
    return "" if 0 <= number <= most else f"{given} is not between 0 and {points(most)}"


def apply(run: GradeRun, given: dict[tuple[str, str], ByHand]) -> tuple[GradeRun, list[str]]:
    """The run with these points in it, and a sentence for each that was not taken."""
    stale: list[str] = []

    def task(one: Submission, mark: TaskMark) -> TaskMark:
        hand = given.get((one.student, mark.task))
        if hand is None:
            return mark
        if _is_stale(hand, one):
            stale.append(f"{one.student}, {mark.task}: the notebook has changed since it was marked; mark it again.")
            return mark
        return replace(mark, earned=hand.points, note=_noted(mark, hand))

    submissions = tuple(replace(one, tasks=tuple(task(one, mark) for mark in one.tasks)) for one in run.submissions)
    return replace(run, submissions=submissions), stale


def _is_stale(hand: ByHand, one: Submission) -> bool:
    """Whether the points were given to another version of the notebook."""
    return hand.notebook not in ("", one.sha256[:SHA])


def _noted(mark: TaskMark, hand: ByHand) -> str:
    was = "" if mark.earned is None else f"It was {points(mark.earned)} before. "
    return f"{mark.note} {was}".strip() + (f" {BY_HAND}{hand.comment}" if hand.comment else "")


def open_tasks(run: GradeRun) -> Iterator[tuple[Submission, TaskMark]]:
    """What a person has to decide: prose, and what could not be judged."""
    for one in run.submissions:
        yield from ((one, task) for task in one.tasks if is_open(one, task))


def is_open(one: Submission, task: TaskMark) -> bool:
    """Whether a person has to decide it. What nobody could read has to be handed in again instead."""
    return one.status == "graded" and task.state in ("manual", "unknown")


def form(run: GradeRun, given: dict[tuple[str, str], ByHand]) -> str:
    """prose.csv: a row for each of them, and for whatever else has points by hand; those given are in it."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for one in run.submissions:
        for task in one.tasks:
            hand = given.get((one.student, task.task))
            if hand is None and not is_open(one, task):
                continue
            number, comment = (points(hand.points), hand.comment) if hand else ("", "")
            now, before = ("", number) if hand and _is_stale(hand, one) else (number, "")
            row = (one.student, task.task, task.title, task.state, points(task.possible), now, comment)
            rows.writerow([*map(defused, row), f"'{one.sha256[:SHA]}", before])
    return text.getvalue()


def page(run: GradeRun) -> str:
    """prose.html, for the instructor: task by task, each student's text with the rubric beside it."""
    tasks: dict[str, list[tuple[Submission, TaskMark]]] = {}
    for one, task in open_tasks(run):
        tasks.setdefault(task.task, []).append((one, task))
    how = (
        "Write points, and a comment for the student if you like, into prose.csv; then run `classroom report` on this"
        " folder again. What is not prose is here because it could not be judged."
    )
    parts: list[Child] = [tag("h1", f"Lab {visible(run.lab)}: to be marked by hand"), *noted(run.notes), tag("p", how)]
    if not tasks:
        parts.append(tag("p", "Nothing is open: every task has its points."))
    else:
        rows = [[name, some[0][1].title, f"{_left(some)} of {len(some)}"] for name, some in tasks.items()]
        parts.append(table("What is open", ("Task", "What it is", "Not marked yet"), rows))
    parts += [_task(name, some) for name, some in tasks.items()]
    return document(f"Lab {run.lab}: to be marked by hand", *parts)


def _left(some: list[tuple[Submission, TaskMark]]) -> str:
    return str(sum(task.earned is None for _, task in some))


def _task(name: str, some: list[tuple[Submission, TaskMark]]) -> Markup:
    head = tag("h2", visible(f"{name}: {some[0][1].title}"))
    return tag("section", head, [_answer(one, task) for one, task in some])


def _answer(one: Submission, task: TaskMark) -> Markup:
    where = "still open" if task.earned is None else f"{points(task.earned)} points given"
    parts: list[Child] = [tag("h3", visible(f"{one.student}, {task.task}: {where} (of {points(task.possible)})"))]
    if task.kind == "prose":
        left = tag("div", tag("p", tag("b", "Answer")), said(task.answer or "(nothing was written)"))
        right = tag("div", tag("p", tag("b", "Rubric")), said(task.rubric))
        parts.append(tag("div", left, right, class_="sides"))
    else:
        parts.append(tag("p", visible(task.note or "It could not be judged.")))
        rows = [[one.text, one.seen or "–"] for one in task.conditions if one.passed is None]
        parts.append(table(f"Not judged of {task.task}", ("Condition", "What was seen"), rows) if rows else None)
    return tag("div", *parts)
