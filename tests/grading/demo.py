"""`make grade-demo`: a hundred submissions with known marks, graded by the command, and how far the two agree.

    python -m grading.demo --count 100 --workers 2

A third are right (some of them in odd clothes), the others have one wrong solution of those in tests/mutants.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import Random

from mutants import lab05
from mutants.mutant import Mutant

from classroom.grading.grade import main as grade
from classroom.grading.report import GradeRun, read

from .notebooks import notebook, path_of, reference
from .odd import ODD

LAB = "05"


def submissions(folder: Path, count: int) -> dict[str, str]:
    """Write so many; student -> the task that is wrong ("" for none)."""
    chance, wrong = Random(count), dict[str, str]()
    odd = [case for case in ODD if case.task.startswith(LAB) and case.file == "student.ipynb"]
    mutants = chance.sample(lab05.MUTANTS, len(lab05.MUTANTS))
    for number in range(count):
        student = f"student{number:03}"
        made, task = _one(number, odd[number % len(odd)].change, mutants[number % len(mutants)])
        (folder / f"{student}.ipynb").write_text(json.dumps(made))
        wrong[student] = task
    return wrong


def _one(number: int, change: object, mutant: Mutant) -> tuple[object, str]:
    if number % 3 == 0:
        made = notebook(LAB, {}, solved=True)
        if number % 2 and callable(change):
            change(made)
        return made, ""
    cell = mutant.task.partition(".")[2]
    return notebook(LAB, {cell: mutant.of(reference(LAB, cell))}, solved=True), mutant.task


def disagreements(run: GradeRun, wrong: dict[str, str]) -> list[str]:
    """Where a mark is another than the known one."""
    found = []
    for one in run.submissions:
        for mark in one.tasks:
            known = "manual" if mark.kind == "prose" else "failed" if wrong[one.student] == mark.task else "passed"
            if mark.state != known:
                found.append(f"{one.student} {mark.task}: {mark.state}, and it is known as {known}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make grade-demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the marks there, and go on with them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "submissions"), options.out or Path(scratch, "marks")
        folder.mkdir()
        wrong = submissions(folder, options.count)
        words = ["--lab", LAB, "--out", str(out), "--seed", "17", "--seeds", "1", "--workers", str(options.workers)]
        grade([str(folder), *words, "--solutions", str(path_of(LAB).parent)])
        run = read(out)
    differ = disagreements(run, wrong)
    marks = sum(len(one.tasks) for one in run.submissions)
    print("\n".join(differ))
    print(f"{marks - len(differ)} of {marks} marks of {len(run.submissions)} submissions are as known")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
