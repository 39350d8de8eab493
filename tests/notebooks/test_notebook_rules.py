"""Every rule for notebooks fires on a notebook that breaks it, names the cell, and says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from classroom.lesson_rules import memory
from classroom.notebook_cost import Cost, measured
from classroom.notebook_rules import check, problems
from classroom.notebooks import read

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


def replace(index: int, old: str, new: str):
    """Change some words of a cell."""

    def change(notebook):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return change


def show_code(notebook):
    del notebook.cells[1].metadata["jupyter"]


def swap_guess_and_answer(notebook):
    notebook.cells[1].source, notebook.cells[3].source = notebook.cells[3].source, notebook.cells[1].source


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
        for cell in notebook.cells[13 : 13 + 2 * count : 2]:  # behind the predictions
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
        (LESSON, add_text_cells, "text: 1.88 text cells a code cell, not 1.0 to 1.4."),
        (LESSON, long_cells(1, 26), "cell 14 (step-6): has 26 lines, more than 25."),
        (LESSON, long_cells(3, 13), "code: the 90th percentile of lines a cell is 13, over 12."),
        (LESSON, long_cells(8, 5), "code: the median of lines a cell is 5, over 4."),
        (
            LESSON,
            lambda notebook: notebook.cells.__delitem__(slice(4, None)),
            "length: a lesson of 4 cells, not 30 to 50.",
        ),
        (LESSON, show(image_png="iVBO"), "cell 2 (step-0): shows an image without alt text."),
        (LESSON, show('<img src="x"><table></table>'), "has an image without alt text."),
        (LESSON, show('<img src="x" alt="A line that rises">'), "shows a figure without its numbers."),
        (LESSON, set_source(2, "![](a.png)"), "cell 3 (word-0): has an image without alt text."),
        (LESSON, show('<svg aria-label="A line that rises">'), "shows a figure without its numbers."),
        (LESSON, show("<svg></svg><table></table>"), "has an image without alt text."),
        (LESSON, replace(0, "**You will see**", "It is about"), "the opening does not say what one will see."),
        (LESSON, replace(0, "**You need**", "It takes"), "the opening does not say what one needs."),
        (LESSON, replace(0, "40 minutes", "a while"), "the opening does not say how long it takes."),
        (LESSON, replace(0, "40 minutes", "90 minutes"), "the opening of a lesson says 90 minutes, not 35 to 50."),
        (LESSON, replace(0, "300 MB", "little"), "the opening does not say how much memory it takes."),
        (LESSON, replace(0, "no broker", "patience"), "the opening does not say which brokers it needs."),
        (LESSON, replace(0, "next?*", "next*"), "the opening asks no question."),
        (LESSON, replace(1, "predict(", "Guess("), "predictions: there are 2, fewer than 3."),
        (LESSON, replace(1, "01.guess-0", "02.guess-0"), "the prediction guess_0 is called '02.guess-0'."),
        (LESSON, replace(1, "01.guess-0", "01.guess-1"), "the prediction guess_1 is called '01.guess-1'."),
        (LESSON, show_code, "the prediction guess_0 shows its code, and so its answer."),
        (LESSON, replace(1, ")\nguess_0", ")\nNone"), "cell 2 (step-0): the prediction guess_0 is not shown."),
        (LESSON, set_source(3, "x = 1"), "the prediction guess_0 is told 0 times. Once, in a later cell: guess_0"),
        (LESSON, set_source(5, 'guess_0.reveal("b")'), "the prediction guess_0 is told 2 times."),
        (LESSON, swap_guess_and_answer, "the prediction guess_0 is told 0 times."),
        (LESSON, replace(3, '"b"', '"a"'), "the prediction guess_0 says nothing to who guesses b."),
        (LESSON, replace(3, '"b"', '"c"'), "the prediction guess_0 has no option 'c', and that is its answer."),
        (LESSON, lambda notebook: notebook.cells.__delitem__(4), "the prediction guess_0 is told and not explained."),
        (LESSON, replace(-1, "## Five questions", "## Questions"), "is no closing: Words of this lesson / Five"),
        (LESSON, replace(-1, "| word 4 | 4 |", ""), "the closing has 4 words, fewer than 5."),
        (LESSON, replace(-1, "2. Why?", "Why?"), "the closing has 4 questions with folded answers, not 5, numbered."),
        (LESSON, replace(-1, "5. Why?</summary>\nSo.", "5. Why?</summary>"), "the closing has 4 questions"),
        (LESSON, replace(-1, "[Lesson 02](02-lesson.ipynb)", "Lesson 02"), "does not say where to read on."),
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


def test_the_tour_may_be_short_and_ask_once(course: Path, edit):
    """Lesson 00 keeps to the rest: with a short opening, one prediction and twelve cells it is fine."""
    path = edit(LESSON, lambda notebook: notebook.cells.__delitem__(slice(5, 27)))
    edit(LESSON, replace(0, "40 minutes", "10 minutes"))
    tour = path.rename(path.with_name("00-tour.ipynb"))
    edit("notebooks/00-tour.ipynb", replace(1, "01.guess", "00.guess"))
    assert [str(problem) for problem in problems(tour) if problem.where != "outputs"] == []


def guide_problems(edit, name: str, *changes) -> list[str]:
    """What is wrong with the lesson as a field guide: 30 cells, 30 minutes, two predictions; and then changed."""
    number = name.partition("-")[0]
    edit(LESSON, lambda notebook: notebook.cells.__delitem__(slice(9, 13)))  # the third prediction
    for index in (1, 5):
        edit(LESSON, replace(index, "01.guess", f"{number}.guess"))
    for change in (replace(0, "40 minutes", "30 minutes"), *changes):
        path = edit(LESSON, change)
    guide = path.rename(path.with_name(name))
    return [str(problem) for problem in problems(guide) if problem.where != "outputs"]


@pytest.mark.parametrize("name", ["02b-nats.ipynb", "02c-kafka.ipynb", "02d-mqtt.ipynb", "02e-grpc.ipynb"])
def test_a_field_guide_is_shorter_than_a_lesson(edit, name: str):
    """It is known by its name, and keeps to the rest."""
    assert guide_problems(edit, name) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replace(0, "30 minutes", "40 minutes"), "the opening of a field guide says 40 minutes, not 20 to 35."),
        (lambda notebook: notebook.cells.__delitem__(slice(9, 21)), "a field guide of 18 cells, not 20 to 36."),
        (replace(1, "predict(", "Guess("), "predictions: there are 1, fewer than 2."),
    ],
)
def test_a_field_guide_has_a_size_of_its_own(edit, change, says: str):
    """Its budgets are broken as a lesson's are."""
    assert says in "\n".join(guide_problems(edit, "02b-nats.ipynb", change))


@pytest.mark.parametrize("name", ["02a-other.ipynb", "02-transports.ipynb", "03b-tcp.ipynb"])
def test_no_other_notebook_may_be_short(edit, name: str):
    """Only 02b to 02e are field guides."""
    assert "not 35 to 50" in "\n".join(guide_problems(edit, name))


@pytest.mark.parametrize(
    ("megabytes", "says"),
    [
        (300, []),
        (301, ["cell 1 (opening): the opening says 300 MB of memory, and a run took 301. Say at least what it takes."]),
    ],
)
def test_a_run_takes_no_more_memory_than_the_opening_says(course: Path, megabytes: int, says: list[str]):
    """Who has just enough memory must not be surprised."""
    assert [str(problem) for problem in memory(read(course / LESSON), Cost(1, megabytes))] == says


def test_a_run_that_takes_more_than_a_gigabyte_is_refused(course: Path):
    """Whatever the opening says."""
    found = [str(problem) for problem in memory(read(course / LESSON), Cost(1, 1001))]
    assert found[0] == "run: it took 1,001 MB of memory, more than 1,000. Start fewer brokers and services at a time."


@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps on PATH, which tells the memory")
def test_memory_of_processes_at_any_depth_is_counted_while_they_live():
    """A process that a process of ours started holds 100 MB for a moment; the most is what counts."""
    hold = "import time; held = bytearray(100_000_000); print(flush=True); time.sleep(1.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with measured() as cost, measured(by_runner=True) as below:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)"], check=True)
        small = cost.megabytes
        subprocess.run([sys.executable, "-c", start], check=True)
    assert small > 0
    assert small + 90 < cost.megabytes < small + 200
    assert 90 < below.megabytes < cost.megabytes, "the one in the middle is the runner"
    assert cost.seconds >= 2


def test_a_cell_that_python_cannot_read_is_named(course: Path, edit):
    """The rules on predictions read the code; what they cannot read is a problem of its own, not a crash."""
    found = "\n".join(map(str, problems(edit(LESSON, set_source(5, "x = (")))))
    assert "cell 6 (step-2): cannot be read: '(' was never closed" in found


def test_hashes_in_a_code_block_are_no_headings(course: Path, edit):
    """A comment in an example is not a heading."""
    assert problems(edit(LESSON, set_source(2, "```python\n# one\n### three\n```"))) == []


def test_a_lab_without_a_solution_is_found(course: Path, capsys):
    """An orphan in labs/ would be handed out and never checked."""
    (course / "labs/99-old.ipynb").write_bytes((course / "labs/01-lab.ipynb").read_bytes())
    assert check([], course) == 1
    assert "labs/99-old.ipynb has no solution" in capsys.readouterr().err
