"""Real nbgrader takes the labs as they are: validate, generate_assignment, autograde, formgrader, export.

It runs in an environment of its own (`make nbgrader`), over a course that `classroom release --nbgrader` made.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat.v4
import pytest
from nbclient import NotebookClient
from playwright.sync_api import sync_playwright

from classroom.grading import report
from classroom.grading.nbgrader_home import HOME, nbgrader, python
from classroom.grading.outputs import main
from classroom.grading.release import nbgrader_course
from classroom.notebooks import read
from classroom.notebooks import write as write_notebook
from grading.runs_help import small_class

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / ".artifacts" / "nbgrader"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
pytestmark = pytest.mark.timeout(900)  # nbgrader's own import takes seconds in each of its processes
GRADES = """
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db", "dead-letter-office") as book:
    rows = [
        [one.student.id, grade.name, grade.auto_score, grade.manual_score, grade.max_score, grade.needs_manual_grade]
        for one in book.assignment_submissions({name!r}) for notebook in one.notebooks for grade in notebook.grades
    ]
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An nbgrader course with lab 05 in it."""
    folder = tmp_path_factory.mktemp("course")
    nbgrader_course("05", folder)
    return folder


def grades(course: Path, name: str = "lab-05") -> dict[tuple[str, str], tuple[Any, ...]]:
    """(student, cell) -> automatic points, points by hand, most points, whether a person must look."""
    rows = json.loads(python(["-c", GRADES.format(name=name)], course))
    return {(student, cell): tuple(rest) for student, cell, *rest in rows}


def answered(course: Path, student: str, tasks: set[str], name: str) -> None:
    """Hand in the released notebook, with the model answers of some tasks in it."""
    solution = {cell.id: cell for cell in read(next((ROOT / "solutions").glob(f"{name}-*.ipynb"))).cells}
    released = next((course / "release" / f"lab-{name}").glob("*.ipynb"))
    notebook = read(released)
    for cell in notebook.cells:
        if cell.id in tasks:
            lines = solution[cell.id].source.splitlines()
            cell.source = "\n".join(line for line in lines if not line.strip().startswith("### "))
    write_notebook(notebook, course / "submitted" / student / f"lab-{name}" / released.name)


@pytest.mark.nbgrader
def test_what_is_released_is_the_lab_with_nbgrader_s_locks(course: Path):
    """Cell by cell as in labs/; the points and ids are in its gradebook."""
    released, lab = (read(folder / "05-rabbitmq.ipynb") for folder in (course / "release/lab-05", ROOT / "labs"))
    assert [(one.id, one.source) for one in released.cells] == [(one.id, one.source) for one in lab.cells]
    assert all("checksum" in one.metadata.nbgrader for one in released.cells if "nbgrader" in one.metadata)
    code = "from nbgrader.api import Gradebook; b = Gradebook('sqlite:///gradebook.db', 'dead-letter-office');"
    code += "n = b.find_notebook('05-rabbitmq', 'lab-05');"
    code += "print({c.name: (c.max_score, c.cell_type) for c in n.grade_cells}, [c.name for c in n.solution_cells])"
    cells, solutions = (eval(part) for part in python(["-c", code], course).replace("} [", "}|[").split("|"))
    assert cells == {
        cell.id: (cell.metadata.nbgrader.points, cell.cell_type)
        for cell in lab.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    assert set(solutions) == {cell.id for cell in lab.cells if cell.metadata.get("nbgrader", {}).get("solution")}


@pytest.mark.nbgrader
def test_a_solved_lab_validates_and_one_as_handed_out_does_not(course: Path):
    """`nbgrader validate` names each check that fails, with its hint."""
    nbgrader_course("03", course)
    answered(course, "all", {cell.id for cell in read(next((ROOT / "solutions").glob("03-*.ipynb"))).cells}, "03")
    (solved,) = (course / "submitted/all/lab-03").glob("*.ipynb")
    assert "Success! Your notebook passes all the tests." in nbgrader("validate", str(solved), course=course)
    (start,) = (course / "release/lab-03").glob("*.ipynb")
    said = nbgrader("validate", str(start), course=course)
    assert "NotPassed" in said
    assert "03.framing" in said
    assert "The following cell failed" in said or "cells failed" in said


@pytest.mark.nbgrader
def test_autograde_gives_points_for_checks_that_pass_and_leaves_prose_to_a_person(course: Path):
    """Half a lab: two tasks are solved, the others are as they were handed out."""
    answered(course, "ada", {"predict", "ack", "why"}, "05")
    nbgrader("autograde", "lab-05", "--student", "ada", course=course)
    assert grades(course) == {
        ("ada", "predict-check"): (2, None, 2, False),
        ("ada", "confirm-check"): (0, None, 3, False),
        ("ada", "ack-check"): (3, None, 3, False),
        ("ada", "prefetch-check"): (0, None, 2, False),
        ("ada", "poison-check"): (0, None, 4, False),
        ("ada", "why"): (None, None, 2, True),
    }


CHECK = """
import logging, os, sys
os.environ["NBGRADER_EXECUTION"] = "autograde"
from classroom import checks
from classroom.checks import Check

async def judge(result):
    print("noise", file=sys.stderr)
    logging.getLogger("a.driver").warning("noise of a driver")
    os.write(2, b"noise of a C library")
    result.judge("it holds", {verdict}, hint="a hint")

checks.every_check = lambda: {{"00.it": Check("it", {{}}, judge, "function", 2, 1)}}
"""


def checked(verdict: str) -> Any:
    """The cell of a check with that verdict, run as nbgrader runs it."""
    cells = [
        nbformat.v4.new_code_cell(source) for source in (CHECK.format(verdict=verdict), 'await checks.check("00.it")')
    ]
    cells[1].metadata["nbgrader"] = {"grade": True, "solution": False, "points": 2, "grade_id": "it", "locked": True}
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    return notebook.cells[1]


@pytest.mark.parametrize(("verdict", "name"), [("True", ""), ("False", "NotPassed"), ("None", "NotJudged")])
def test_a_check_s_cell_has_an_error_where_it_is_not_passed_and_nothing_on_stderr(verdict: str, name: str):
    """nbgrader reads points off outputs: stderr would be 0 points, and a table all of them."""
    cell = checked(verdict)
    assert [one for one in cell.outputs if one.get("name") == "stderr"] == []
    assert [one.ename for one in cell.outputs if one.output_type == "error"] == ([name] if name else [])
    text = "".join(one.get("text", "") + one.get("evalue", "") for one in cell.outputs)
    assert "00.it, it: " in text
    assert ("a hint" in text) is (verdict != "True")
    assert all(one.output_type in ("stream", "error") for one in cell.outputs), "of a value, nbgrader would read points"


@pytest.mark.nbgrader
@pytest.mark.parametrize(("verdict", "points"), [("True", 2.0), ("False", 0.0)])
def test_nbgrader_s_own_rule_gives_all_points_or_none(tmp_path: Path, verdict: str, points: float):
    """Asked with the outputs of such a cell."""
    code = "import json, sys, nbformat, nbgrader.utils as u;"
    code += "print(json.dumps(u.determine_grade(nbformat.from_dict(json.load(sys.stdin)))))"
    assert json.loads(python(["-c", code], tmp_path, json.dumps(checked(verdict)))) == [points, 2.0]


SAVE = """
import json, sys, nbformat
from classroom.grading.nbgrader_steps import SaveGrades
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db", "dead-letter-office") as book:
    book.update_or_create_student("uma")
    book.update_or_create_submission("lab-05", "uma")
place = {"notebook": "05-rabbitmq", "assignment": "lab-05", "student": "uma", "db_url": "sqlite:///gradebook.db"}
notebook = nbformat.v4.new_notebook(cells=[nbformat.from_dict(json.load(sys.stdin))])
SaveGrades().preprocess(notebook, {"nbgrader": place})
"""


@pytest.mark.nbgrader
def test_what_could_not_be_judged_is_left_to_a_person(course: Path):
    """nbgrader alone would give 0, and say nothing."""
    cell = checked("None")
    cell.metadata["nbgrader"] |= {"grade_id": "ack-check", "points": 3, "schema_version": 3, "task": False}
    python(["-c", SAVE], course, json.dumps(cell))
    assert grades(course)["uma", "ack-check"] == (None, None, 3, True)


@contextmanager
def formgrader(course: Path) -> Iterator[str]:
    """The address of a JupyterLab of nbgrader's environment, in a course's folder."""
    runtime = course / "runtime"
    own = {"PATH": f"{HOME / 'bin'}{os.pathsep}{os.environ['PATH']}", "JUPYTER_RUNTIME_DIR": str(runtime)}
    own |= {"JUPYTER_CONFIG_DIR": str(course / "config"), "JUPYTER_DATA_DIR": str(course / "data"), "DISPLAY": ""}
    command = [str(HOME / "bin/python"), "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | own
    with (course / "lab.log").open("w") as log:
        process = subprocess.Popen(command, cwd=course, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        record = _until_started(process, runtime, course / "lab.log")
        yield f"{record['url']}{{}}?token={record['token']}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_started(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> dict[str, Any]:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            if text := path.read_text():
                record: dict[str, Any] = json.loads(text)
                return record
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


@pytest.mark.nbgrader
@pytest.mark.browser
def test_marks_of_the_grader_are_in_the_formgrader_where_prose_is_marked(
    course: Path, tmp_path: Path, chromium: str, capsys: pytest.CaptureFixture[str]
):
    """They go in, a person gives points in the browser, and these come back into every gradebook. Export has all."""
    run = small_class()
    run = replace(run, submissions=tuple(one for one in run.submissions if one.student in ("ben", "eve")))
    report.write(tmp_path / "results.json", run)
    command = [str(tmp_path), "--nbgrader", str(course)]
    assert main(command) == 0, capsys.readouterr().err
    seen = grades(course)
    assert seen["ben", "ack-check"] == (0, None, 3, False)
    assert seen["eve", "prefetch-check"] == (None, None, 2, True), "unknown is for a person"
    assert seen["ben", "why"] == (None, None, 2, True)
    with formgrader(course) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.set_default_timeout(180_000)
        page.goto(address.format("formgrader"))  # the page that takes the token, and gives a cookie
        gradebook = f"{address.partition('{}')[0]}formgrader/gradebook/lab-05/05-rabbitmq"
        page.goto(gradebook)
        page.get_by_text("Submission #1").first.wait_for()
        for number in range(1, page.get_by_text("Submission #").count() + 1):
            page.goto(gradebook)
            page.get_by_role("link", name=f"Submission #{number}").first.click()
            page.get_by_text("What you can do now").wait_for()
            _keep(page, f"formgrader-{number}")
            if "3 lost: 17, 18, 21" in page.inner_text("body"):  # ben's
                page.locator("input.score#why").fill("1.5")
                with page.expect_response(lambda answer: answer.request.method == "PUT"):
                    page.keyboard.press("Tab")
        assert dialogs == [], "a student's text has run"
        browser.close()
    assert grades(course)["ben", "why"] == (None, 1.5, 2, False)
    assert main(command) == 0
    with (tmp_path / "gradebook.csv").open(newline="") as file:
        assert {row["student"]: row["05.why"] for row in csv.DictReader(file)} == {"ben": "1.5", "eve": ""}
    nbgrader("export", course=course)
    with (course / "grades.csv").open(newline="") as file:
        exported = {row["student_id"]: row["score"] for row in csv.DictReader(file) if row["assignment"] == "lab-05"}
    assert exported["ben"] == "1.5"


def _keep(page: Any, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
