"""A bulkhead: at most so many calls at once, and a short queue; more are refused at once.

    payments = Bulkhead("payments", limit=10, queue=20)
    async with payments:
        await client.send("charge", order, timeout=0.5)

Guarantee: never more than `limit` calls are under way, never more than `queue` wait, and they wait in order. So one
slow service takes `limit` tasks and connections of ours, and not all of them.
Where it ends: it counts this process only, and a call without a timeout keeps its place for ever.

The pattern is Michael Nygard's ("Release It!", 2007), after the walls that keep a leak in one part of a ship.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from .errors import PostOfficeError, UsageError

__all__ = ["Bulkhead", "BulkheadFull"]

T = TypeVar("T")


class BulkheadFull(PostOfficeError):
    """As many calls as may be are under way and waiting. The call was not made."""


class Bulkhead:
    """Guards one resource; shared by all calls to it.

    Args:
        name: for messages. limit: calls under way at once. queue: calls that may wait for a place.
        wait: seconds one may wait for it; None as long as its caller does.

    Raises:
        UsageError: a number that makes no sense.
    """

    def __init__(self, name: str = "service", *, limit: int = 10, queue: int = 0, wait: float | None = None) -> None:
        if limit < 1 or queue < 0 or (wait is not None and wait <= 0):
            raise UsageError(f"limit {limit}, queue {queue}, wait {wait}: limit is at least 1, queue 0, wait positive.")
        self.name = name
        self.limit, self.queue, self.wait = limit, queue, wait
        self.running = self.waiting = self.refused = 0
        self._places = asyncio.Semaphore(limit)

    def __repr__(self) -> str:
        return (
            f"<Bulkhead {self.name!r}: {self.running} of {self.limit} under way, {self.waiting} of {self.queue}"
            f" waiting, {self.refused} refused>"
        )

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """`await function(...)` when there is a place. Raises BulkheadFull, or what the function raises."""
        async with self:
            return await function(*arguments, **options)

    async def __aenter__(self) -> Bulkhead:
        if self._places.locked():
            await self._queued()
        else:
            await self._places.acquire()  # at once: there is a place
        self.running += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running -= 1
        self._places.release()

    async def _queued(self) -> None:
        if self.waiting >= self.queue:
            raise self._full("")
        self.waiting += 1
        try:
            async with asyncio.timeout(self.wait):
                await self._places.acquire()
        except TimeoutError as error:
            raise self._full(f" No place was free within {self.wait:g} s.") from error
        finally:
            self.waiting -= 1

    def _full(self, detail: str) -> BulkheadFull:
        self.refused += 1
        return BulkheadFull(
            f"{self.running} of at most {self.limit} calls to {self.name!r} are under way, and {self.waiting} of at"
            f" most {self.queue} wait.{detail} The call was not made. Answer without it, or try again later."
        )
