"""What a replica holds and has not settled yet, where it fetches its messages itself (Redis Streams, JetStream)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from .base import Deliver, Delivery

__all__ = ["InFlight"]

Held = TypeVar("Held", bound=Delivery)


class InFlight(Generic[Held]):
    """At most `limit` deliveries are with their handlers at once; what was fetched beyond that waits for its turn.

    Args:
        limit: the service's prefetch. deliver: begins one.

    Attributes:
        changed: set when one is settled, so that whoever fetches looks again.
    """

    def __init__(self, limit: int, deliver: Deliver) -> None:
        self._limit = limit
        self._running: dict[int, Held] = {}
        self._waiting: deque[Held] = deque()
        self.changed = asyncio.Event()
        self._deliver = deliver

    def __iter__(self) -> Iterator[Held]:
        return iter([*self._running.values(), *self._waiting])

    @property
    def room(self) -> int:
        """How many more may be fetched."""
        return self._limit - len(self._running) - len(self._waiting)

    def take(self, delivery: Held) -> None:
        """One that was fetched: to its handler, or to wait."""
        self._waiting.append(delivery)
        self._next()

    def settled(self, delivery: Held) -> None:
        """One that is done with, or that somebody else has by now; harmless when said twice."""
        if self._running.pop(id(delivery), None) is not None:
            self._next()
            self.changed.set()

    def not_begun(self) -> list[Held]:
        """What waits, to be given back; it is not held any longer."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            delivery = self._waiting.popleft()
            self._running[id(delivery)] = delivery
            self._deliver(delivery)
