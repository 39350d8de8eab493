"""`classroom grade` as a process of its own, over a small class of lab 03."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .notebooks import notebook, path_of

LIMIT = 240  # seconds of one run; a quick task takes some
LOOK = 0.05  # seconds between two looks at the processes
QUICK = "03.framing"  # a function, without a broker


def hand_in(folder: Path, lab: str = "03", students: Sequence[str] = ("ada", "bob", "eve")) -> Path:
    """Ada has solved all, Bob hands in what he got, Eve's file is no notebook; others are as good as Ada."""
    folder.mkdir(exist_ok=True)
    for student in students:
        made = b"\0" if student == "eve" else json.dumps(notebook(lab, {}, solved=student != "bob")).encode()
        (folder / f"{student}.ipynb").write_bytes(made)
    return folder


def command(folder: Path, out: Path, *more: str, lab: str = "03") -> list[str]:
    """Its words."""
    solutions = str(path_of(lab).parent)
    words = ["grade", str(folder), "--lab", lab, "--out", str(out), "--solutions", solutions]
    return [sys.executable, "-m", "classroom", *words, *more]


def grade(folder: Path, out: Path, *more: str, lab: str = "03", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with these settings in its environment."""
    return subprocess.run(
        command(folder, out, *more, lab=lab),
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@contextmanager
def grading(folder: Path, out: Path, *more: str, lab: str = "03", **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run it beside the test; it is killed at the end, if it still runs. Its words are in said.txt, beside `out`."""
    with (out.parent / "said.txt").open("w") as said:
        process = subprocess.Popen(
            command(folder, out, *more, lab=lab), env=os.environ | settings, stdout=said, stderr=said, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(there: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait for a condition."""
    end = time.monotonic() + limit
    while not there():
        assert time.monotonic() < end, f"not within {limit:g} s: {what}"
        time.sleep(LOOK)


def below(pid: int) -> dict[int, list[str]]:
    """The processes that a process has started, and those that these have: id -> words of the command line."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, list[str]] = {}
    new = {pid}
    while new := {child for child, parent in parents.items() if parent in new}:
        for child in new:
            with contextlib.suppress(OSError):
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return found
