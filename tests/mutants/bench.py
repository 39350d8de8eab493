"""Where solutions are tried: the cells of a lab, run by IPython as a notebook runs them, and a check after them."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from IPython.core.interactiveshell import InteractiveShell

from classroom.brokers import Broker
from classroom.checks import Result, check, every_check
from classroom.faults.link import Link
from classroom.ledger import Book
from classroom.notebooks import read, take_out_answers
from classroom.service_handle import ServiceHandle
from classroom.services import register

SOLUTIONS = Path(__file__).parents[2] / "solutions"
WORLD = (Broker, Book, Link)  # what a lab's given cells start, and what is ended with the bench


@dataclass(frozen=True)
class Trial:
    """How one source of a task did: the check's answer, and the seconds it took."""

    result: Result
    seconds: float

    @property
    def advice(self) -> str:
        """What the first condition that failed says."""
        failed = next((one for one in self.result.conditions if not one.passed), None)
        return "\n".join(failed.lines()) if failed else ""


class Bench:
    """One lab, and what its given cells start: the cell of a task bears the task's name."""

    def __init__(self, lab: str, shell: InteractiveShell) -> None:
        self.shell = shell
        (path,) = SOLUTIONS.glob(f"{lab}-*.ipynb")
        cells = read(path).cells
        self.references = {f"{lab}.{cell.id}": cell.source for cell in cells if cell.cell_type == "code"}
        self.checks = {name: one for name, one in every_check().items() if name.startswith(f"{lab}.")}

    async def run(self, source: str) -> None:
        """Run a cell as a notebook does. Raises what it raises, unless that is a service's error for its reader."""
        with contextlib.redirect_stdout(io.StringIO()):
            await self.shell.run_cell_async(source, transformed_cell=self.shell.transform_cell(source))

    def start_of(self, task: str) -> str:
        """What a learner finds in the cell."""
        return take_out_answers(self.references[task])

    async def trial(self, task: str, source: str, seed: int = 0) -> Trial:
        """Run a cell, then its check."""
        await self._clear(task, source)
        await self.run(source)
        began = time.perf_counter()
        result = await check(task, names=self.shell.user_ns, seed=seed)
        return Trial(result, time.perf_counter() - began)

    async def _clear(self, task: str, source: str) -> None:
        """What this cell made before is gone: a service with its queue (which keeps its kind for life), a variable."""
        first, _, _ = source.partition("\n")
        if not first.startswith("%%service"):
            for name in self.checks[task].needs:
                if not isinstance(self.shell.user_ns.get(name), (*WORLD, ServiceHandle)):
                    self.shell.user_ns.pop(name, None)
            return
        name = first.split()[1]
        if (service := self.shell.user_ns.pop(name, None)) is not None:  # a cell that is no Python binds nothing
            service.kill()
        rabbit = self.shell.user_ns.get("rabbit")
        if isinstance(rabbit, Broker) and rabbit.kind == "rabbitmq":
            async with await aio_pika.connect(rabbit.url) as connection:
                await (await connection.channel()).queue_delete(name)


@asynccontextmanager
async def bench(lab: str, given: Sequence[str] = ("start",)) -> AsyncIterator[Bench]:
    """A lab whose given cells have run; the brokers, ledgers and services that they started are gone at the end."""
    shell = InteractiveShell()
    register(shell)
    try:
        table = Bench(lab, shell)
        for name in given:
            await table.run(table.references[f"{lab}.{name}"])
        yield table
    finally:
        made = list(shell.user_ns.values())
        for one in made:
            if isinstance(one, ServiceHandle):
                one.kill()
        for one in made:
            if isinstance(one, WORLD):
                await one.stop()
