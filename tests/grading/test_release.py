"""What students get of a lab: enough to work, and no answer, no hidden check and no test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from classroom import cli
from classroom.grading import release
from classroom.grading.bundle import ReleaseError, contents, leaks, notebooks_of, write
from classroom.notebooks import read

ROOT = Path(__file__).resolve().parents[2]
LABS = sorted(path.name.partition("-")[0] for path in (ROOT / "solutions").glob("*.ipynb"))
# lines of answers that any course on this shows: in its lessons, its hints, its own code
COMMON = {
    "try:",
    "return None",
    "return text",
    "except ValueError as error:",
    "if not isinstance(plan, dict):",
    "from pamqp.commands import Basic",
}
# characters; a shorter line may stand anywhere by chance. Three in a row are looked for by the bundle itself
SHORT = 40
# what a lesson or a lab shows, a student may use
LESSONS = ("notebooks/", "labs/", "src/classroom/checks/lab03/decoders.py")


def lines_of(name: str, data: bytes) -> set[str]:
    """Every line of a file, without its indent; of a notebook, outputs and metadata included."""
    text = data.decode("utf-8")
    if name.endswith(".ipynb"):
        parts: list[str] = []

        def walk(thing: object) -> None:
            if isinstance(thing, str):
                parts.extend(thing.splitlines())
            elif isinstance(thing, dict):
                [walk(one) for pair in thing.items() for one in pair]
            elif isinstance(thing, list):
                walk("".join(thing)) if all(isinstance(one, str) for one in thing) else [walk(one) for one in thing]

        walk(json.loads(text))
        return {line.strip() for line in parts}
    return {line.strip() for line in text.splitlines()}


@pytest.mark.parametrize("lab", LABS)
def test_no_line_of_an_answer_is_in_the_bundle(lab: str):
    """Of every solution of the course: a line that its lab does not have is nowhere but in lessons, if there."""
    files = {name: lines_of(name, data) for name, data in contents(ROOT, lab).items()}
    for other in LABS:
        solution, handed_out = (read(path) for path in notebooks_of(ROOT, other))
        known = {line.strip() for cell in handed_out.cells for line in cell.source.splitlines()}
        found = {line.strip() for cell in solution.cells for line in cell.source.splitlines()} - known - COMMON
        answers = {line for line in found if len(line) > SHORT}
        assert len(answers) > 10
        for name, lines in files.items():
            found = answers & lines
            assert not found or name.startswith(LESSONS), f"{name} has {found}"
            assert {line for line in found if len(line) > 80} == set(), f"{name} has {found}"


@pytest.mark.parametrize("lab", LABS)
def test_the_bundle_has_no_other_lab_no_solution_no_test_and_nothing_of_the_grader(lab: str):
    """Only what the lab needs to run, and its own lesson."""
    files = contents(ROOT, lab)
    labs = [name for name in files if name.startswith("labs/")]
    assert labs == [f"labs/{notebooks_of(ROOT, lab)[1].name}"]
    assert not [name for name in files if name.startswith(("solutions/", "tests/", ".ci/", "docs/"))]
    assert not [name for name in files if "grading" in name or "mutant" in name]
    assert {"README.md", "Makefile", "pyproject.toml", "uv.lock", "src/classroom/cli.py", "src/postoffice/run.py"} <= {
        *files
    }
    assert not any(f"{ROOT}".encode() in data for data in files.values())


@pytest.mark.parametrize("kind", ["code", "prose"])
def test_an_answer_that_is_in_a_file_is_found_and_the_file_named(kind: str):
    """Three lines of code in a row, indented otherwise, or a sentence of a model answer."""
    solution, lab = (read(path) for path in notebooks_of(ROOT, "05"))
    cell = next(one for one in solution.cells if one.id == {"code": "confirm", "prose": "why"}[kind])
    lines = cell.source.partition("### BEGIN SOLUTION\n")[2].splitlines()
    stolen = "\n".join(["# a file", *(f"      {line.strip()}" for line in lines[2:6])])
    assert [*leaks({"README.md": b"nothing here", "src/x.py": stolen.encode()}, solution, lab)] == ["    src/x.py"]


def test_a_stale_lab_is_not_released(tmp_path: Path):
    """What students get is what the solution gives."""
    for name in ("solutions", "labs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = notebooks_of(tmp_path, "05")[1]
    path.write_text(path.read_text().replace("short jobs overtake", "short jobs come first"))
    with pytest.raises(ReleaseError, match="Run `make labs`"):
        contents(tmp_path, "05")


def test_the_same_course_gives_the_same_bytes_and_nothing_is_overwritten(tmp_path: Path):
    """Two releases can be compared; a folder with a student's work in it is left alone."""
    files = contents(ROOT, "05")
    one, two = (write(files, tmp_path / name / "lab-05") for name in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()
    (tmp_path / "a/lab-05/labs/mine.ipynb").write_text("work")
    with pytest.raises(ReleaseError, match="is there already"):
        write(files, tmp_path / "a/lab-05")
    assert (tmp_path / "a/lab-05/labs/mine.ipynb").read_text() == "work"


def test_a_lab_that_does_not_exist_is_an_error_that_names_those_there_are(capsys: pytest.CaptureFixture[str]):
    """No traceback."""
    assert cli.main(["release", "77"]) == 1
    assert f"There are: {', '.join(LABS)}" in capsys.readouterr().err


def test_settings_of_an_nbgrader_course_that_are_somebody_s_own_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Ours are laid beside them."""
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    assert release.main(["05", "--nbgrader", str(tmp_path)]) == 1
    assert "is yours, and is left as it is" in capsys.readouterr().err
    assert (tmp_path / "nbgrader_config.py").read_text() == "c = get_config()\n"
    assert "TakeOutAnswers" in (tmp_path / "nbgrader_config.classroom.py").read_text()


def test_make_lab_of_a_bundle_opens_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """JupyterLab takes one address only: that of the course's first notebook gives way."""
    given: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: given.extend(arguments))
    monkeypatch.setenv("JUPYTERLAB_WORKSPACES_DIR", "")
    monkeypatch.chdir(tmp_path)
    target = next(line for line in contents(ROOT, "05")["Makefile"].decode().splitlines() if "default_url" in line)
    option = target.partition("classroom lab ")[2]
    assert cli.main(["lab", option]) is None
    assert [one for one in given if "default_url" in one] == ["--LabApp.default_url=/lab/tree/labs/05-rabbitmq.ipynb"]


FIRST_CHECK = """
import json, sys
notebook = json.load(open(sys.argv[1]))
end = next(n for n, cell in enumerate(notebook["cells"]) if cell["id"].endswith("-check"))
del notebook["cells"][end + 1:]
json.dump(notebook, open(sys.argv[2], "w"))
"""


@pytest.mark.timeout(300)
def test_a_student_sets_the_bundle_up_and_runs_its_first_check(tmp_path: Path):
    """In an empty folder, from the zip file alone; what is handed out fails for a clear reason, an answer passes."""
    archive = write(contents(ROOT, "03"), tmp_path / "out" / "lab-03")
    home = tmp_path / "a student's folder"
    zipfile.ZipFile(archive).extractall(home)
    course = home / "lab-03"
    environment = os.environ | {"PATH": f"{ROOT / '.tools/uv/bin'}{os.pathsep}{os.environ['PATH']}"}
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(name, None)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=course, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    done = run("make", "setup")
    assert done.returncode == 0, done.stdout + done.stderr
    python = ".venv/bin/python"
    listed = run(python, "-m", "classroom", "--help").stdout
    assert "progress" in listed
    assert "release" not in listed
    (notebook,) = (path.name for path in (course / "labs").iterdir())
    assert run(python, "-c", FIRST_CHECK, f"labs/{notebook}", "first.ipynb").returncode == 0
    done = run(python, "-m", "classroom", "try", "first.ipynb")
    assert done.returncode == 1
    assert "03.predict" in done.stdout, done.stdout + done.stderr
    assert "first guess, then look" in done.stdout
    assert "0 of 1 checks passed" in done.stdout
    assert run(python, "-c", FIRST_CHECK, str(notebooks_of(ROOT, "03")[0]), "first.ipynb").returncode == 0
    done = run(python, "-m", "classroom", "try", "first.ipynb")
    assert "1 of 1 checks passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    listed = run(python, "-m", "classroom", "progress").stdout
    assert "03.predict" in listed
    assert "05.ack" not in listed
    assert (
        "nbgrader"
        not in run(python, "-c", "import sys, pkgutil; print([m.name for m in pkgutil.iter_modules()])").stdout
    )
