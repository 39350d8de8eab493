"""The page that one student gets: each task, each condition, what was seen, the counterexample's timeline, the hint."""

from __future__ import annotations

from classroom.events import Event
from classroom.grading.pages import MARKS, STATES, document, joined, noted, points, said, table, visible
from classroom.grading.report import ConditionMark, GradeRun, Submission, TaskMark
from classroom.observe.observed import timeline
from classroom.views.markup import Child, Markup, tag

__all__ = ["page"]

CLASSES = {"passed": "good", "failed": "bad", "missing": "bad", "unknown": "open", "manual": "open"}
OF_CONDITIONS = {True: "good", False: "bad", None: "open"}
STATUS = {
    "unreadable": "Your file could not be read as a notebook, so nothing in it was marked. Open it in JupyterLab: if it"
    " does not open there, take your last copy that does. Then ask your instructor how to hand it in again.",
    "refused": "Your file was not taken, because of its name or its place. Ask your instructor.",
    "unfinished": "Marking your file was not finished. This is no fault of yours; your instructor will do it again.",
}
OPEN = {
    "unknown": "This task could not be judged, though it was tried again. Your instructor will look at it.",
    "missing": "No cell for this task was found in your notebook. A task is found by its cell: keep the lab's cells.",
    "manual": "Your instructor reads this one.",
}
NOTHING_WRITTEN = "No answer was found: the cell is as it was handed out, or it is gone."
DRAWN = 2  # events of a timeline, at least, for a picture of it
HIDDEN = "a condition that only the marked runs have"


def page(run: GradeRun, submission: Submission) -> str:
    """The page as HTML. Seeds, rubrics, notes and the words of hidden conditions are not in it."""
    lab = run.title or f"Lab {run.lab}"
    parts: list[Child] = [tag("h1", visible(lab)), tag("p", f"Feedback for {visible(submission.student)}")]
    if submission.status != "graded":
        parts.append(tag("p", STATUS[submission.status], class_="note"))
    looked_at = submission.status == "graded" or any(task.earned is not None for task in submission.tasks)
    if looked_at and submission.tasks:
        parts += [_sum(submission), _overview(submission)]
    parts += noted(run.notes)
    parts += [_task(task) for task in submission.tasks if looked_at]
    parts.append(tag("p", f"Marked from {visible(submission.file)}.", class_="dim"))
    return document(f"{lab}, feedback for {submission.student}", *parts)


def _sum(submission: Submission) -> Markup:
    left = len(submission.needs_you)
    open_ = f" {left} {'task is' if left == 1 else 'tasks are'} still to be marked by hand." if left else ""
    text = f"{points(submission.earned)} of {points(submission.possible)} points{' so far' if left else ''}."
    return tag("p", tag("b", text), open_, class_="total")


def _overview(submission: Submission) -> Markup:
    rows = [
        [task.task, task.title, _state(task), f"{points(task.earned)} of {points(task.possible)}"]
        for task in submission.tasks
    ]
    return table("Your tasks", ("Task", "What it is", "Result", "Points"), rows)


def _state(task: TaskMark) -> Markup:
    by_hand = task.earned is not None and task.state in ("manual", "unknown")
    word = "✓ marked by your instructor" if by_hand else STATES[task.state]
    return tag("span", word, class_="good" if by_hand else CLASSES[task.state])


def _task(task: TaskMark) -> Markup:
    parts: list[Child] = [tag("h2", visible(f"{task.task}: {task.title}"))]
    parts.append(tag("p", _state(task), f", {_earned(task)}."))
    if task.earned is None or task.state == "missing":
        prose = task.kind == "prose" and task.state == "missing"
        parts.append(tag("p", NOTHING_WRITTEN if prose else OPEN.get(task.state, "")))
    if task.conditions:
        parts.append(_conditions(task))
    parts += [_broken(one) for one in task.conditions if one.passed is False and not one.hidden]
    if task.kind == "prose" and task.answer:
        parts += [tag("h3", "What you wrote"), said(task.answer)]
    if comment := task.note.partition(BY_HAND)[2]:
        parts += [tag("h3", "What your instructor says"), said(comment)]
    return tag("section", *parts)


def _earned(task: TaskMark) -> str:
    most = points(task.possible)
    return f"up to {most} points" if task.earned is None else f"{points(task.earned)} of {most} points"


BY_HAND = "By hand: "  # in a task's note, before the words for the student


def _conditions(task: TaskMark) -> Markup:
    rows: list[list[Child]] = [
        [HIDDEN if one.hidden else one.text, tag("span", MARKS[one.passed], class_=OF_CONDITIONS[one.passed])]
        for one in task.conditions
    ]
    return table(f"Conditions of {task.task}", ("Condition", "Result"), rows)


def _broken(one: ConditionMark) -> Markup:
    """A condition that does not hold, with all that helps to see why."""
    pairs = (("Expected", one.expected), ("Seen", one.seen), ("Hint", one.hint))
    facts = [joined((tag("dt", name), tag("dd", visible(text)))) for name, text in pairs if text]
    parts: list[Child] = [tag("h3", f"✕ {visible(one.text)}"), tag("dl", facts) if facts else None]
    if one.life:
        parts.append(_life(one))
    return tag("div", *parts, class_="box")


def _life(one: ConditionMark) -> Markup:
    """The life of one message for which it did not hold: a table, and a picture of it."""
    whose = f"message {one.message}" if one.message else "one message"
    rows = [[f"{event.after:+.3f}\N{NO-BREAK SPACE}s", event.process, event.what, event.detail] for event in one.life]
    shown = table(f"The life of {whose}", ("After", "Who", "What", "Details"), rows)
    if len(one.life) < DRAWN:
        return shown
    events = [
        Event(max(event.after, 0.0), visible(event.process), visible(event.what), visible(one.message), "")
        for event in one.life
    ]
    picture = tag(
        "div", Markup(timeline(events).svg), class_="scrolls", tabindex="0", role="group", aria_label="Timeline"
    )
    return joined((shown, tag("details", tag("summary", "The same as a picture"), picture)))
