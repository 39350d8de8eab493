"""What a grading run found, as data: `DIR/results.json`. Whoever makes pages and gradebooks of it reads it by `read`.

    run = read(Path("marks/results.json"))
    for submission in run.submissions:
        print(submission.student, submission.earned, "of", submission.possible, submission.needs_you)

The texts of conditions (`expected`, `seen`, `hint`, `life`), of `notes`, `answer` and `student` may hold anything that
a student has written: whoever shows them must escape them. Control characters are taken out already, but for newlines.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

__all__ = [
    "ConditionMark",
    "GradeRun",
    "LifeEvent",
    "ReportError",
    "State",
    "Status",
    "Submission",
    "TaskMark",
    "alone",
    "from_json",
    "keep",
    "read",
    "to_json",
    "write",
]

Status = Literal["graded", "unreadable", "refused", "unfinished"]
"""graded: its tasks have marks. unreadable: it is no notebook. refused: its name or place is not allowed, such as a
symbolic link that leads out of the folder. unfinished: the grader itself came to grief over it; grade it again."""

State = Literal["passed", "failed", "unknown", "missing", "manual"]
"""passed and failed: judged. unknown: it could not be judged, though it was tried again; an instructor decides.
missing: no cell of the submission answers this task. manual: prose, which an instructor marks."""


class ReportError(Exception):
    """A results file cannot be read. The message says what to do next."""


@dataclass(frozen=True)
class LifeEvent:
    """One line of a counterexample's timeline: `after` seconds from the first event, who did it, what, and details."""

    after: float
    process: str
    what: str
    detail: str = ""


@dataclass(frozen=True)
class ConditionMark:
    """One thing that must hold. `passed` is None where it could not be judged.

    Attributes:
        text: the condition. expected, seen, hint: "" where there is nothing to say.
        life: of a failed one, the life of one offending message; () where there is none.
        message: the id of that message; "" where there is none.
        hidden: whether students do not have this condition; its texts are for the instructor only.
        seed: of the run in which it was seen.
    """

    text: str
    passed: bool | None
    expected: str = ""
    seen: str = ""
    hint: str = ""
    life: tuple[LifeEvent, ...] = ()
    message: str = ""
    hidden: bool = False
    seed: int | None = None


@dataclass(frozen=True)
class TaskMark:
    """The mark of one task.

    Attributes:
        task: "05.ack". title: a few words. kind: service, function, prediction, diagnosis or prose.
        earned: points; None while nobody can say (unknown, manual). possible: points.
        seed: of the run that decided: the failed one, else the last. None where nothing was run.
        tries: how many runs were needed, those that ended without a verdict included.
        seconds: of all of them together.
        conditions: of the run that decided.
        answer: of prose, what the student wrote (Markdown); else "".
        rubric: of prose, how to mark it (Markdown), for the instructor; else "".
        cell: the id of the cell that was taken for the answer, "" where there is none.
        note: what an instructor should know, e.g. why it is unknown, or that the cell was found by its content.
    """

    task: str
    title: str
    kind: str
    possible: float
    earned: float | None
    state: State
    seed: int | None = None
    tries: int = 0
    seconds: float = 0.0
    conditions: tuple[ConditionMark, ...] = ()
    answer: str = ""
    rubric: str = ""
    cell: str = ""
    note: str = ""


@dataclass(frozen=True)
class Submission:
    """One student's notebook.

    Attributes:
        student: the id, from the name of the file or folder: letters, digits and ._-@ only.
        file: the notebook, relative to the folder of submissions. sha256: of its bytes, hex; "" where not read.
        notes: for the instructor, a sentence each.
        seconds: that grading it took.
    """

    student: str
    file: str
    sha256: str
    status: Status
    notes: tuple[str, ...] = ()
    tasks: tuple[TaskMark, ...] = ()
    seconds: float = 0.0

    @property
    def earned(self) -> float:
        """Points so far: unknown and manual tasks count as nothing yet."""
        return sum(task.earned or 0 for task in self.tasks)

    @property
    def possible(self) -> float:
        """Points of all tasks, those that are marked by hand included."""
        return sum(task.possible for task in self.tasks)

    @property
    def needs_you(self) -> tuple[str, ...]:
        """The tasks that an instructor must look at before there is a mark: unknown and manual ones."""
        return tuple(task.task for task in self.tasks if task.earned is None)


@dataclass(frozen=True)
class GradeRun:
    """A whole run.

    Attributes:
        lab: "05". seed: the secret seed, from which those of all tasks are drawn: the same again gives the same marks.
        seeds: task -> the seeds with which it was judged, in order.
        started: unix seconds. version: of the tool. sandbox: "bubblewrap", or "none" after --unsafe.
        submissions: in the order of their students' ids.
        notes: of the run, e.g. that there was no sandbox: to be shown in every report.
        finished: whether all submissions are in it.
        workers: how many worked side by side. seconds: of the run, interruptions not counted.
    """

    lab: str
    seed: int
    seeds: dict[str, tuple[int, ...]]
    started: float
    version: str
    sandbox: str
    submissions: tuple[Submission, ...] = ()
    notes: tuple[str, ...] = ()
    finished: bool = True
    title: str = ""
    workers: int = 1
    seconds: float = 0.0


def to_json(thing: GradeRun | Submission) -> bytes:
    """As JSON, indented, for people too."""
    return msgspec.json.format(msgspec.json.encode(thing), indent=1) + b"\n"


def from_json(data: bytes, kind: type[GradeRun | Submission] = GradeRun) -> GradeRun | Submission:
    """The other way. Raises ReportError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ReportError(f"this is no result of `classroom grade`: {error}. Grade again to write it anew.") from None


def read(path: Path) -> GradeRun:
    """Read a results file, or the one in a folder. Raises ReportError."""
    path = path / "results.json" if path.is_dir() else path
    try:
        run = from_json(path.read_bytes())
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}. `classroom grade` writes it.") from None
    assert isinstance(run, GradeRun)
    return run


def write(path: Path, thing: GradeRun | Submission) -> None:
    """Write it whole or not at all: a reader at any moment finds the old one or the new one. Raises OSError."""
    keep(path, to_json(thing))


def keep(path: Path, data: bytes) -> None:
    """Write a file in the same way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Nobody else grades into this folder meanwhile. Raises ValueError when somebody does."""
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another `classroom grade` is writing into {out}. Wait until it has ended, or give another --out."
            ) from None
        for scratch in [*out.glob(".*.json.*"), *out.glob("submissions/.*.json.*")]:
            scratch.unlink()  # of one that was killed while it wrote
        yield
