"""What a check does while nbgrader runs the notebook: it raises where the task is not passed.

nbgrader reads points off a cell's outputs: an error, or anything on stderr, gives none; no output, or text, gives all
of them. A check that only shows a table would always give full marks. And drivers log to stderr, so a good service
could get none. Here a check that is not passed raises, and what was printed meanwhile is taken out of the cell.

Such marks are for honest work: all of this runs in the student's own kernel. `classroom grade` judges from outside.
"""

from __future__ import annotations

import os
import sys

from classroom.checks.result import Result

__all__ = ["NotJudged", "NotPassed", "Plain", "conclude", "runs", "unknown"]


class NotPassed(AssertionError):
    """A task is not passed. The message has its conditions."""


class NotJudged(Exception):
    """A task could not be judged, for example because a broker died. nbgrader then asks for marking by hand."""


class Plain(Result):
    """A result that a cell prints: of a value that a cell shows, nbgrader would try to read points."""

    def _ipython_display_(self) -> None:
        print(repr(self))


def runs() -> bool:
    """Whether nbgrader runs this notebook, to grade or to validate it."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


def unknown(result: Result) -> bool:
    """Whether nothing failed, and something could not be judged."""
    return not result.passed and all(one.passed is not False for one in result.conditions)


def conclude(result: Result) -> Result:
    """Leave in the cell what nbgrader reads: of a passed task, text. Raises `NotPassed` or `NotJudged` for others."""
    from IPython.display import clear_output

    sys.stdout.flush()
    sys.stderr.flush()
    clear_output()
    if unknown(result):
        raise NotJudged(f"this could not be judged, and is to be marked by hand.\n{result!r}")
    if not result.passed:
        raise NotPassed(f"\n{result!r}")
    return Plain(result.name, result.title, result.conditions)
