"""Checks of the labs: `await check("03.framing")` tries what you wrote and says what it saw.

A check judges behaviour, never the text of an answer: it calls your functions, talks to your services, breaks
them, and counts. It compares by order, ratio and count, not by the clock, so a slow machine passes too.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from classroom import progress
from classroom.checks import under_nbgrader
from classroom.checks.result import Condition, Over, Result

__all__ = ["Check", "CheckError", "Condition", "Result", "check"]

Kind = Literal["service", "function", "prediction", "diagnosis"]


class CheckError(Exception):
    """The check itself was called in a way that cannot work. The message says what to do."""


@dataclass(frozen=True)
class Check:
    """One check of a lab: what it is called, the names it looks at, and how it judges them.

    `needs` maps a name of the notebook to the words that tell which cell makes it. `kind`, `points` and `minutes` are
    those of its task. Where `draws` is true, `judge` takes a `Random` after the result, and chooses by it what it may:
    where a crash comes, which letter is the bad one.
    """

    title: str
    needs: Mapping[str, str]
    judge: Callable[..., Awaitable[None]]
    kind: Kind
    points: int
    minutes: int
    draws: bool = False

    async def apply(self, result: Result, seed: int, values: Iterable[Any]) -> None:
        """Let it judge the values of `needs`; where something is missing or breaks down, it ends before its end."""
        drawn = [Random(seed)] if self.draws else []
        with suppress(Over):
            await self.judge(result, *drawn, *values)


async def check(name: str, *, names: Mapping[str, Any] | None = None, seed: int = 0) -> Result:
    """Judge one task of a lab.

    Args:
        name: the check's name, lab and task: "03.framing".
        names: where to look for what you wrote; by default the variables of this notebook.
        seed: decides what is drawn by lot, such as the moment of a crash. 0 is the public one.

    Returns:
        the conditions with what was expected and seen; shown as a table in a notebook.

    Raises:
        CheckError: there is no such check, or there is no notebook to look at.
        NotPassed, NotJudged: while nbgrader runs the notebook, where the task is not passed.
    """
    task = _find(name)
    names = _notebook() if names is None else names
    result = await _judged(name, task, names, seed)
    if under_nbgrader.runs():
        if under_nbgrader.unknown(result):
            result = await _judged(name, task, names, seed)  # a broker may have died: once more
        result = under_nbgrader.conclude(result)
    progress.note("check", name, passed=result.passed)
    return result


async def _judged(name: str, task: Check, names: Mapping[str, Any], seed: int) -> Result:
    """What the judge of a task says."""
    result = Result(name, task.title, public=seed == 0)
    missing = [variable for variable in task.needs if variable not in names]
    for variable in missing:
        result.judge(f"{variable} is there to be checked", False, hint=_missing(variable, task.needs[variable]))
    if not missing:
        await task.apply(result, seed, [names[variable] for variable in task.needs])
    return result


def _missing(variable: str, cell: str) -> str:
    return f"this notebook has no {variable!r} yet. Run {cell} first, then this cell again."


def every_check() -> dict[str, Check]:
    """All checks of all labs, by name: `CHECKS` of each module `labNN` beside this one."""
    found: dict[str, Check] = {}
    for module in sorted(
        one.name for one in pkgutil.iter_modules(__path__) if re.fullmatch(r"lab\d\d[a-z]?", one.name)
    ):
        found |= importlib.import_module(f"{__name__}.{module}").CHECKS
    return found


def _find(name: str) -> Check:
    """The check of that name. Raises `CheckError`, which lists those there are."""
    known = every_check()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise CheckError(f"there is no check named {name!r}.{meant} There are: {', '.join(sorted(known))}.")
    return known[name]


def _notebook() -> Mapping[str, Any]:
    """The variables of the notebook that runs. Raises `CheckError` where none does."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        raise CheckError("no notebook is running here. Call check() in a notebook, or give names={...}.")
    variables: Mapping[str, Any] = shell.user_ns
    return variables
