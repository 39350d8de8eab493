"""Where the checks of lab 04 take place: a NATS broker, the ledger, and services that are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from classroom.brokers import Broker, BrokerError
from classroom.checks.result import Result
from classroom.ledger import Book, LedgerError
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError
from postoffice import PostOfficeError

__all__ = ["effects", "office", "settled"]

GIVEN = "run the first cells of this lab again; they are given."
QUIET = 10  # looks in a row that find nothing new
POLL = 0.03  # seconds


@asynccontextmanager
async def office(result: Result, post: Any, book: Any, **given: Any) -> AsyncIterator[bool]:
    """Whether all that is given runs; the given services are well again at the end.

    False, and a condition that failed, where something is missing. What breaks down on the way leaves no verdict.
    """
    if not (isinstance(post, Broker) and post.kind == "nats" and post.alive):
        result.judge("post is a NATS broker that runs", False, seen=f"{post!r:.80}", hint=GIVEN)
        yield False
        return
    if not (isinstance(book, Book) and book.alive):
        result.judge("book is a ledger that runs", False, seen=f"{book!r:.80}", hint=GIVEN)
        yield False
        return
    for name, service in given.items():
        if not isinstance(service, ServiceHandle):
            result.judge(f"{name} is a service", False, seen=f"{service!r:.80}", hint=GIVEN)
            yield False
            return
    ready = False
    try:
        for service in given.values():
            await _well(service)
        ready = True
        yield True
    except (PostOfficeError, ServiceError, LedgerError, BrokerError, OSError, RuntimeError) as error:
        result.judge("the check came to its end", None, seen=f"{type(error).__name__}: {error}"[:500], hint=GIVEN)
        if not ready:
            yield False
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
