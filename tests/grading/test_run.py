"""Whole runs of the command: without a sandbox, interrupted, twice at once, with a full disk."""

from __future__ import annotations

import contextlib
import csv
import html
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from classroom.grading.marking import UNSAFE
from classroom.grading.report import GradeRun, read

from .command_help import QUICK, below, grade, grading, hand_in, until
from .field import needs_sandbox

pytestmark = pytest.mark.timeout(900)  # each run of the command takes seconds to start


def test_without_bubblewrap_nothing_is_run_and_nothing_is_written(tmp_path: Path):
    """The message says how to get it, and what to say otherwise."""
    done = grade(hand_in(tmp_path / "in"), tmp_path / "out", "--only", QUICK, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "apt-get install bubblewrap" in done.stderr
    assert "--unsafe" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_unsafe_gives_the_same_marks_and_every_report_says_so(tmp_path: Path):
    """Each student's page, the class's, what is marked by hand, the results, both gradebooks, and the terminal."""
    folder, out = hand_in(tmp_path / "in"), tmp_path / "out"
    done = grade(folder, out, "--only", QUICK, "--unsafe", PATH=str(tmp_path))
    assert done.returncode == 1, done.stderr  # eve has no mark
    assert f"CAUTION. {UNSAFE}" in done.stdout
    run = read(out)
    assert [one.tasks[0].state for one in run.submissions] == ["passed", "failed", "unknown"]
    assert (run.sandbox, run.notes) == ("none", (UNSAFE,))
    pages = [*out.glob("feedback/*.html"), out / "class.html", out / "prose.html"]
    assert len(pages) == 5
    for path in [*pages, out / "class.txt", out / "results.json", out / "gradebook.json"]:
        assert "Graded without a sandbox" in " ".join(html.unescape(path.read_text()).split()), path.name
    for path in (out / "submissions").glob("[ab]*.json"):
        assert UNSAFE in path.read_text()
    with (out / "gradebook.csv").open(newline="") as file:
        assert {row["student"]: row["sandbox"] for row in csv.DictReader(file)} == dict.fromkeys(
            ("ada", "bob", "eve"), "none"
        )
    again = grade(folder, out, "--only", QUICK)  # with whatever sandbox there is
    assert again.returncode == 2
    assert json.loads((out / "run.json").read_text())["sandbox"] is False
    assert "without a sandbox (--unsafe)" in again.stderr or "bubblewrap" in again.stderr


@needs_sandbox
def test_a_run_in_the_sandbox_does_not_go_on_without_it(tmp_path: Path):
    """Else marks of both kinds would stand in one table."""
    folder, out = hand_in(tmp_path / "in", students=("eve",)), tmp_path / "out"
    assert grade(folder, out, "--only", QUICK).returncode == 1
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = grade(folder, out, "--only", QUICK, "--unsafe", "--again")
    assert done.returncode == 2
    assert "Go on with the same, or give another --out" in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with (out / "gradebook.csv").open(newline="") as file:
        assert [row["sandbox"] for row in csv.DictReader(file)] == ["bubblewrap"]


SERVICE = "03.till"  # a service, judged with data that the seed gives


def marks(run: GradeRun) -> list[tuple[object, ...]]:
    """What the same seed must give again."""
    return [
        (one.student, mark.task, mark.state, mark.earned, mark.seed) for one in run.submissions for mark in one.tasks
    ]


@needs_sandbox
def test_the_same_seed_gives_the_same_marks(tmp_path: Path):
    """Three times, each time from nothing. More of it: `make grade-demo ARGS="--lab 03 --count 5 --times 10"`."""
    folder = hand_in(tmp_path / "in")
    runs = []
    for n in range(3):
        assert grade(folder, tmp_path / f"out-{n}", "--only", SERVICE, "--seed", "5").returncode == 1  # for eve
        runs.append(read(tmp_path / f"out-{n}"))
    assert [mark[2:4] for mark in marks(runs[0])] == [("passed", 3.0), ("failed", 0.0), ("unknown", None)]
    assert marks(runs[0]) == marks(runs[1]) == marks(runs[2])
    assert runs[0].seeds == runs[1].seeds == runs[2].seeds
    assert grade(folder, tmp_path / "out-0", "--only", QUICK, "--again").returncode == 1
    both = read(tmp_path / "out-0").submissions[0].tasks
    assert [(task.task, task.state) for task in both] == [(QUICK, "passed"), (SERVICE, "passed")], (
        "nothing is taken away"
    )


@needs_sandbox
def test_a_run_that_was_killed_goes_on_and_leaves_nothing_running(tmp_path: Path):
    """SIGKILL in the middle of the second submission. While it runs, nobody else grades into its folder."""
    students = ["ada", "bob", "cyn", "dan"]
    folder, out = hand_in(tmp_path / "in", students=students), tmp_path / "out"
    words = ["--only", SERVICE, "--seeds", "1"]
    with grading(folder, out, *words) as process:
        until((out / "run.json").exists, "its beginning")
        other = grade(folder, out, *words)
        assert other.returncode == 2
        assert "another `classroom grade` is writing into" in other.stderr
        until((out / "submissions/ada.json").exists, "ada's marks")
        until(lambda: any({"postoffice", "run"} <= {*one} for one in below(process.pid).values()), "a service")
        started = below(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not {pid for pid in started if is_still(pid, started[pid])}, "the end of all that it had started", 60)
    done = {path: path.read_bytes() for path in (out / "submissions").glob("*.json")}
    assert 1 <= len(done) < len(students)
    assert not read(out).finished
    again = grade(folder, out, *words)
    assert again.returncode == 0, again.stderr
    assert f"{len(done)} of 4 are marked already" in again.stdout
    assert {path: path.read_bytes() for path in done} == done
    run = read(out)
    assert run.finished
    assert [(mark[0], mark[2]) for mark in marks(run)] == [
        ("ada", "passed"),
        ("bob", "failed"),
        ("cyn", "passed"),
        ("dan", "passed"),
    ]
    assert [path.name for path in out.glob("**/.*.json.*")] == []


def is_still(pid: int, words: list[str]) -> bool:
    """Whether that process is there, and no other with its number."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0") == words != [""]
    return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("it takes root to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Until nothing more goes onto its disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@needs_sandbox
def test_a_full_disk_is_an_error_that_says_so_and_nothing_is_lost(tmp_path: Path, disk: Path):
    """Ada is marked; then the disk is full, and what is there stays whole; with room, it goes on."""
    folder, out = hand_in(tmp_path / "in", students=["ada"]), disk / "out"
    assert grade(folder, out, "--only", QUICK).returncode == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    hand_in(folder, students=["ada", "bob"])
    fill(disk / "filler")
    full = grade(folder, out, "--only", QUICK)
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert "The same command again goes on there" in full.stderr
    assert "Traceback" not in full.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (disk / "filler").unlink()
    done = grade(folder, out, "--only", QUICK)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 are marked already" in done.stdout
    assert [mark[2] for mark in marks(read(out))] == ["passed", "failed"]


@needs_sandbox
def test_a_run_cannot_begin_on_a_full_disk_and_begins_when_there_is_room(tmp_path: Path, disk: Path):
    """No half a file is left, which the next run would stumble over."""
    folder, out = hand_in(tmp_path / "in", students=["eve"]), disk / "out"
    fill(disk / "filler")
    full = grade(folder, out, "--only", QUICK)
    assert full.returncode == 2
    assert "No space left on device" in full.stderr
    (disk / "filler").unlink()
    assert grade(folder, out, "--only", QUICK).returncode == 1  # eve's file is no notebook
    assert [one.status for one in read(out).submissions] == ["unreadable"]
