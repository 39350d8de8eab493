"""`classroom progress`: what is passed and what is open, by a file of the learner's own."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from classroom import cli, progress
from classroom.checks import every_check
from classroom.notebooks import code_cells, read, write
from classroom.tasks import HEADING, Task, table, tasks

SOLUTIONS = Path(__file__).parents[2] / "solutions"
LABS = SOLUTIONS.parent / "labs"


@pytest.fixture(autouse=True)
def a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner without a past."""
    monkeypatch.setenv("CLASSROOM_PROGRESS", str(tmp_path / "progress.jsonl"))
    return tmp_path


LABS_WRITTEN = [path.name.partition("-")[0] for path in sorted(SOLUTIONS.glob("*.ipynb"))]


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main(["progress"]) == 0
    return capsys.readouterr().out.splitlines()


def test_in_the_beginning_all_is_open(capsys: pytest.CaptureFixture[str]):
    """Every task has a line, those that an instructor reads too; lab by lab, and nothing is passed."""
    lines = shown(capsys)
    names = [line.split()[1] for line in lines if line.startswith("open")]
    assert {*every_check()} < {*names}
    assert {f"{lab}.why" for lab in LABS_WRITTEN} == {*names} - {*every_check()}
    assert [name[:2] for name in names] == sorted(name[:2] for name in names)
    assert names.index("03.why") == names.index("03.drain") + 1
    assert f"0 of {len(names)} tasks passed, 0 of " in lines[-2]


def test_the_last_verdict_counts(capsys: pytest.CaptureFixture[str]):
    """Passed, then broken again: not yet. The minutes of what is passed are not left."""
    minutes = {one.name: one.minutes for one in tasks()}
    progress.note("check", "03.till", passed=True)
    progress.note("check", "05.ack", passed=True)
    progress.note("check", "03.till", passed=False)
    lines = shown(capsys)
    states = {line.split()[0]: line for line in lines if line}
    assert "03.till" in states["not"]
    assert "05.ack" in states["passed"]
    assert f"1 of {len(minutes)} tasks passed, 3 of" in lines[-2]
    assert f"about {sum(minutes.values()) - minutes['05.ack']} minutes" in lines[-2]


def test_where_only_one_lab_is_its_tasks_are_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A student's bundle has the checks of every lab, and one lab."""
    shutil.copy(LABS / "06-redis.ipynb", tmp_path)
    monkeypatch.setattr("classroom.tasks.LABS", tmp_path)
    assert cli.main(["progress", "--labs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("open")} == {
        "06.why",
        *(name for name in every_check() if name.startswith("06.")),
    }
    assert "0 of 5 tasks passed, 0 of 15 points; about 90 minutes" in lines[-2]


def test_prose_that_was_written_is_not_left(tmp_path: Path):
    """Its points are not counted: whoever reads it gives them. Notebooks that are no labs are passed over."""
    (tmp_path / "07-broken.ipynb").write_text("no notebook")
    lab = read(LABS / "03-tcp-microservice.ipynb")
    answer = next(cell for cell in lab.cells if cell.id == "why")
    for text, state in ((answer.source, "open"), ("**Your answer:**\n\nNo.", "written")):
        answer.source = text
        write(lab, tmp_path / "03-mine.ipynb")
        prose = [one for one in tasks(tmp_path) if one.kind == "prose"]
        assert prose == [Task("03.why", "two proposals", "prose", 2, 10, state)]
    assert not prose[0].is_left
    assert "about " + str(sum(one.minutes for one in every_check().values())) in table(tasks(tmp_path))


def test_it_can_be_handed_in(a_file: Path, capsys: pytest.CaptureFixture[str]):
    """A file that a spreadsheet reads; one that cannot be written is named."""
    progress.note("check", "05.poison", passed=True)
    assert cli.main(["progress", "--csv", str(a_file / "mine.csv")]) == 0
    with open(a_file / "mine.csv", newline="") as file:
        states = {row["task"]: row["state"] for row in csv.DictReader(file)}
    assert states == {one.name: "open" for one in tasks()} | {"05.poison": "passed"}
    assert cli.main(["progress", "--csv", str(a_file / "no" / "mine.csv")]) == 1
    assert "mine.csv cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_points_are_those_that_nbgrader_gives(path: Path):
    """And every cell that nbgrader gives points for by itself calls its check."""
    lab = path.name.partition("-")[0]
    graded = [cell for cell in code_cells(read(path)) if cell.metadata.get("nbgrader", {}).get("grade")]
    named = {cell.source.partition('check("')[2].partition('"')[0]: cell.metadata.nbgrader.points for cell in graded}
    assert named == {name: one.points for name, one in every_check().items() if name.startswith(f"{lab}.")}


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_lab_says_of_its_tasks_what_their_checks_say(path: Path):
    """Points and minutes: in the heading of each task, in the table at the top, and in their sums."""
    lab, cells = path.name.partition("-")[0], {cell.id: cell.source for cell in read(path).cells}
    mine = [one for one in tasks() if one.lab == lab]
    for number, one in enumerate(mine, 1):
        heading = HEADING.search(cells[f"{one.name.partition('.')[2]}-words"])
        assert heading is not None
        assert heading[0].startswith(f"## Task {number}: ")
        assert (int(heading["points"]), int(heading["minutes"])) == (one.points, one.minutes)
        assert re.search(rf"(?m)^\| {number} .+ \| {one.points} \| {one.minutes} \|$", cells["opening"])
    assert f", {sum(one.points for one in mine)} points:" in cells["opening"]
    assert f"about {sum(one.minutes for one in mine)} minutes" in cells["opening"]
