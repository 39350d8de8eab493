"""`make grade-demo`: a hundred submissions with known marks, graded by the command, and how far the two agree.

    python -m grading.demo --count 100 --workers 2
    python -m grading.demo --lab 03 --only 03.till --count 5 --times 10

A third are right (some of them in odd clothes), the last is the lab as it was handed out, the others have one wrong
solution of those in tests/mutants. With --times, all are graded so often, each time from nothing with the same seed:
the marks must be the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from mutants.mutant import Mutant, labs

from classroom.grading.grade import main as grade
from classroom.grading.report import GradeRun, TaskMark, read

from .notebooks import Notebook, notebook, path_of, reference
from .odd import ODD

SEED = 17
EVERYTHING = "everything"  # is wrong


def submissions(folder: Path, lab: str, count: int, only: Sequence[str] = ()) -> dict[str, str]:
    """Write so many; student -> the task that is wrong ("" for none, EVERYTHING for a lab as it was handed out)."""
    chance, wrong = Random(count), dict[str, str]()
    odd = [case for case in ODD if case.task.startswith("05") and case.file == "student.ipynb"]
    (known,) = (one for one in labs() if one.name == lab)
    mutants = [one for one in known.mutants if not only or one.task in only]
    mutants = chance.sample(mutants, len(mutants))
    for number in range(count):
        student = f"student{number:03}"
        if number == count - 1 > 0:
            made, task = notebook(lab, {}), EVERYTHING
        else:
            made, task = _one(lab, number, odd[number % len(odd)].change, mutants[number % len(mutants)])
        (folder / f"{student}.ipynb").write_text(json.dumps(made))
        wrong[student] = task
    return wrong


def _one(lab: str, number: int, change: object, mutant: Mutant) -> tuple[Notebook, str]:
    if number % 3 == 0:
        made = notebook(lab, {}, solved=True)
        if number % 2 and callable(change):
            change(made)
        return made, ""
    cell = mutant.task.partition(".")[2]
    return notebook(lab, {cell: mutant.of(reference(lab, cell))}, solved=True), mutant.task


def known(mark: TaskMark, wrong: str) -> str:
    """The state that a mark must have."""
    if mark.kind == "prose":
        return "missing" if wrong == EVERYTHING else "manual"
    return "failed" if wrong in (mark.task, EVERYTHING) else "passed"


def compared(run: GradeRun, wrong: dict[str, str]) -> Iterator[tuple[str, TaskMark, str]]:
    """Each mark: whose it is, what was given, and the state that is known."""
    for one in run.submissions:
        yield from ((one.student, mark, known(mark, wrong[one.student])) for mark in one.tasks)


def told(run: GradeRun, wrong: dict[str, str]) -> list[str]:
    """How fast it was, and how far the marks are as known."""
    marks = [*compared(run, wrong)]
    right = [mark for _, mark, state in marks if state == "passed"]
    bad = [mark for _, mark, state in marks if state == "failed"]
    judged = [mark for _, mark, _ in marks if mark.kind != "prose"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rate = len(run.submissions) / max(run.seconds, 0.001) * 60
    return [
        *(
            f"{who} {one.task}: {one.state}, and it is known as {state}"
            for who, one, state in marks
            if one.state != state
        ),
        f"{len(run.submissions)} submissions in {run.seconds:.0f} s, {run.workers} at a time, {cores} cores:"
        f" {rate:.2f} submissions a minute, {rate / min(cores, run.workers):.2f} a minute and core",
        f"{sum(one.state == state for _, one, state in marks)} of {len(marks)} marks are as known",
        f"right answers that were marked down: {sum(one.earned == 0 for one in right)} of {len(right)}",
        f"wrong answers that earned a point: {sum(bool(one.earned) for one in bad)} of {len(bad)}",
        f"not judged (unknown): {sum(one.state == 'unknown' for one in judged)} of {len(judged)}",
    ]


def marks_of(run: GradeRun) -> dict[tuple[str, str], tuple[object, ...]]:
    """What must be the same each time: (student, task) -> state, points, the seed that decided."""
    return {
        (one.student, mark.task): (mark.state, mark.earned, mark.seed) for one in run.submissions for mark in one.tasks
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make grade-demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lab", default="05")
    parser.add_argument("--only", action="append", default=[], metavar="TASK")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, metavar="N", help="grade all of them so often, and compare")
    parser.add_argument("--out", type=Path, help="keep the marks there, and go on with them")
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "submissions"), options.out or Path(scratch, "marks")
        folder.mkdir()
        wrong = submissions(folder, options.lab, options.count, options.only)
        words = ["--lab", options.lab, "--seed", str(SEED), "--seeds", "1", "--workers", str(options.workers)]
        words += [word for task in options.only for word in ("--only", task)]
        for n in range(options.times):
            place = out if n == 0 else Path(scratch, f"marks-{n}")
            grade([str(folder), *words, "--out", str(place), "--solutions", str(path_of(options.lab).parent)])
            runs.append(read(place))
    first = marks_of(runs[0])
    print()
    print("\n".join(told(runs[0], wrong)))
    same = sum(all(marks_of(run).get(key) == mark for run in runs) for key, mark in first.items())
    if options.times > 1:
        print(f"{options.times} times with seed {SEED}: {same} of {len(first)} marks are the same each time")
    agreed = all(one.state == state for _, one, state in compared(runs[0], wrong))
    return 0 if agreed and same == len(first) else 1


if __name__ == "__main__":
    sys.exit(main())
