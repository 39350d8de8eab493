"""Where the checks of lab 04 take place: a NATS broker, the ledger, and services that are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from classroom.checks.needs import need_broker, need_ledger, need_service, no_verdict
from classroom.checks.result import Result
from classroom.ledger import Book
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError

__all__ = ["effects", "office", "settled"]

GIVEN = "run the first cells of this lab again; they are given."
QUIET = 10  # looks in a row that find nothing new
POLL = 0.03  # seconds


@asynccontextmanager
async def office(result: Result, post: Any, book: Any, **given: Any) -> AsyncIterator[None]:
    """All that is given runs, and is well again at the end. Raises Over where something is missing or breaks."""
    need_broker(result, "post", post, "nats", GIVEN)
    need_ledger(result, book, GIVEN)
    for name, service in given.items():
        need_service(result, name, service, GIVEN)
    try:
        with no_verdict(result, lambda: GIVEN):
            for service in given.values():
                await _well(service)
            yield
    finally:
        for service in given.values():
            with suppress(ServiceError):
                await _well(service)


async def _well(service: ServiceHandle) -> None:
    """It is up and not paused."""
    if service.state == "paused":
        await service.resume()
    if not all(one.alive for one in service.replicas) or not service.replicas:
        await service.restart()
    await service.ready()


async def effects(book: Book, kind: str, ident: int) -> int:
    """How often an order has had this effect."""
    return sum(row.id == ident for row in await book.effects(kind))


async def settled(book: Book) -> None:
    """Nothing new comes to the ledger any more."""
    before, quiet = -1, 0
    while quiet < QUIET:
        await asyncio.sleep(POLL)
        now = len(await book.rows())
        before, quiet = now, quiet + 1 if now == before else 0
