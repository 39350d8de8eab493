"""Checks 09a.predict and 09a.letters bring services of their own: a reader must have seen the same code."""

from __future__ import annotations

from pathlib import Path

from classroom.checks.lab09a.attempting import DESK, REASONS
from classroom.checks.lab09a.mending import TILL
from classroom.notebooks import read

SOLUTION = Path(__file__).parents[2] / "solutions/09a-errors-retries-dead-letters.ipynb"
CELLS = {cell.id: cell.source for cell in read(SOLUTION).cells}


def test_the_desk_is_the_one_of_the_task():
    """The text of task 1 shows the service that the check runs."""
    assert f"```python\n{DESK}```" in CELLS["predict-words"]


def test_the_till_is_the_one_of_the_lab():
    """The till whose letters a reader has seen is the one that fills the check's queue."""
    assert CELLS["till"].partition("\n")[2].strip() == TILL.strip()


def test_each_order_is_asked_about_and_told_of():
    """The prediction has a line for each, and the text says what goes wrong."""
    for name in REASONS:
        assert f'"{name}": [' in CELLS["predict"]
        assert f"`{name}`" in CELLS["predict-words"]
