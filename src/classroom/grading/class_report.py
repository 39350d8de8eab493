"""The class in one look: which tasks, which misconceptions, what is unknown, and which submissions need a person."""

from __future__ import annotations

import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from classroom.grading.gradebook import tasks_of
from classroom.grading.pages import document, noted, points, table, visible
from classroom.grading.report import GradeRun, Submission
from classroom.views.markup import Child, tag

__all__ = ["page", "text"]

NAMED = 6  # students named in a row; the rest is counted
Table = tuple[str, Sequence[str], list[list[str]], str]


def _summary(run: GradeRun) -> Iterator[str]:
    graded = [one for one in run.submissions if one.status == "graded"]
    done = [one.earned for one in graded if not one.needs_you]
    yield f"{len(run.submissions)} submissions, {len(graded)} graded, {len(done)} with all their points."
    most = points(sum(tasks_of(run).values()))
    earned = [one.earned for one in graded]
    if earned:
        low, high = points(min(earned)), points(max(earned))
        more = "" if len(done) == len(graded) else " so far (what is open counts as nothing yet)"
        yield f"Points{more}: median {points(statistics.median(earned))} of {most}, lowest {low}, highest {high}."
    if not run.finished:
        yield "This run is not finished: run the same `classroom grade` again, and it goes on."


def _tasks(run: GradeRun) -> Table:
    graded = [one for one in run.submissions if one.status == "graded"]
    rows = []
    for task in tasks_of(run):
        marks = [mark for one in graded for mark in one.tasks if mark.task == task]
        if not marks:
            continue
        states = Counter(mark.state for mark in marks)
        judged = states["passed"] + states["failed"] + states["missing"]
        share = f"{states['passed'] / judged:.0%}" if judged else "–"
        numbers = [str(states[state]) for state in ("passed", "failed", "missing", "unknown", "manual")]
        rows.append([task, marks[0].title, *numbers, share])
    head = ("Task", "What it is", "Passed", "Not passed", "No answer", "Unknown", "By hand", "Share passed")
    return "Tasks", head, rows, "no submission has tasks"


def _misconceptions(run: GradeRun) -> Table:
    """Of each task and hint, who got it: one student counts once."""
    who: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in run.submissions:
        for task in one.tasks:
            hints = {mark.hint for mark in task.conditions if mark.passed is False and mark.hint}
            for hint in hints:
                who[task.task, hint].append(one.student)
    ordered = sorted(who.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [[str(len(students)), task, hint, _named(students)] for (task, hint), students in ordered]
    return "Misconceptions, by the hint that was given", ("Students", "Task", "Hint", "Who"), rows, "no hint was given"


def _unknown(run: GradeRun) -> Table:
    rows = []
    for one in run.submissions:
        for task in one.tasks:
            if one.status == "graded" and task.state == "unknown":
                reason = task.note or next((mark.seen for mark in task.conditions if mark.passed is None), "")
                given = "open" if task.earned is None else f"{points(task.earned)} by hand"
                rows.append([one.student, task.task, str(task.tries), reason, given])
    head = ("Student", "Task", "Tries", "Why", "Points")
    return "What could not be judged", head, rows, "everything was judged"


def _attention(run: GradeRun) -> Table:
    rows = []
    for one in run.submissions:
        missing = [task.task for task in one.tasks if task.state == "missing"]
        reasons = [
            *(note for note in one.notes if note not in run.notes),
            *([f"no answer was found for {', '.join(missing)}"] if missing else []),
        ]
        reasons += [
            f"{task.task}: {task.note}" for task in one.tasks if task.note and task.state in ("failed", "passed")
        ]
        if one.status != "graded" or reasons:
            rows.append([one.student, one.file, one.status, " ".join(dict.fromkeys(reasons)) or "–"])
    return "Submissions to look at", ("Student", "File", "Status", "Why"), rows, "none"


def _students(run: GradeRun) -> Table:
    tasks = tasks_of(run)
    rows = []
    for one in run.submissions:
        earned = {task.task: points(task.earned) for task in one.tasks}
        total = points(one.earned if one.status == "graded" else None)
        rows.append([one.student, total, *(earned.get(task, "–") for task in tasks), _open(one)])
    return "Students", ("Student", "Points", *tasks, "Still open"), rows, "no submissions"


def _open(one: Submission) -> str:
    return one.status if one.status != "graded" else ", ".join(one.needs_you) or "nothing"


def _named(students: Sequence[str]) -> str:
    more = len(students) - NAMED
    return ", ".join(students[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _run(run: GradeRun) -> Table:
    started = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M UTC")
    rate = len(run.submissions) / run.seconds * 60 / max(run.workers, 1) if run.seconds else 0.0
    rows = [
        ["started", started],
        ["seed (secret; the same gives the same marks)", str(run.seed)],
        ["sandbox", run.sandbox],
        ["took", f"{run.seconds:.0f} s with {run.workers} at a time: {rate:.2f} submissions a minute for each"],
        ["version", run.version],
    ]
    return "The run", ("What", "Value"), rows, ""


PARTS = (_tasks, _misconceptions, _unknown, _attention, _students, _run)


def page(run: GradeRun) -> str:
    """class.html, for the instructor."""
    title = f"The class: {run.title or f'Lab {run.lab}'}"
    parts: list[Child] = [tag("h1", visible(title)), *noted(run.notes)]
    parts += [tag("p", visible(line)) for line in _summary(run)]
    for part in PARTS:
        caption, head, rows, empty = part(run)
        parts.append(tag("h2", caption))
        parts.append(table(caption, head, rows) if rows else tag("p", f"{caption}: {empty}."))
    return document(title, *parts)


def text(run: GradeRun) -> str:
    """class.txt: the same for a terminal."""
    lines = [f"Lab {visible(run.lab)}: the class", "", *map(visible, (*run.notes, *_summary(run)))]
    for part in PARTS:
        caption, head, rows, empty = part(run)
        lines += ["", caption if rows else f"{caption}: {empty}"]
        if rows:
            lines += _columns([list(head), *rows])
    return "\n".join(lines) + "\n"


def _columns(rows: list[list[str]]) -> Iterator[str]:
    """Rows in columns; the longest text goes over several lines, and nothing of it acts on a terminal."""
    shown = [[visible(cell).replace("\n", " ").replace("\t", " ") for cell in row] for row in rows]
    widths = [min(max(len(row[column]) for row in shown), 44) for column in range(len(rows[0]))]
    for row in shown:
        parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for n in range(max(map(len, parts))):
            cut = [part[n] if n < len(part) else "" for part in parts]
            yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(cut, widths, strict=True)).rstrip()
