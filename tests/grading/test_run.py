"""Whole runs of the command: without a sandbox, interrupted, twice at once, with a full disk."""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path

import pytest

from classroom.grading.marking import UNSAFE
from classroom.grading.report import read

from .command_help import QUICK, grade, hand_in
from .field import needs_sandbox

pytestmark = pytest.mark.timeout(600)


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
