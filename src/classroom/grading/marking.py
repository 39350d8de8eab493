"""One submission, from its bytes to its marks."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from classroom.checks.result import Condition
from classroom.grading.accounts import Accounts
from classroom.grading.answers import Answer, Cell, Lab, Task, answers
from classroom.grading.elsewhere import Driver, DriverError
from classroom.grading.incoming import Incoming
from classroom.grading.report import ConditionMark, LifeEvent, Submission, TaskMark
from classroom.grading.runner import Runner
from classroom.grading.sandbox import LIMITS, Limits
from classroom.grading.trial import Trial, trial

__all__ = ["Terms", "grade", "unmarked"]

TRIES = 3  # of a trial that gives no verdict
READING = Limits(memory=4 << 30, resident=2 << 30)  # a notebook may have 200 MB of outputs
READ_LIMIT = 120.0  # seconds
LONGEST = 4000  # characters of a text in a report
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they turn the order of what is shown


class Terms(msgspec.Struct, frozen=True):
    """How a run marks: task -> its seeds; whether there is a sandbox; the seconds and limits of a trial."""

    seeds: Mapping[str, tuple[int, ...]]
    sandboxed: bool = True
    only: tuple[str, ...] = ()
    limit: float = 180.0


async def grade(one: Incoming, lab: Lab, terms: Terms, accounts: Accounts, limits: Limits = LIMITS) -> Submission:
    """Mark a submission. Whatever is in it, this ends, and says what it could not do."""
    began = time.monotonic()
    if one.problem:
        return unmarked(one, lab, terms, "refused", f"not read: {one.problem}")
    try:
        cells = await _cells(one.path, terms.sandboxed)
    except (DriverError, TimeoutError) as error:
        why = str(error).removeprefix("ValueError: ") or f"reading it took more than {READ_LIMIT:g} s"
        return unmarked(one, lab, terms, "unreadable", f"it could not be read: {why}")
    marks = []
    for task in lab.tasks:
        if terms.only and task.name not in terms.only:
            continue
        marks.append(await _mark(lab, task, answers(task, cells), terms, accounts, limits))
    notes = [one.note, "" if terms.sandboxed else UNSAFE, *(f"{mark.task}: {mark.note}" for mark in marks if mark.note)]
    return Submission(
        one.student,
        one.file,
        one.sha256,
        "graded",
        tuple(clean(note) for note in notes if note),
        tuple(marks),
        time.monotonic() - began,
    )


UNSAFE = "Graded without a sandbox (--unsafe): its code ran with all rights of the person who graded."


def unmarked(one: Incoming, lab: Lab, terms: Terms, status: str, why: str) -> Submission:
    """A submission whose tasks nobody could look at: no marks, and no zeros either."""
    tasks = tuple(
        TaskMark(task.name, task.title, task.kind, task.points, None, "unknown", note=clean(why))
        for task in lab.tasks
        if not terms.only or task.name in terms.only
    )
    notes = tuple(clean(note) for note in (why, one.note) if note)
    return msgspec.convert(
        {
            "student": one.student,
            "file": one.file,
            "sha256": one.sha256,
            "status": status,
            "notes": notes,
            "tasks": tasks,
        },
        Submission,
    )


async def _cells(path: Path, sandboxed: bool) -> list[Cell]:
    """The cells of a notebook, read in a sandbox: a parser is not to be trusted with a hostile file."""
    runner = Runner({}, {}, READING, sandboxed)
    driver = Driver(runner, shown=[path])
    try:
        found = await driver.request("read", READ_LIMIT, path=str(path))
        return msgspec.convert([{**one, "kind": one["kind"]} for one in found], list[Cell])
    except (msgspec.ValidationError, TypeError, KeyError) as error:
        raise DriverError(f"reading it gave what makes no sense: {error}") from None
    finally:
        runner.end()


async def _mark(lab: Lab, task: Task, answer: Answer, terms: Terms, accounts: Accounts, limits: Limits) -> TaskMark:
    plain = TaskMark(task.name, task.title, task.kind, task.points, 0.0, "missing", note=answer.note)
    if task.check is None:
        text = clean(answer.cell.source, LONGEST * 5) if answer.cell else ""
        written = not answer.cell or (bool(text) and text.strip() != task.start.strip())
        changes = {"earned": None, "state": "manual", "rubric": task.rubric} if written else {"rubric": task.rubric}
        return _with(plain, answer=text, **changes)
    if answer.cell is None:
        return plain
    trials: list[Trial] = []
    seed = 0
    for seed in terms.seeds[task.name] if task.check.draws else terms.seeds[task.name][:1]:
        for _ in range(TRIES):
            trials.append(await trial(lab, task, answer, seed, accounts, limits, terms.limit, terms.sandboxed))
            if trials[-1].passed is not None:
                break
        if not trials[-1].passed:
            break
    last = trials[-1]
    notes = dict.fromkeys([answer.note, *(one.note for one in trials)])
    state = {True: "passed", False: "failed", None: "unknown"}[last.passed]
    return _with(
        plain,
        state=state,
        earned={True: task.points, False: 0.0, None: None}[last.passed],
        seed=seed,
        tries=len(trials),
        seconds=round(sum(one.seconds for one in trials), 2),
        conditions=tuple(_condition(one, seed) for one in last.conditions),
        cell=clean(answer.cell.id),
        note=clean("; ".join(note for note in notes if note)),
    )


def _with(mark: TaskMark, **changes: object) -> TaskMark:
    return replace(mark, **changes)  # type: ignore[arg-type]


def _condition(one: Condition, seed: int) -> ConditionMark:
    life = getattr(one, "life", None)
    events: Sequence[LifeEvent] = ()
    if life is not None and len(life):
        events = [
            LifeEvent(event.at - life[0].at, *map(clean, (event.process, event.what, event.detail))) for event in life
        ]
    message = clean(life.message) if life is not None else ""
    texts = (clean(one.expected), clean(one.seen), clean(one.hint))
    return ConditionMark(clean(one.text), one.passed, *texts, tuple(events), message, False, seed)


def clean(text: str, most: int = LONGEST) -> str:
    """A text without what moves a terminal's cursor or turns the order of letters, and not too long."""
    text = text.encode("utf-8", "replace").decode()
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", "", text)
    kept = "".join(
        one for one in text if one in "\n\t" or (ord(one) >= 32 and not 127 <= ord(one) < 160 and one not in BIDI)
    )
    return kept if len(kept) <= most else kept[: most - 1] + "…"
