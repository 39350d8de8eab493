"""`python -m classroom.notebooks`: labs, text and back, executing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from classroom import notebooks
from classroom.notebooks import (
    BEGIN,
    NotebookError,
    from_text,
    main,
    make_labs,
    read,
    take_out_answers,
    to_text,
    write,
)


def run_cell(source: str, **names: object) -> dict[str, object]:
    exec(source, names)
    return names


def test_an_answer_becomes_a_start_that_runs_and_fails_for_a_clear_reason():
    """The lab's cell runs; calling what is not written yet says so."""
    cell = take_out_answers("def f(n):\n    ### BEGIN SOLUTION\n    return n\n    ### END SOLUTION")
    f = run_cell(cell)["f"]
    with pytest.raises(NotImplementedError, match="Your code goes here"):
        f(1)


def test_what_stands_around_an_answer_stays():
    """Only the lines between the markers go, each answer of a cell for itself."""
    answer = "### BEGIN SOLUTION\nb = 2\n### END SOLUTION\n"
    lines = take_out_answers("a = 1\n" + answer + "c = 3\nif a:\n" + indent(answer, "  ")).splitlines()
    assert [lines[0], lines[2], lines[3]] == ["a = 1", "c = 3", "if a:"]
    assert lines[4].startswith("  raise NotImplementedError")
    assert "b = 2" not in lines


def test_an_answer_may_have_a_start_of_its_own():
    """Lines behind the mark stand in the lab instead of the answer, as they are indented."""
    answer = "### BEGIN SOLUTION\n### START if 1:\n### START     return 1\nreturn 2\n### END SOLUTION\n"
    assert take_out_answers("def f():\n" + indent(answer, "    ")) == "def f():\n    if 1:\n        return 1"


def test_a_single_line_may_have_a_start_of_its_own():
    """The line of %%service must be the first one, so no marker can stand above it."""
    cell = "%%service a --on rabbit --prefetch 1\n### START %%service a --on rabbit\nx = 1"
    assert take_out_answers(cell) == "%%service a --on rabbit\nx = 1"


def test_prose_has_its_answer_and_its_rubric_taken_out():
    """A cell of text that an instructor reads."""
    text = '# %% [markdown] id="top"\n# Why?\n# ### BEGIN SOLUTION\n# Since the rubric says so.\n# ### END SOLUTION'
    lab = notebooks.make_lab(from_text(text))
    assert lab.cells[0].source.splitlines() == ["Why?", "*Your answer goes here.*"]


@pytest.mark.parametrize("source", ["### BEGIN SOLUTION\nx", "x\n### END SOLUTION", f"{BEGIN}\n{BEGIN}"])
def test_markers_without_a_partner_are_refused(source: str):
    """A forgotten marker must not publish an answer."""
    with pytest.raises(NotebookError, match="SOLUTION"):
        take_out_answers(source)


def test_labs_have_the_solutions_cells_and_ids_and_nothing_else_of_it(course: Path):
    """Same ids, same nbgrader metadata, no answer, no output, no count."""
    solution, lab = read(course / "solutions/01-lab.ipynb"), read(course / "labs/01-lab.ipynb")
    assert [cell.id for cell in lab.cells] == [cell.id for cell in solution.cells]
    assert lab.cells[1].metadata == solution.cells[1].metadata
    assert "2 * n" not in str(lab)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in notebooks.code_cells(lab))


def test_labs_are_deterministic_and_an_orphan_goes(course: Path):
    """Two runs give equal bytes; a lab whose solution is gone is removed."""
    before = (course / "labs/01-lab.ipynb").read_bytes()
    (course / "labs/99-old.ipynb").write_bytes(before)
    assert make_labs(course) == [course / "labs/01-lab.ipynb"]
    assert (course / "labs/01-lab.ipynb").read_bytes() == before
    assert not (course / "labs/99-old.ipynb").exists()


def test_a_lab_passes_nbgraders_own_rules_for_metadata(course: Path):
    """The six keys that nbgrader's schema 3 wants are on the answer cell of the lab."""
    keys = read(course / "labs/01-lab.ipynb").cells[1].metadata["nbgrader"].keys()
    assert keys == {"grade", "grade_id", "locked", "schema_version", "solution", "task"}


def test_text_and_back_is_the_same_notebook(course: Path):
    """Ids, tags, magics and metadata survive the way through text."""
    text = """# %% [markdown] id="a"
# # T

# %% id="b" tags=["x"]
%%service users --on tcp
x = 1

# %% id="c"
%time 1
"""
    first = from_text(text)
    path = course / "t.ipynb"
    write(first, path)
    write(from_text(to_text(read(path))), course / "u.ipynb")
    assert path.read_bytes() == (course / "u.ipynb").read_bytes()
    assert first.cells[1].source.startswith("%%service users --on tcp\nx = 1")


def test_a_cell_without_an_id_gets_the_same_one_each_time():
    """Ids come from the first words; equal words are numbered, given ids are never taken twice."""
    text = '# %%\nx = 1\n\n# %%\nx = 1\n\n# %% id="x-1-3"\nx = 1\n\n# %%\nx = 1\n'
    ids = [cell.id for cell in from_text(text).cells]
    assert ids == ["x-1", "x-1-2", "x-1-3", "x-1-4"] == [cell.id for cell in from_text(text).cells]


def test_run_stores_outputs_and_update_keeps_those_of_unchanged_cells(course: Path):
    """Editing prose needs no second run; editing code makes the notebook stale."""
    path = course / "solutions/01-lab.ipynb"
    assert notebooks.run([path]) == 0
    done = read(path)
    assert done.cells[2].outputs[0].text == "42\n"
    text = to_text(read(path))
    prose = from_text(text.replace("# # A lab", "# # The lab"), before=done)
    assert prose.cells[2].outputs == done.cells[2].outputs
    assert notebooks.stored_fingerprint(prose) == notebooks.fingerprint(prose)
    code = from_text(text.replace("21", "22"), before=done)
    assert code.cells[2].outputs == []
    assert notebooks.stored_fingerprint(code) != notebooks.fingerprint(code)


def test_running_twice_gives_equal_bytes(course: Path):
    """No time, id or version of the machine gets into what is stored."""
    path = course / "solutions/01-lab.ipynb"
    notebooks.run([path])
    once = path.read_bytes()
    notebooks.run([path])
    assert path.read_bytes() == once


def test_a_failing_notebook_is_reported_and_left_as_it_was(course: Path, edit, capsys):
    """The cell and its error are shown; the stored outputs are not touched."""

    def break_it(notebook):
        notebook.cells[1].source = "1 / 0"

    path = edit("notebooks/01-lesson.ipynb", break_it)
    before = path.read_bytes()
    assert notebooks.run([path]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not a notebook"), ('{"nbformat": 4, "nbformat_minor": 4, "cells": []}', "no cell ids")],
)
def test_what_is_no_notebook_is_refused_with_its_name(tmp_path: Path, content: str, says: str, capsys):
    """A broken file ends the command with one line, not a traceback."""
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    assert main(["text", str(path)]) == 1
    assert says in capsys.readouterr().err


def test_the_command_says_where_it_must_be_run(tmp_path: Path):
    """Outside the course's folder there is one line and exit code 1."""
    command = [sys.executable, "-m", "classroom.notebooks", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Run this in the course's folder" in done.stderr
