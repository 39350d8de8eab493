"""Runs a module, as `python -m` would, in a process that can be told to crash at a named point of its work.

    CLASSROOM_CRASHES=FOLDER CLASSROOM_REPLICA=0 python -m classroom.crashable postoffice run users.py ...

A plan is a file in that folder (classroom.faults.crash writes it). Plans are read at the start and at SIGURG,
which other processes ignore. Until there is one, nothing of this costs a message anything. A plan that fires is renamed
first: it fires once, in one replica, and the process that comes after lives on.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from postoffice import points

PLAN, FIRED, ARMED = ".plan", ".fired", ".armed"  # suffixes of the file names


class Plan:
    """One plan, as this process carries it out: a watcher of `postoffice.points`."""

    def __init__(self, path: Path, plan: dict[str, Any], replica: int) -> None:
        self.path, self.point, self.nth = path, plan["point"], plan["nth"]
        self.probability: float | None = plan["probability"]
        self.random = Random(f"{plan['seed']} {replica}")
        self.seen = 0

    def __call__(self, point: str, delivery: object) -> None:
        """Called at every point; does not come back from the one that was planned."""
        if point != self.point:
            return
        self.seen += 1
        if self.seen == self.nth if self.probability is None else self.random.random() < self.probability:
            try:
                self.path.rename(self.path.with_suffix(f"{FIRED}-{os.getpid()}"))
            except FileNotFoundError:  # taken back, or another replica was first
                return
            os.kill(os.getpid(), signal.SIGKILL)


def look(folder: Path, replica: int) -> None:
    """Take up the plans for this replica that are new, drop those that are gone, and say so."""
    known = {watch.path: watch for watch in points.watchers if isinstance(watch, Plan)}
    for path, watch in known.items():
        if not path.exists():
            points.watchers.remove(watch)
    for path in sorted(folder.glob(f"*{PLAN}")):
        try:
            plan = json.loads(path.read_text())
        except FileNotFoundError:  # taken back this moment
            continue
        if path not in known and plan["replica"] in (None, replica):
            points.watchers.append(Plan(path, plan, replica))
        path.with_suffix(f"{ARMED}-{os.getpid()}").touch()


def main() -> None:
    """Watch for plans, and become what the arguments say."""
    folder, replica = Path(os.environ["CLASSROOM_CRASHES"]), int(os.environ["CLASSROOM_REPLICA"])
    signal.signal(signal.SIGURG, lambda *_: look(folder, replica))
    look(folder, replica)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
