"""Where solutions are tried: the cells of a lab, run by IPython as a notebook runs them, and a check after them."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
from IPython.core.interactiveshell import InteractiveShell

from classroom.brokers import start_broker
from classroom.checks import Result, check
from classroom.ledger import start_ledger
from classroom.notebooks import read, take_out_answers
from classroom.services import register

SOLUTIONS = Path(__file__).parents[2] / "solutions"
LABS = {"05": "05-rabbitmq.ipynb"}


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
    """One lab, a warm broker and a ledger."""

    def __init__(self, lab: str, shell: InteractiveShell) -> None:
        self.shell = shell
        cells = read(SOLUTIONS / LABS[lab]).cells
        self.references = {f"{lab}.{cell.id}": cell.source for cell in cells if cell.cell_type == "code"}

    def start_of(self, task: str) -> str:
        """What a learner finds in the cell."""
        return take_out_answers(self.references[task])

    async def trial(self, task: str, source: str, seed: int = 0) -> Trial:
        """Run a cell, then its check."""
        await self._clear(source)
        with contextlib.redirect_stdout(io.StringIO()):
            await self.shell.run_cell_async(source, transformed_cell=self.shell.transform_cell(source))
        began = time.perf_counter()
        result = await check(task, names=self.shell.user_ns, seed=seed)
        return Trial(result, time.perf_counter() - began)

    async def _clear(self, source: str) -> None:
        """A service that ran before is gone, and so is its queue: a queue keeps its kind for life."""
        first, _, _ = source.partition("\n")
        if first.startswith("%%service"):
            name = first.split()[1]
            if (service := self.shell.user_ns.get(name)) is not None:
                service.kill()
            async with await aio_pika.connect(self.shell.user_ns["rabbit"].url) as connection:
                await (await connection.channel()).queue_delete(name)
        else:
            for name in ("prediction", "post"):
                self.shell.user_ns.pop(name, None)


@asynccontextmanager
async def bench(lab: str) -> AsyncIterator[Bench]:
    """A lab on a broker of its own, which is gone at the end."""
    shell = InteractiveShell()
    register(shell)
    rabbit: Any = await start_broker("rabbitmq", name=f"mutants-{lab}")
    book = await start_ledger()
    shell.user_ns |= {"rabbit": rabbit, "book": book}
    try:
        yield Bench(lab, shell)
    finally:
        for one in list(shell.user_ns.values()):
            if hasattr(one, "replicas"):
                one.kill()
        await book.stop()
        await rabbit.stop()
