"""Where the checks of lab 01 take place: a bank, the road to it, and the ledger; what can go wrong there, and did.

The learner's own bank and road are broken, and mended at the end. Nobody knows of a request but by its traces: bytes
on the road, a row in the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from classroom.checks.needs import need, need_ledger, no_verdict
from classroom.checks.rehearsal import new_ids
from classroom.checks.result import Result
from classroom.faults.link import Link, LinkError
from classroom.ledger import Book, LedgerError
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError
from postoffice import Client, NoHandlerError, PostOfficeError

__all__ = ["FAULTS", "Street", "street", "until"]

PATIENCE = 0.4  # seconds of a caller to whom nobody answers
LIMIT = 15.0  # seconds for what takes a few hundredths
BUSY = 2.0  # seconds that the ledger takes when it is slow
GIVEN = "run the cells of the bank and the road again; they are given."
FAULTS = ("request lost", "reply lost", "bank paused", "bank busy")


@dataclass
class Street:
    """`bank` charges at the ledger `book`, and is reached by the link `road`."""

    bank: ServiceHandle
    road: Link
    book: Book

    @asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[None]:
        """One of `FAULTS`, or "none", while the block runs."""
        async with AsyncExitStack() as stack:
            if name == "request lost":
                await stack.enter_async_context(self.road.timeout(direction="upstream"))
            elif name == "reply lost":
                await stack.enter_async_context(self.road.timeout(direction="downstream"))
            elif name == "bank paused":
                await asyncio.to_thread(self.bank.pause)
                stack.push_async_callback(self._wake)
            elif name == "bank busy":
                await stack.enter_async_context(self.book.slow(BUSY))
            yield

    async def _wake(self) -> None:
        if self.bank.alive:  # it may have been killed meanwhile
            await self.bank.resume()

    async def ask(self, order: dict[str, Any], *, patience: float = PATIENCE, pattern: str = "charge") -> Outcome:
        """One request of a caller of ours, on a new connection by the road."""
        try:
            async with await Client.connect(self.road.url) as client:
                return await outcome(client.send(pattern, order, timeout=patience))
        except PostOfficeError as error:
            return Outcome(None, error, 0.0)

    async def passed(self) -> dict[str, int]:
        """The bytes that have gone through: "upstream" to the bank, "downstream" back."""
        found: dict[str, int] = (await self.road.state())["passed"]
        return found

    async def charged(self, ident: int) -> int:
        """How often this order was charged."""
        return sum(row.id == ident for row in await self.book.effects("charge"))

    async def answers(self, patience: float) -> bool:
        """Whether the bank answers another caller, who comes by another road."""
        with suppress(PostOfficeError):
            async with await Client.connect(self.bank.url) as client:
                return isinstance((await outcome(client.send("anybody", timeout=patience))).error, NoHandlerError)
        return False

    async def quiet(self) -> None:
        """The bank is up, and what had reached it is done: what came before has been worked on when these are."""
        if not self.bank.alive:
            await self.bank.restart()
        for _ in range(3):
            (ident,) = new_ids(1)
            async with await Client.connect(self.bank.url) as client:
                await client.send("charge", {"id": ident, "amount": 1}, timeout=LIMIT)


async def until(condition: Callable[[], Any], limit: float = LIMIT) -> bool:
    """Wait until an awaited condition is true; False when it is not within `limit` seconds."""
    end = asyncio.get_running_loop().time() + limit
    while not await condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.02)
    return True


@asynccontextmanager
async def street(result: Result, bank: Any, road: Any, book: Any) -> AsyncIterator[Street]:
    """The street, once all of it is up; whole again at the end. Raises Over where something is missing or breaks."""
    need_ledger(result, book, "run the first cell again.")
    need(result, "road is a link that runs", isinstance(road, Link) and road.alive, seen=f"{road!r:.80}", hint=GIVEN)
    up = isinstance(bank, ServiceHandle) and await _starts(bank)
    need(result, "bank is a service that runs", up, seen=f"{bank!r:.80}", hint=GIVEN)
    here = Street(bank, road, book)
    try:
        with no_verdict(result, lambda: GIVEN):
            await here.quiet()
            yield here
    finally:
        with suppress(LedgerError):
            await book.up()
        with suppress(LinkError):
            await road.heal()
        with suppress(ServiceError):
            if not bank.alive:
                await bank.restart()


async def _starts(bank: ServiceHandle) -> bool:
    with suppress(ServiceError):
        await bank.ready()
        return True
    return False
