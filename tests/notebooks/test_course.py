"""The course's own notebooks: they keep the rules, run as they stand, run twice, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from functools import cache
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from classroom.brokers import NoBroker, start_broker
from classroom.brokers.catalogue import KAFKA
from classroom.brokers.finding import Candidate, chosen_engine, find
from classroom.lesson_rules import memory
from classroom.notebook_cost import measured
from classroom.notebook_rules import problems
from classroom.notebooks import CELL_TIMEOUT, code_cells, lessons_and_solutions, read

ROOT = Path(__file__).parents[2]
COURSE = lessons_and_solutions(ROOT)
pytestmark = pytest.mark.apart


def name_of(path: Path) -> str:
    """How a test names a notebook."""
    return f"{path.parent.name}/{path.stem}"


every_notebook = pytest.mark.parametrize("path", COURSE, ids=name_of)
# a lab's checks take their time, and its lesson is run twice anyway: twice each only in the long form
lessons_first = pytest.mark.parametrize(
    "path",
    [pytest.param(one, marks=pytest.mark.long if one.parent.name == "solutions" else []) for one in COURSE],
    ids=name_of,
)


@cache
def no_kafka() -> str:
    """Why there is no Kafka here ("" if there is one): no set-up fetches it, since it is large."""
    if any(isinstance(found, Candidate) and not found.to_fetch for found in find(KAFKA, chosen_engine(None))):
        return ""

    async def try_it() -> None:
        await (await start_broker("kafka", name="kafka of the course's tests")).stop()

    try:
        asyncio.run(try_it())
    except NoBroker as error:
        return f"there is no Kafka here: {error}"
    return ""


def skip_without_its_broker(path: Path) -> None:
    """Skip, with the reason, where a notebook wants Kafka and this machine cannot have it."""
    code = "\n".join(cell.source for cell in code_cells(read(path)))
    if re.search(r"""start_broker\(["']kafka["']""", code) and (reason := no_kafka()):
        pytest.skip(reason)


@every_notebook
def test_the_rules_are_kept(path: Path):
    """Outputs and labs agree with their sources; budgets, ids, headings and figures are in order."""
    assert [str(problem) for problem in problems(path)] == []


@every_notebook
@pytest.mark.timeout(420)
def test_nbval_runs_it_and_finds_the_stored_outputs(path: Path):
    """No cell fails, cells tagged nbval-check-output print what is stored, and the opening's memory is enough."""
    skip_without_its_broker(path)
    options = ["--nbval-lax", f"--nbval-cell-timeout={CELL_TIMEOUT}", "-q", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--timeout=0", str(path)]
    with measured(by_runner=True) as cost:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert path.parent.name == "solutions" or [str(problem) for problem in memory(read(path), cost)] == []


def processes_with(mark: str) -> list[str]:
    """The command lines of all living processes that were started, at any depth, with `mark` set."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark.encode() in (folder / "environ").read_bytes()
                and "State:\tZ" not in (folder / "status").read_text()
            ):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended while we looked, or belongs to another user
    return found


@lessons_first
@pytest.mark.timeout(420)
@pytest.mark.skipif(sys.platform != "linux", reason="finds what is left by reading /proc")
def test_every_cell_runs_twice_and_nothing_is_left(path: Path):
    """Each cell twice in a row, in one kernel, as an impatient reader does; then no process is left."""
    skip_without_its_broker(path)
    notebook = read(path)
    notebook.cells = [new_code_cell(cell.source) for cell in code_cells(notebook) for _ in range(2)]
    mark = f"COURSE_TEST_MARK={uuid.uuid4().hex}"
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env=dict(os.environ) | dict([mark.split("=")]))
    limit = time.monotonic() + 15
    while left := processes_with(mark):
        assert time.monotonic() < limit, left
        time.sleep(0.05)
