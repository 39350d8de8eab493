"""`classroom progress`: what is passed and what is open, by a file of the learner's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from classroom import cli, progress
from classroom.checks import every_check
from classroom.notebooks import code_cells, read

SOLUTIONS = Path(__file__).parents[2] / "solutions"


@pytest.fixture(autouse=True)
def a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner without a past."""
    monkeypatch.setenv("CLASSROOM_PROGRESS", str(tmp_path / "progress.jsonl"))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main(["progress"]) == 0
    return capsys.readouterr().out.splitlines()


def test_in_the_beginning_all_is_open(capsys: pytest.CaptureFixture[str]):
    """Every task has a line, and nothing is passed."""
    lines = shown(capsys)
    assert [line.split()[1] for line in lines if line.startswith("open")] == [*every_check()]
    assert f"0 of {len(every_check())} tasks passed, 0 of " in lines[-2]


def test_the_last_verdict_counts(capsys: pytest.CaptureFixture[str]):
    """Passed, then broken again: not yet. The minutes of what is passed are not left."""
    minutes = {name: check.minutes for name, check in every_check().items()}
    progress.note("check", "03.till", passed=True)
    progress.note("check", "05.ack", passed=True)
    progress.note("check", "03.till", passed=False)
    lines = shown(capsys)
    states = {line.split()[0]: line for line in lines if line}
    assert "03.till" in states["not"]
    assert "05.ack" in states["passed"]
    assert f"1 of {len(minutes)} tasks passed, 3 of" in lines[-2]
    assert f"about {sum(minutes.values()) - minutes['05.ack']} minutes" in lines[-2]


def test_it_can_be_handed_in(a_file: Path, capsys: pytest.CaptureFixture[str]):
    """A file that a spreadsheet reads; one that cannot be written is named."""
    progress.note("check", "05.poison", passed=True)
    assert cli.main(["progress", "--csv", str(a_file / "mine.csv")]) == 0
    with open(a_file / "mine.csv", newline="") as file:
        states = {row["task"]: row["state"] for row in csv.DictReader(file)}
    assert states == dict.fromkeys(every_check(), "open") | {"05.poison": "passed"}
    assert cli.main(["progress", "--csv", str(a_file / "no" / "mine.csv")]) == 1
    assert "mine.csv cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_points_are_those_that_nbgrader_gives(path: Path):
    """And every cell that nbgrader gives points for by itself calls its check."""
    lab = path.name.partition("-")[0]
    graded = [cell for cell in code_cells(read(path)) if cell.metadata.get("nbgrader", {}).get("grade")]
    named = {cell.source.partition('check("')[2].partition('"')[0]: cell.metadata.nbgrader.points for cell in graded}
    assert named == {name: one.points for name, one in every_check().items() if name.startswith(f"{lab}.")}
