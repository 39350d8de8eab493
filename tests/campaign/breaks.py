"""How it is broken. Each break happens once, in the middle of a cell's messages, and is undone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cell import Cell

__all__ = ["BREAKS", "Break"]

DEATHS = 7  # how often a deadly event may kill: more than the attempts that it has
QUIET = 8.0  # seconds without a death until the deadly event counts as gone: longer than silence takes to be noticed
AWHILE = 1.0  # seconds that a pause or a cut lasts: longer than what a message takes, shorter than a caller waits


@dataclass(frozen=True)
class Break:
    """One kind of break.

    Attributes:
        name: of the column. act: does it and undoes it. needs: "broker", "link", "disk" or "".
        durable: whether it makes sense at least once only. crash: the point at which the service's process dies.
        what: messages of a special kind: (kind, one in so many; 0: only one).
        service_crashes: whether a process of the service dies. broker_crashes: whether the broker dies or hangs.
    """

    name: str
    act: Callable[[Cell], Awaitable[None]]
    needs: str = ""
    durable: bool = False
    crash: str = ""
    what: tuple[str, int] | None = None


async def nothing(cell: Cell) -> None:
    """The control: whatever is lost here is lost by nobody's fault but ours."""


async def kill_service(cell: Cell) -> None:
    worker = cell.worker()
    await worker.kill()
    await worker.start()


async def terminate_service(cell: Cell) -> None:
    worker = cell.worker()
    await worker.stop()
    await worker.start()


async def pause_service(cell: Cell) -> None:
    worker = cell.worker()
    worker.signal(signal.SIGSTOP)
    cell.interruptions += 1
    await asyncio.sleep(AWHILE)
    worker.signal(signal.SIGCONT)


async def crash_service(cell: Cell) -> None:
    worker = cell.workers[0]
    await worker.ended()
    worker.crashes += 1
    await worker.start()


async def revive(cell: Cell) -> None:
    """One event kills whatever process handles it. Where nobody counts, it would go on so for ever: mercy ends it."""
    for _ in range(DEATHS):
        worker = await cell.next_death(within=QUIET)
        if worker is None:
            return
        worker.crashes += 1
        await worker.start()
    cell.have_mercy()
    for worker in cell.workers:
        if not worker.running:
            worker.crashes += 1
            await worker.start()


async def kill_broker(cell: Cell) -> None:
    cell.interruptions += 1
    cell.broker.kill()
    await cell.broker.restart()


async def restart_broker(cell: Cell) -> None:
    cell.interruptions += 1
    await cell.broker.restart()


async def pause_broker(cell: Cell) -> None:
    cell.interruptions += 1
    cell.broker.pause()
    await asyncio.sleep(AWHILE)
    await cell.broker.resume()


async def cut_link(cell: Cell) -> None:
    cell.interruptions += 1
    await cell.link.cut()
    await asyncio.sleep(AWHILE)
    await cell.link.heal()


async def reset_link(cell: Cell) -> None:
    cell.interruptions += 1
    async with cell.link.reset_peer():
        await asyncio.sleep(AWHILE)


async def slow_link(cell: Cell) -> None:
    async with cell.link.latency(0.05, jitter=0.05, seed=cell.seed):
        await asyncio.sleep(AWHILE)


async def fill_disk(cell: Cell) -> None:
    cell.interruptions += 1
    async with cell.broker.disk_full():
        await asyncio.sleep(AWHILE)


BREAKS = [
    Break("nothing", nothing),
    Break("service killed", kill_service),
    Break("service terminated", terminate_service),
    Break("service paused", pause_service),
    Break("crash before handler", crash_service, crash="before-handler"),
    Break("crash before ack", crash_service, crash="after-handler", durable=True),
    Break("crash after ack", crash_service, crash="acked", durable=True),
    Break("crash after retry stored", crash_service, crash="retried", durable=True, what=("flaky", 10)),
    Break("crash after dead letter", crash_service, crash="dead-lettered", durable=True, what=("poison", 10)),
    Break("deadly message", revive, durable=True, what=("deadly", 0)),
    Break("flaky handler", nothing, durable=True, what=("flaky", 10)),
    Break("poison messages", nothing, durable=True, what=("poison", 10)),
    Break("broker killed", kill_broker, needs="broker"),
    Break("broker restarted", restart_broker, needs="broker"),
    Break("broker paused", pause_broker, needs="broker"),
    Break("disk full", fill_disk, needs="disk", durable=True),
    Break("network slow", slow_link, needs="link"),
    Break("network cut", cut_link, needs="link"),
    Break("connections reset", reset_link, needs="link"),
]
