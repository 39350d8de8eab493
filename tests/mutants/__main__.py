"""`make mutants`: every task of the labs with its reference, its start and its wrong solutions, as a table.

    python -m mutants --only 05.ack --seeds 20 --resume

Exit code 0: every reference passed in every seed, and every wrong one was refused with the right hint.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .bench import Bench, bench
from .mutant import Lab, labs

KEPT = Path(".artifacts/mutants.jsonl")


@dataclass(frozen=True)
class Case:
    """One source of a task with one seed. `hint` is None for the reference, and for whatever else is right."""

    task: str
    name: str
    seed: int
    hint: str | None

    @property
    def key(self) -> str:
        return f"{self.task} {self.name} {self.seed}"


@dataclass(frozen=True)
class Verdict:
    """What came of it. `hinted`: the first condition that failed gave the right hint."""

    key: str
    task: str
    kind: str
    right: bool
    hinted: bool
    seconds: float
    said: str


def cases(lab: Lab, only: list[str], seeds: int) -> Iterator[Case]:
    """All there is to try of a lab, a task at a time."""
    for task in lab.starts:
        for seed in range(seeds):
            wanted = [Case(task, "reference", seed, None), Case(task, "start", seed, lab.starts[task])]
            wanted += [Case(task, one.name, seed, None) for one in lab.others if one.task == task]
            wanted += [Case(task, one.name, seed, one.hint) for one in lab.mutants if one.task == task]
            yield from (one for one in wanted if not only or any(word in one.key for word in only))


def source(case: Case, lab: Lab, table: Bench) -> str:
    """The cell to try."""
    if case.name == "reference":
        return table.references[case.task]
    if case.name == "start":
        return table.start_of(case.task)
    mutant = next(one for one in (*lab.mutants, *lab.others) if (one.task, one.name) == (case.task, case.name))
    return mutant.of(table.references[case.task])


async def judge(case: Case, lab: Lab, table: Bench) -> Verdict:
    """Try one."""
    trial = await table.trial(case.task, source(case, lab, table), case.seed)
    passed = trial.result.passed
    kind = "reference" if case.hint is None else "start" if case.name == "start" else "mutant"
    hinted = case.hint is None or case.hint in trial.advice
    right = passed == (case.hint is None)
    return Verdict(case.key, case.task, kind, right, hinted, trial.seconds, repr(trial.result))


def table_of(verdicts: list[Verdict]) -> str:
    """A line for each task."""
    lines = [
        f"{'task':14} {'mutants':>7} {'refused':>8} {'right hint':>10} {'start':>7} {'reference':>9} {'seconds':>8}"
    ]
    for task in dict.fromkeys(one.task for one in verdicts):
        mine = [one for one in verdicts if one.task == task]
        wrong = [one for one in mine if one.kind == "mutant"]
        start = [one for one in mine if one.kind == "start"]
        good = [one for one in mine if one.kind == "reference"]
        mutants = len({one.key.rpartition(" ")[0] for one in wrong})
        typical = sorted(one.seconds for one in good)[len(good) // 2] if good else float("nan")
        cells = (
            f"{mutants:7}", f"{_share(one.right for one in wrong):>8}", f"{_share(one.hinted for one in wrong):>10}",
            f"{_share(one.right for one in start):>7}", f"{_share(one.right for one in good):>9}", f"{typical:8.1f}",
        )  # fmt: skip
        lines.append(f"{task:14} {' '.join(cells)}")
    return "\n".join(lines)


def _share(verdicts: Iterator[bool]) -> str:
    found = list(verdicts)
    return f"{sum(found)}/{len(found)}"


async def run(options: argparse.Namespace, done: set[str], keep: Callable[[Verdict], None]) -> None:
    """All cases that are wanted and not done before, until the budget is used up."""
    end = time.monotonic() + options.budget if options.budget else None
    for lab in labs():
        left = [case for case in cases(lab, options.only, options.seeds) if case.key not in done]
        if not left:
            continue
        async with bench(lab.name, lab.given) as table:
            for case in left:
                if end and time.monotonic() > end:
                    print(f"the budget of {options.budget:g} s is used up; go on with --resume")
                    return
                keep(await judge(case, lab, table))


def kept() -> list[Verdict]:
    """What an earlier run has found."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return [Verdict(**json.loads(line)) for line in lines]


def tell(verdict: Verdict) -> None:
    """A line for each; all of it, where something is wrong."""
    good = verdict.right and verdict.hinted
    print(f"{'ok   ' if good else 'WRONG'} {verdict.seconds:5.1f} s  {verdict.key}", flush=True)
    if not good:
        print("\n".join(f"      {line}" for line in verdict.said.splitlines()), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="those whose name has these words")
    parser.add_argument("--seeds", type=int, default=5, metavar="N")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing new after this time")
    parser.add_argument("--resume", action="store_true", help="keep what was found before, and go on")
    options = parser.parse_args()
    verdicts = kept() if options.resume else []
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a" if options.resume else "w") as file:

        def keep(verdict: Verdict) -> None:
            verdicts.append(verdict)
            print(json.dumps(asdict(verdict)), file=file, flush=True)
            tell(verdict)

        asyncio.run(run(options, {one.key for one in verdicts}, keep))
    print(table_of(verdicts))
    return 0 if verdicts and all(one.right and one.hinted for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
