"""What it takes to run a notebook: seconds, and the memory of its kernel and of all that the kernel started."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

EVERY = 0.5  # seconds between two looks


@dataclass
class Cost:
    """Seconds of the clock, and megabytes (10^6 bytes) of resident memory at the most.

    A page that two processes share counts twice. A broker in a container is not this process's child: it counts not.
    """

    seconds: float = 0.0
    megabytes: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:g} s, at most {self.megabytes:,} MB of memory"


@contextmanager
def measured(by_runner: bool = False) -> Iterator[Cost]:
    """Measure what the block takes; the result is complete when the block has ended.

    `by_runner`: this process has started a program that runs the notebook, and the program's own memory counts not.
    """
    cost, over = Cost(), threading.Event()
    watch = threading.Thread(target=_watch, args=(cost, over, by_runner, _others()), daemon=True)
    began = time.monotonic()
    watch.start()
    try:
        yield cost
    finally:
        over.set()
        watch.join()
        cost.seconds = round(time.monotonic() - began)


def _watch(cost: Cost, over: threading.Event, by_runner: bool, others: set[int]) -> None:
    with suppress(OSError, subprocess.SubprocessError, ValueError):  # without `ps`, the memory stays 0
        while not over.wait(EVERY):
            if (found := _megabytes(by_runner, others)) > cost.megabytes:
                # once more: who was forked a moment ago still shows its parent's memory
                cost.megabytes = max(cost.megabytes, min(found, _megabytes(by_runner, others)))


def _megabytes(by_runner: bool, others: set[int]) -> int:
    return round(_resident_below(os.getpid(), by_runner, others) / 1e6)


def _others() -> set[int]:
    """The children that this process has already, for example brokers: they are no part of the run."""
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        return {pid for pid, _ in _processes()[os.getpid()]}
    return set()


def _processes() -> dict[int, list[tuple[int, int]]]:
    """Of each process its children, with bytes of resident memory."""
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True, timeout=10)
    children: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in listing.stdout.splitlines():
        pid, parent, kilobytes = map(int, line.split())
        children[parent].append((pid, kilobytes * 1024))
    return children


def _resident_below(root: int, by_runner: bool, others: set[int]) -> int:
    """Bytes of resident memory of all descendants of a process; of its children themselves, unless `by_runner`."""
    children = _processes()
    children[root] = [(pid, resident) for pid, resident in children[root] if pid not in others]
    total, todo = 0, [pid for pid, _ in children[root]] if by_runner else [root]
    while todo:
        for pid, resident in children[todo.pop()]:
            total += resident
            todo.append(pid)
    return total
