"""A grading run of a small class, made by hand: what tests of pages and gradebooks share."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from classroom.grading.report import ConditionMark, GradeRun, LifeEvent, Submission, TaskMark

LIFE = (
    LifeEvent(0.0, "the sender", "attempted"),
    LifeEvent(0.004, "the sender", "acknowledged"),
    LifeEvent(0.021, "payments 1", "begun", "attempt 1"),
    LifeEvent(0.034, "payments 1", "killed"),
    LifeEvent(2.1, "the checker", "never handled", "it lies in no queue"),
)
HINT = "its service runs at most once: the broker forgets a letter as it hands it over. Write --delivery at-least-once"
HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" & 'so' \x1b[2J\x1b]0;owned\x07"
    " \u202egnp.exe [a](javascript:alert(3)) <style>*{display:none}</style> $\\href{javascript:alert(4)}{x}$"
)
RUBRIC = "1 point: the confirm covers the way to the queue. 1 point: a second charge is possible."
ANSWER = "The colleague is right about the way to the queue.\n\nBehind it, the ack decides; a charge may come twice."


def conditions(passed: bool) -> tuple[ConditionMark, ...]:
    """Of task 05.ack."""
    lost = ConditionMark("killed at 3 points of its work: no order is lost", True)
    if not passed:
        lost = replace(lost, passed=False, expected="0", seen="3 lost: 17, 18, 21", hint=HINT, life=LIFE, message="17")
    later = ConditionMark("killed: only what was in flight is charged again", passed or None, seen="not tried")
    return (ConditionMark("three orders are charged, each once", True), lost, later)


def task(name: str, state: str, earned: float | None, possible: float, **more: object) -> TaskMark:
    """A task of lab 05."""
    titles = {"ack": "charged, whoever is killed", "why": "what was promised?", "prefetch": "short jobs overtake"}
    kind = "prose" if name == "why" else "service"
    return TaskMark(f"05.{name}", titles[name], kind, possible, earned, state, **more)  # type: ignore[arg-type]


def submission(student: str, ack: TaskMark, prefetch: TaskMark, answer: str = ANSWER, **more: object) -> Submission:
    """A notebook that could be graded."""
    why = task("why", "manual", None, 2, answer=answer, rubric=RUBRIC, cell="why")
    file = str(more.pop("file", f"{student}/05-rabbitmq.ipynb"))
    sha = hashlib.sha256(student.encode()).hexdigest()
    return Submission(student, file, sha, "graded", tasks=(ack, prefetch, why), **more)  # type: ignore[arg-type]


def small_class() -> GradeRun:
    """One good, one who loses letters, one hostile, one that could not be judged, one that is no notebook."""
    good = task("ack", "passed", 3.0, 3, conditions=conditions(True), cell="ack", seed=4711)
    short = task("prefetch", "passed", 2.0, 2, conditions=(ConditionMark("short jobs come first", True),))
    lossy = task("ack", "failed", 0.0, 3, conditions=conditions(False), cell="ack", seed=4711)
    secret = ConditionMark("SECRET words of a hidden condition", False, "SECRET", "SECRET", "SECRET", hidden=True)
    hidden = task("prefetch", "failed", 0.0, 2, conditions=(secret,))
    bad = ConditionMark(
        HOSTILE, False, HOSTILE, HOSTILE, HOSTILE, (LifeEvent(0, HOSTILE, HOSTILE, HOSTILE),) * 2, HOSTILE
    )
    hostile = task("ack", "failed", 0.0, 3, conditions=(bad,), note=HOSTILE)
    broken = ConditionMark("printers starts and is ready", None, seen="the broker died")
    unknown = task("prefetch", "unknown", None, 2, conditions=(broken,), tries=3, note="the broker died in each try")
    none = task("ack", "missing", 0.0, 3, note="no cell has this task's id or its words")
    formula = '=HYPERLINK("http://127.0.0.1/?"&A1)'
    unread = tuple(
        task(name, "unknown", None, most, note="It is not JSON")
        for name, most in (("ack", 3), ("prefetch", 2), ("why", 2))
    )
    submissions = (
        submission("ada", good, short),
        submission("ben", lossy, hidden, notes=("Cells were added.",)),
        submission("eve", hostile, unknown, HOSTILE, file=f"eve/{formula}.ipynb", notes=(HOSTILE,)),
        submission("gil", none, short),
        submission("mia_44_assignsubmission_file", lossy, short, file="Mia Müller_44_assignsubmission_file_/lab.ipynb"),
        Submission("zoe", "zoe.ipynb", "", "unreadable", ("It is not JSON: line 1.",), unread),
    )
    seeds = {"05.ack": (4711, 4712)}
    return GradeRun(
        "05",
        987654321,
        seeds,
        1_790_000_000.0,
        "0.1.0",
        "bubblewrap",
        submissions,
        title="Lab 05: nothing lost",
        seconds=120.0,
    )
