"""One replica's part in the groups of a service: it fetches entries, says that it lives, takes over, and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ..durable import Durable
from ..errors import ConnectionLost, UsageError
from . import redis_scripts as scripts
from .base import Deliver
from .inflight import InFlight
from .redis_delivery import Entry, EntryDelivery
from .redis_pipe import Pipe, ResponseError

__all__ = ["Consumer"]

BLOCK = 2.0  # seconds that Redis holds a read for which there is nothing
SILENCE = 10.0  # seconds after which a read that Redis should have answered counts as lost
ROUND = 1.0  # seconds at most between two looks for what silent replicas hold
TIDY = 60.0  # seconds between two tidyings
GONE = 60.0  # seconds after which a silent consumer without entries is removed
KEPT = 86_400.0  # seconds that settled entries stay


class Consumer:
    """The entries of this replica, from fetched to settled. It outlives its connections.

    Args:
        service: what at least once asks for. limit: how many entries it holds at once. deliver: takes each of them.
        make: a delivery from a route, an entry and its fields. lost: called when a connection broke.
    """

    def __init__(
        self,
        service: Durable,
        limit: int,
        deliver: Deliver,
        make: Callable[[str, Entry, list[bytes]], EntryDelivery],
        lost: Callable[[BaseException], None],
    ) -> None:
        self.held: InFlight[EntryDelivery] = InFlight(limit, deliver)
        self._service = service
        self._make = make
        self._lost = lost
        # no other process has this name
        self._who = (service.service, f"{service.service}-{os.getpid()}-{secrets.token_hex(4)}")
        self._own = {again(service, route): route for route in service.events}
        self._keys = {**self._own, **{f"events:{route}": route for route in service.events}}
        self._period = min(ROUND, service.ack_wait / 3)
        self._pipe: Pipe | None = None
        self._reading: tuple[asyncio.Task[None], int] | None = None  # and Redis' number of its connection
        self._rounds: asyncio.Task[None] | None = None
        self._stopping = False
        self._due = asyncio.Event()  # a copy may be due before the next round
        self._tidied = -TIDY

    async def start(self, pipe: Pipe, blocking: Any) -> None:
        """Join the groups and work. `blocking` is a connection for reads that wait.

        Raises:
            UsageError: a key is used for something else. ConnectionLost.
        """
        self._pipe = pipe
        for key in self._keys:
            await self._join(pipe, key)
        await blocking.send_command("CLIENT", "ID")
        number = await blocking.read_response(timeout=SILENCE)
        if not self._stopping:
            task = asyncio.create_task(self._fetch(blocking), name="postoffice Redis Streams reader")
            self._reading = (task, number)
        self._rounds = asyncio.create_task(self._look_after(pipe), name="postoffice Redis Streams rounds")

    async def cancel(self) -> None:
        """The connections are gone, or will be."""
        tasks = [self._reading[0]] if self._reading else []
        tasks += [self._rounds] if self._rounds else []
        self._reading = self._rounds = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop_fetching(self) -> None:
        """Take no more. What was fetched and not begun is at once for other replicas. Raises ConnectionLost."""
        self._stopping = True
        self.held.changed.set()
        while self._pipe is not None and self._reading is not None and not self._reading[0].done():
            await self._pipe("CLIENT", "UNBLOCK", self._reading[1])
            await asyncio.wait([self._reading[0]], timeout=0.05)
        for one in self.held.not_begun():
            await self._eval(scripts.GIVE_BACK, one.entry.key, one.entry.id, one.entry.count - 1)

    async def leave(self) -> None:
        """End: what a handler did not finish is at once for other replicas. Raises ConnectionLost."""
        await self.cancel()
        for key in self._keys:
            await self._eval(scripts.LEAVE, key)

    def waits(self) -> None:
        """A copy waits that may be due soon."""
        self._due.set()

    async def _join(self, pipe: Pipe, key: str) -> None:
        try:
            await pipe("EVAL", scripts.JOIN, 1, key, self._service.service)
        except ResponseError as error:
            raise UsageError(f"Redis cannot keep events under the key {key!r}: {error}") from error

    async def _eval(self, script: str, key: str, *arguments: Any) -> Any:
        assert self._pipe is not None
        return await self._pipe("EVAL", script, 1, key, *self._who, *arguments)

    async def _fetch(self, connection: Any) -> None:
        """Fetch new entries, as many as there is room for."""
        keys = [*self._keys]
        try:
            while not self._stopping:
                if self.held.room <= 0:
                    self.held.changed.clear()
                    await self.held.changed.wait()
                    continue
                count = max(1, self.held.room // len(keys))  # of each stream
                await connection.send_command(
                    "XREADGROUP", "GROUP", *self._who, "COUNT", count, "BLOCK", round(BLOCK * 1000),
                    "STREAMS", *keys, *[">"] * len(keys),
                )  # fmt: skip
                for key, entries in await connection.read_response(timeout=BLOCK + SILENCE) or ():
                    for number, fields in entries:
                        self._take(Entry(key.decode(), number, 1), fields)
        except Exception as error:
            self._lost(error)

    def _take(self, entry: Entry, fields: list[bytes]) -> None:
        self.held.take(self._make(self._keys[entry.key], entry, fields))

    async def _look_after(self, pipe: Pipe) -> None:
        """Move copies that are due. Once a round: say that we live, and take over what silent replicas hold."""
        following = 0.0
        try:
            while True:
                self._due.clear()
                moves = (
                    pipe("EVAL", scripts.MOVE, 2, later(self._service, route), key) for key, route in self._own.items()
                )
                left = [ms / 1000 for ms in await asyncio.gather(*moves) if ms >= 0]
                if time.monotonic() >= following:
                    await self._round()
                    following = time.monotonic() + self._period
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min([self._period, *left])):
                        await self._due.wait()
        except (ConnectionLost, ResponseError) as error:
            self._lost(error)

    async def _round(self) -> None:
        for key in self._keys:
            ours = {one.entry.id: one for one in self.held if one.entry.key == key}
            for number in await self._eval(scripts.BEAT, key, *ours) if ours else ():
                ours[number].gone = True  # another replica took it while this one was silent
                self.held.settled(ours[number])
            if not self._stopping and self.held.room > 0:
                await self._take_over(key)
        if time.monotonic() - self._tidied > TIDY:
            self._tidied = time.monotonic()
            for key in self._keys:
                kept = 0 if key in self._own else round(KEPT * 1000)
                await self._eval(scripts.TIDY, key, round((GONE + self._service.ack_wait) * 1000), kept)

    async def _take_over(self, key: str) -> None:
        suspects = sum(one.entry.count > 2 for one in self.held)
        silence = round(self._service.ack_wait * 1000)
        for number, fields, count in await self._eval(scripts.CLAIM, key, silence, self.held.room, suspects):
            self._take(Entry(key, number, count), fields)


def again(service: Durable, route: str) -> str:
    """The stream that only this service reads."""
    return f"again:{quote(service.service, safe='')}:{route}"


def later(service: Durable, route: str) -> str:
    """Where copies wait for their next attempt."""
    return f"later:{quote(service.service, safe='')}:{route}"
