"""The failed events of one replica that wait for their next attempt, and when each is due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from ..errors import ConnectError, ConnectionLost
from .mqtt_copies import Copy

__all__ = ["Waiting"]

Store = Callable[[str, Copy | None], Awaitable[None]]


class Waiting:
    """Copies in the broker's keeping. What the broker shows again, after a connection broke or when asked, is known.

    Args:
        store: keep a copy in this topic, or none there any more; returns when the broker has confirmed it.
        begin: hand a copy to its handler. limit: how many may be with their handlers at once. longest: seconds.
    """

    def __init__(self, store: Store, begin: Callable[[str, Copy], None], limit: int, longest: float) -> None:
        self._store = store
        self._begin = begin
        self._limit = limit
        self._longest = longest  # a clock that goes wrong makes nobody wait longer
        self._known: dict[str, Copy | None] = {}  # by topic; None while it is with its handler, or being stored
        self._due: list[tuple[float, str]] = []  # a heap, in the event loop's time
        self._running: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._open = True

    async def put(self, topic: str, copy: Copy) -> None:
        """Have a copy handled again when it is due; a topic that has one has the new one instead.

        Raises:
            ConnectError, ConnectionLost: it is not known to be stored.
        """
        is_new = topic not in self._known
        self._known[topic] = None
        try:
            await self._store(topic, copy)
        except (ConnectError, ConnectionLost):
            if is_new:
                del self._known[topic]
            raise
        if topic in self._running:
            self._known[topic] = copy  # `settle` comes next
        else:
            self._schedule(topic, copy)

    def seen(self, topic: str, copy: Copy | None) -> None:
        """The broker shows a copy; None: nothing is there any more."""
        if copy is None:
            if topic not in self._running and self._known.get(topic) is not None:
                del self._known[topic]  # somebody took it out
        elif topic not in self._known:
            self._schedule(topic, copy)

    async def settle(self, topic: str) -> None:
        """Done with the copy that was begun: it is taken out, unless a newer one is there."""
        if topic not in self._running:
            return
        newer = self._known.get(topic)
        if newer is None:
            await self._store(topic, None)
            self._known.pop(topic, None)
        self._running.discard(topic)
        if newer is None:
            self._next()
        else:
            self._schedule(topic, newer)

    def stop(self) -> None:
        """Begin no more."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()

    def start(self) -> None:
        """Begin from what the broker shows: what was begun before is over, finished or not."""
        self._open = True
        self._known.clear()
        self._due.clear()
        self._running.clear()

    def forget(self) -> None:
        """What waits is another replica's by now; what has begun is finished."""
        self._due.clear()
        self._known = dict.fromkeys(self._running)

    def _schedule(self, topic: str, copy: Copy) -> None:
        self._known[topic] = copy
        wait = min(copy.wait, self._longest)
        heapq.heappush(self._due, (asyncio.get_running_loop().time() + wait, topic))
        self._next()

    def _next(self) -> None:
        """Begin what is due, as far as there is room, and look again when the next one is."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        while self._open and self._due and len(self._running) < self._limit:
            when, topic = self._due[0]
            if when > loop.time():
                self._timer = loop.call_at(when, self._next)
                return
            heapq.heappop(self._due)
            copy = self._known.get(topic)
            if copy is not None and topic not in self._running:
                self._known[topic] = None
                self._running.add(topic)
                self._begin(topic, copy)
