"""What cannot be judged is tried again, then shown to a person; it is never a silent zero, and never a pass."""

from __future__ import annotations

import csv
import html
import os
import signal
from pathlib import Path

import pytest

from classroom.grading.report import TaskMark, read

from .command_help import below, grade, grading, hand_in, until
from .field import needs_sandbox

pytestmark = [pytest.mark.timeout(900), needs_sandbox]
TASK = "06.once"
SETTINGS = ("--only", TASK, "--seeds", "1", "--seed", "7")
LOST = "the broker redis has ended in the middle of it"


def graded_while_brokers_die(folder: Path, out: Path, deaths: int) -> tuple[TaskMark, int]:
    """Grade a right solution; so many of its brokers are killed as soon as a service of the trial runs beside them."""
    killed: set[int] = set()
    with grading(folder, out, *SETTINGS, lab="06", CLASSROOM_ENGINE="process") as process:

        def ended() -> bool:
            running = below(process.pid)
            brokers = {pid for pid, argv in running.items() if Path(argv[0]).name.startswith(("redis", "valkey"))}
            serving = any({"postoffice", "run"} <= {*argv} for argv in running.values())
            for pid in brokers - killed if serving and len(killed) < deaths else ():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            return process.poll() is not None

        until(ended, "the end of the run")
    (one,) = read(out).submissions
    return one.tasks[0], len(killed)


def test_a_trial_whose_broker_dies_is_tried_again(tmp_path: Path):
    """The second trial passes, and the instructor reads what became of the first."""
    mark, killed = graded_while_brokers_die(hand_in(tmp_path / "in", "06", ["ada"]), tmp_path / "out", deaths=1)
    assert killed == 1
    assert (mark.state, mark.earned, mark.tries) == ("passed", mark.possible, 2), mark
    assert LOST in mark.note
    assert LOST in " ".join((tmp_path / "out/class.txt").read_text().split())


def test_a_task_whose_broker_dies_each_time_is_for_a_person(tmp_path: Path):
    """No points and no zero: it is in the class report and on the page of what is marked by hand; its cell is empty."""
    out = tmp_path / "out"
    mark, killed = graded_while_brokers_die(hand_in(tmp_path / "in", "06", ["ada"]), out, deaths=99)
    assert killed == 3
    is_shown_and_no_zero(out, mark, LOST)


def test_a_broker_that_does_not_start_is_no_fault_of_the_student_s(tmp_path: Path):
    """The course is told of one that runs elsewhere, and nobody is there."""
    out = tmp_path / "out"
    settings = {"CLASSROOM_ENGINE": "auto", "CLASSROOM_REDIS_URL": "redis://127.0.0.1:9"}
    done = grade(hand_in(tmp_path / "in", "06", ["ada"]), out, *SETTINGS, lab="06", **settings)
    assert "1 tasks are for you to look at" in done.stdout, done.stdout + done.stderr
    (one,) = read(out).submissions
    is_shown_and_no_zero(out, one.tasks[0], "what the lab gives did not start")


def is_shown_and_no_zero(out: Path, mark: TaskMark, why: str) -> None:
    """Everywhere that a person would look."""
    assert (mark.state, mark.earned, mark.tries) == ("unknown", None, 3), mark
    (one,) = read(out).submissions
    assert one.needs_you == (TASK,)
    for name in ("class.txt", "class.html", "prose.html"):
        assert why in " ".join(html.unescape((out / name).read_text()).split()), name
    with (out / "gradebook.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row[TASK], row["open"]) == ("", TASK)
    with (out / "canvas.csv").open(newline="") as file:
        assert [*csv.reader(file)][-1][-1] == ""
    with (out / "prose.csv").open(newline="") as file:
        assert [(row["task"], row["state"], row["points"]) for row in csv.DictReader(file)] == [(TASK, "unknown", "")]
    page = html.unescape((out / "feedback/ada.html").read_text())
    assert "This task could not be judged, though it was tried again. Your instructor will look at it." in page
