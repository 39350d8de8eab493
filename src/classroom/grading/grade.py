"""`classroom grade SUBMISSIONS --lab 05 --out DIR`: marks for a folder of notebooks, which nobody can fake.

    DIR/results.json            all that was found (report.py)
    DIR/submissions/ID.json     the same, one submission each: written as soon as it is done
    DIR/run.json                the secret seed and the terms: a run that was interrupted goes on with them
    DIR/.lock                   held while it runs: nobody else writes there meanwhile

Give the same seed again, and everybody gets the same marks again. Submissions that have not changed are not marked
again, unless you say --again.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from classroom.grading.answers import Lab, lab_of
from classroom.grading.incoming import Incoming, incoming
from classroom.grading.marking import UNSAFE, Terms, unmarked
from classroom.grading.outputs import write_all
from classroom.grading.report import GradeRun, ReportError, Submission, alone, from_json, keep, write
from classroom.grading.report import read as earlier
from classroom.grading.sandbox import NoSandbox, bubblewrap
from classroom.grading.trial import new_secret, seeds_of
from classroom.grading.worker import Done, Job, encode_hook
from classroom.notebooks import NotebookError, read

__all__ = ["Grading", "main"]

LARGEST = 64 << 20  # bytes of one result


class Kept(msgspec.Struct):
    """What of a run must stay the same when it goes on."""

    lab: str
    seed: int
    seeds: int
    sandbox: bool = True


class Grading:
    """One run. `submissions` are the marks so far, by student."""

    def __init__(self, lab: Lab, solution: Path, out: Path, terms: Terms, run: GradeRun) -> None:
        self.lab, self.solution, self.out, self.terms, self.run = lab, solution, out, terms, run
        self.submissions: dict[str, Submission] = {}
        self._began, self._total, self._fresh = time.monotonic(), 0, 0
        self._before = 0.0  # seconds that this run took before it was interrupted

    async def grade(self, found: Sequence[Incoming], again: bool = False) -> GradeRun:
        """Mark all that is not marked yet, `run.workers` side by side."""
        self._total = len(found)
        left: asyncio.Queue[Incoming] = asyncio.Queue()
        for one in found:
            kept = None if again else self._kept(one)
            if kept is None:
                left.put_nowait(one)
            else:
                self.submissions[one.student] = kept
        with suppress(ReportError):
            self._before = 0.0 if again else earlier(self.out).seconds
        if len(self.submissions):
            print(f"{len(self.submissions)} of {len(found)} are marked already and have not changed.", flush=True)
        workers = [self._work(left, number) for number in range(min(self.run.workers, left.qsize()))]
        await asyncio.gather(*workers)
        return self._write(finished=True)

    def _kept(self, one: Incoming) -> Submission | None:
        """Its marks, where all that are wanted are there."""
        kept = self._stored(one)
        wanted = {*(self.terms.only or (task.name for task in self.lab.tasks))}
        return kept if kept is not None and wanted <= {task.task for task in kept.tasks} else None

    def _stored(self, one: Incoming) -> Submission | None:
        """What was marked of this version of it."""
        try:
            kept = from_json(self._path(one.student).read_bytes(), Submission)
        except (OSError, ReportError):
            return None
        same = isinstance(kept, Submission) and kept.sha256 == one.sha256 and kept.status != "unfinished"
        return kept if same and isinstance(kept, Submission) else None

    def _path(self, student: str) -> Path:
        return self.out / "submissions" / f"{student}.json"

    async def _work(self, left: asyncio.Queue[Incoming], number: int) -> None:
        worker: asyncio.subprocess.Process | None = None
        try:
            while not left.empty():
                one = left.get_nowait()
                for _ in range(2):
                    worker = worker if worker is not None and worker.returncode is None else await self._start(number)
                    done = await self._ask(worker, one)
                    if done.submission is not None:
                        break
                self._take(one, done)
        finally:
            if worker is not None and worker.stdin is not None:
                worker.stdin.close()
                await worker.wait()

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        argv = [sys.executable, "-P", "-m", "classroom.grading.worker"]
        with (self.out / f"worker-{number}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LARGEST
            )

    async def _ask(self, worker: asyncio.subprocess.Process, one: Incoming) -> Done:
        assert worker.stdin
        assert worker.stdout
        job = Job(self.lab.name, str(self.solution), one, self.terms)
        try:
            worker.stdin.write(msgspec.json.encode(job, enc_hook=encode_hook) + b"\n")
            await worker.stdin.drain()
            line = await worker.stdout.readline()
            return msgspec.json.decode(line, type=Done)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            await worker.wait()
            return Done(broken=f"its worker ended with exit code {worker.returncode} ({error})")

    def _take(self, one: Incoming, done: Done) -> None:
        mark = done.submission or unmarked(
            one, self.lab, self.terms, "unfinished", f"the grader came to grief: {done.broken}"
        )
        mark = self._with_others(mark, self._stored(one))
        self.submissions[one.student] = mark
        self._fresh += 1
        write(self._path(one.student), mark)
        self._write(finished=False)
        place = f"[{len(self.submissions):>{len(str(self._total))}}/{self._total}]"
        look = f", {len(mark.needs_you)} to look at" if mark.needs_you else ""
        said = f"{mark.earned:g} of {mark.possible:g} points{look}" if mark.status == "graded" else mark.status
        print(f"{place} {one.student}: {said} ({mark.seconds:.0f} s)", flush=True)

    def _with_others(self, mark: Submission, before: Submission | None) -> Submission:
        """With the marks of tasks that were not wanted now: --only takes nothing away."""
        if before is None or mark.status != "graded":
            return mark
        tasks = {task.task: task for task in (*before.tasks, *mark.tasks)}
        fresh = tuple(f"{task.task}: " for task in mark.tasks)
        notes = dict.fromkeys([*(note for note in before.notes if not note.startswith(fresh)), *mark.notes])
        ordered = tuple(tasks[task.name] for task in self.lab.tasks if task.name in tasks)
        return replace(mark, tasks=ordered, notes=tuple(notes))

    def _write(self, finished: bool) -> GradeRun:
        marks = tuple(self.submissions[student] for student in sorted(self.submissions))
        seconds = self._before + time.monotonic() - self._began
        self.run = replace(self.run, submissions=marks, finished=finished, seconds=round(seconds, 1))
        write(self.out / "results.json", self.run)
        return self.run

    def speed(self) -> str:
        """Submissions a minute, and a minute and core."""
        minutes = max(time.monotonic() - self._began, 0.001) / 60
        rate = self._fresh / minutes
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return f"{rate:.2f} submissions a minute, {rate / min(cores, self.run.workers):.2f} a minute and core"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="classroom grade", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("submissions", type=Path, help="a folder of notebooks, or of a folder a student")
    parser.add_argument("--lab", required=True, help='the lab\'s number, such as "05"')
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the marks go")
    parser.add_argument("--seed", type=int, help="the secret seed; by default one that nobody can guess")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="hidden seeds a task (2)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="submissions marked side by side (1)")
    parser.add_argument("--only", action="append", default=[], metavar="TASK", help="mark this task only: 05.ack")
    parser.add_argument("--again", action="store_true", help="mark what is marked already, too")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"), help="the folder of the solutions")
    parser.add_argument("--unsafe", action="store_true", help="without a sandbox: submissions run with all your rights")
    return parser


def prepared(options: argparse.Namespace, stack: ExitStack) -> tuple[Grading, list[Incoming]]:
    """The run that the options ask for. Raises NotebookError, NoSandbox, OSError, ValueError, with what to do.

    Until the stack's end nobody else writes into its folder.
    """
    if not options.unsafe:
        bubblewrap()
    found = sorted(options.solutions.glob(f"{options.lab}-*.ipynb"))
    if not found:
        raise ValueError(
            f"there is no solution of lab {options.lab!r} in {options.solutions}. Give --solutions FOLDER."
        )
    lab = lab_of(options.lab, read(found[0]))
    if wrong := [task for task in options.only if task not in {one.name for one in lab.tasks}]:
        raise ValueError(f"lab {lab.name} has no task {wrong[0]!r}: {', '.join(one.name for one in lab.tasks)}")
    options.out.mkdir(parents=True, exist_ok=True)
    stack.enter_context(alone(options.out))
    kept = _kept_run(options)
    checked = [task.name for task in lab.tasks if task.check]
    seeds = {name: seeds_of(kept.seed, name, kept.seeds) for name in checked}
    terms = Terms(seeds, not options.unsafe, tuple(options.only))
    notes = (UNSAFE,) if options.unsafe else ()
    sandbox = "none" if options.unsafe else "bubblewrap"
    version = importlib.metadata.version("dead-letter-office")
    run = GradeRun(
        lab.name, kept.seed, seeds, time.time(), version, sandbox, (), notes, False, lab.title, options.workers
    )
    return Grading(lab, found[0], options.out, terms, run), incoming(options.submissions, found[0].name)


def _kept_run(options: argparse.Namespace) -> Kept:
    """The secret of this run: that of an interrupted one, where there is one, so that all are marked alike."""
    path = options.out / "run.json"
    if path.exists():
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        except msgspec.DecodeError as error:
            raise ValueError(
                f"{path} cannot be read ({error}), and without its seed nothing can go on there."
            ) from None
        if kept.sandbox == options.unsafe:
            how, other = ("in a sandbox", "without") if kept.sandbox else ("without a sandbox (--unsafe)", "in one")
            raise ValueError(
                f"{options.out} has marks that were made {how}: what follows may not be made {other}, or nobody could"
                " tell which is which. Go on with the same, or give another --out."
            )
        if kept.lab != options.lab or (options.seed not in (None, kept.seed)) or kept.seeds != options.seeds:
            raise ValueError(
                f"{options.out} has marks of lab {kept.lab} with seed {kept.seed} and {kept.seeds} seeds a task. Go on"
                " with the same, or give another --out."
            )
        return kept
    secret = new_secret() if options.seed is None else options.seed
    kept = Kept(options.lab, secret, options.seeds, not options.unsafe)
    keep(path, msgspec.json.encode(kept))
    return kept


def main(argv: list[str]) -> int:
    """The command; 0 when all submissions have marks, 1 when some have none, 2 for a wrong call."""
    options = _parser().parse_args(argv)
    with ExitStack() as stack:
        try:
            grading, found = prepared(options, stack)
        except (NotebookError, NoSandbox, OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        try:
            return _graded(grading, found, options)
        except OSError as error:
            what = f"{error.strerror}: {error.filename or options.out}"
        except KeyboardInterrupt:
            what = "Stopped."
        print(
            f"{what}\nWhat is marked is kept in {options.out}. The same command again goes on there.", file=sys.stderr
        )
        return 1


def _graded(grading: Grading, found: Sequence[Incoming], options: argparse.Namespace) -> int:
    for note in grading.run.notes:
        print(f"CAUTION. {note}", flush=True)
    print(f"{len(found)} submissions of {grading.lab.title}; secret seed {grading.run.seed}", flush=True)
    run = asyncio.run(grading.grade(found, options.again))
    open_tasks = sum(len(one.needs_you) for one in run.submissions if one.status == "graded")
    bad = [one.student for one in run.submissions if one.status != "graded"]
    print(f"{len(run.submissions)} marked in {run.seconds:.0f} s: {grading.speed()}.", flush=True)
    print(f"{open_tasks} tasks are for you to look at. All of it: {options.out / 'results.json'}", flush=True)
    try:
        print("\n".join(write_all(run, options.out)), flush=True)
    except (ReportError, OSError) as error:
        print(f"{error}\nThe marks are kept. When that is mended: classroom report {options.out}", file=sys.stderr)
    if bad:
        print(f"Not marked: {', '.join(bad)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
