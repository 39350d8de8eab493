"""Every rule for notebooks fires on a notebook that breaks it, names the cell, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from classroom.notebook_rules import check, problems

LESSON, SOLUTION = "notebooks/01-lesson.ipynb", "solutions/01-lab.ipynb"


def test_a_well_kept_course_has_no_problems(course: Path):
    """The rules let the good ones through; else the tests below would prove nothing."""
    assert [str(p) for name in (LESSON, SOLUTION) for p in problems(course / name)] == []


def show(html: str = "", **data: str):
    """Give the second cell an output with this data."""
    bundle = {"text/html": html, **{k.replace("_", "/"): v for k, v in data.items()}}

    def change(notebook):
        notebook.cells[1].outputs = [new_output("display_data", data=bundle)]

    return change


def set_source(index: int, source: str):
    def change(notebook):
        notebook.cells[index].source = source

    return change


def set_id(index: int, name: str):
    def change(notebook):
        notebook.cells[index].id = name

    return change


def add_code_cells(notebook):
    notebook.cells[2:2] = [new_code_cell("y = 1", id=f"more-{n}") for n in range(2)]


def add_text_cells(notebook):
    notebook.cells += [new_markdown_cell("And so on.", id=f"more-{n}") for n in range(12)]


def fail(notebook):
    notebook.cells[1].outputs = [new_output("error", ename="E", evalue="", traceback=[])]


def cut_short(notebook):
    del notebook.cells[4:]


def long_cells(count: int, size: int):
    def change(notebook):
        for cell in notebook.cells[1 : 2 * count : 2]:
            cell.source = "x = 1\n" * size

    return change


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        (LESSON, set_source(1, "x = 2"), "outputs: are older than the code. Run `make notebooks`"),
        (LESSON, set_id(3, "step-0"), "cell 4 (step-0): has an id that another cell has."),
        (LESSON, set_id(1, "3f2a9c1e"), "cell 2 (3f2a9c1e): has a random id."),
        (LESSON, set_id(1, "3f2a9c1e-12ab-4c1d-9e8f-0123456789ab"), "has a random id."),
        (LESSON, fail, "cell 2 (step-0): shows an error."),
        (LESSON, set_source(2, "# Again"), "headings: there are 2 of level 1."),
        (LESSON, set_source(2, "### Deep"), "cell 3 (word-0): goes from level 1 to 3. Make it level 2."),
        (LESSON, add_code_cells, "cell 4 (more-1): is code cell 3 in a row."),
        (LESSON, add_text_cells, "text: 1.81 text cells a code cell, not 1.0 to 1.4."),
        (LESSON, long_cells(1, 26), "cell 2 (step-0): has 26 lines, more than 25."),
        (LESSON, long_cells(3, 13), "code: the 90th percentile of lines a cell is 13, over 12."),
        (LESSON, long_cells(9, 5), "code: the median of lines a cell is 5, over 4."),
        (
            LESSON,
            lambda notebook: notebook.cells.__delitem__(slice(4, None)),
            "length: 4 cells, not 30 to 50.",
        ),
        (LESSON, show(image_png="iVBO"), "cell 2 (step-0): shows an image without alt text."),
        (LESSON, show('<img src="x"><table></table>'), "has an image without alt text."),
        (LESSON, show('<img src="x" alt="A line that rises">'), "shows a figure without its numbers."),
        (LESSON, set_source(2, "![](a.png)"), "cell 3 (word-0): has an image without alt text."),
        (SOLUTION, set_source(1, "def double(n): ..."), "cell 2 (task): is a solution without markers."),
        (SOLUTION, set_source(0, "# Another lab"), "labs/01-lab.ipynb: is not what the solution gives."),
    ],
)
def test_a_broken_rule_is_named_with_its_cell_and_its_cure(course: Path, edit, name: str, how, says: str):
    """One change, and the message for it."""
    assert says in "\n".join(map(str, problems(edit(name, how))))


def test_a_figure_with_words_and_numbers_is_fine(course: Path, edit):
    """Alt text and a table in the same output are what the rule asks for."""
    path = edit(LESSON, show('<img src="x" alt="A line that rises"><table></table>', image_png="iVBO"))
    assert problems(path) == []


def test_hashes_in_a_code_block_are_no_headings(course: Path, edit):
    """A comment in an example is not a heading."""
    assert problems(edit(LESSON, set_source(2, "```python\n# one\n### three\n```"))) == []


def test_a_lab_without_a_solution_is_found(course: Path, capsys):
    """An orphan in labs/ would be handed out and never checked."""
    (course / "labs/99-old.ipynb").write_bytes((course / "labs/01-lab.ipynb").read_bytes())
    assert check([], course) == 1
    assert "labs/99-old.ipynb has no solution" in capsys.readouterr().err
