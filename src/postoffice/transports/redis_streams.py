"""Redis Streams: events at least once. A stream per pattern, a group per service, which its replicas share.

Guarantee: `emit` returns once Redis has the entry; a service acknowledges it after its handlers have finished. What a
replica holds that dies, or falls silent for `ack_wait`, goes to another one, so work may be done twice. A failed
event becomes a copy that waits, or a dead letter, in the same step that acknowledges it: never both, never none.
What was under way beside an event that kills its service is not blamed: from the third delivery on, suspects are taken
over one at a time.
Redis itself forgets in a crash what it has not written: with its default snapshots everything since the last one,
with `appendfsync everysec` up to a second when the power fails, with `always` nothing.

Requests stay on publish/subscribe, and a service hears the events that are published, as a NestJS client does it:
those at most once, by every replica that listens at that moment; one that fails is kept from then on. The name of a
stream is exact, so patterns have no wildcards here. An event at least once goes to those services that have an
@event_pattern for it: the first one that was ever started gets what waits already, a later one what comes from then on.

    events:<pattern>           what is emitted, for every service; settled entries stay a day
    again:<service>:<pattern>  retried and requeued entries, for this service only
    later:<service>:<pattern>  copies that wait for their next attempt
    dead:<queue>               dead letters
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from ..durable import History
from ..errors import ConnectError, ConnectionLost
from ..options import Options
from . import redis_scripts as scripts
from .base import Capabilities, Deliver, log
from .redis import RedisTransport
from .redis_consumer import Consumer, again, later
from .redis_delivery import Entry, EntryDelivery, KeptDelivery, PublishedDelivery, copied, header_text, read_fields
from .redis_pipe import Pipe, ResponseError

__all__ = ["RedisStreamsTransport"]

AGAIN = 0.05  # seconds until an acknowledgement is sent once more, on a new connection


class RedisStreamsTransport(RedisTransport):
    """`redis://[user:password@]host:port[/database]`."""

    name = "Redis Streams"
    capabilities = Capabilities(acks=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._consumer: Consumer | None = None
        self._pipe: Pipe | None = None
        self._blocking: Any = None

    async def _open(self) -> None:
        await super()._open()
        connection = self._connection()
        await connection.connect()
        self._pipe = Pipe(connection, self._lose)
        if self._consumer is not None:
            self._blocking = self._connection()
            await self._blocking.connect()
            await self._consumer.start(self._pipe, self._blocking)

    async def _shut(self) -> None:
        if self._consumer is not None:
            await self._consumer.cancel()
        if self._blocking is not None:
            await self._blocking.disconnect(nowait=True)
        if self._pipe is not None:
            await self._pipe.close()
        await super()._shut()

    async def _flush(self) -> None:
        await super()._flush()
        if self._consumer is not None:
            await self._consumer.leave()

    async def ask(self, *command: Any) -> Any:
        """The answer to a command, once there is a connection. Raises ConnectError, ConnectionLost, ResponseError."""
        await self._ready()
        assert self._pipe is not None
        return await self._pipe(*command)

    # as a client

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        return self._store(route, packet, headers or {})

    async def _store(self, route: str, packet: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self.ask("XADD", f"events:{route}", "*", "body", packet, "headers", header_text(headers))
        except ResponseError as error:
            raise ConnectError(f"Redis refused the event {route!r}: {error}. It was not stored.") from error

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        if self.durable is not None and self.durable.events:
            self._consumer = Consumer(self.durable, self.prefetch, deliver, self._delivery, self._lose)
        await super().subscribe(routes, deliver)

    async def unsubscribe(self) -> None:
        await super().unsubscribe()
        if self._consumer is not None and self._up.is_set():
            try:
                await self._consumer.stop_fetching()
            except ConnectionLost as error:
                log.warning("what was fetched and not begun goes to other replicas after ack_wait (%s)", error)

    def _delivery(self, route: str, entry: Entry, fields: list[bytes]) -> EntryDelivery:
        return EntryDelivery(self, route, entry, *read_fields(fields))

    def _received(self, route: bytes, channel: bytes, body: bytes) -> None:
        if self._deliver is not None:
            self._deliver(PublishedDelivery(self, route, channel, body))
        else:
            super()._received(route, channel, body)

    def source(self, route: str | None) -> str:
        """The stream that takes an event back; "" where this service reads none of this pattern."""
        return again(self.durable, route) if self.durable and route in self.durable.events else ""

    def dead(self, queue: str) -> str:
        """The stream of a dead-letter queue."""
        return f"dead:{queue}"

    async def ack(self, delivery: EntryDelivery) -> None:
        """Acknowledge an entry, on the next connection where this one breaks."""
        assert self.durable is not None
        while True:
            try:
                await self.ask("XACK", delivery.entry.key, self.durable.service, delivery.entry.id)
                break
            except ConnectionLost:
                await asyncio.sleep(AGAIN)
            except (ConnectError, ResponseError) as error:
                log.warning("a message was done but could not be acknowledged (%s); it will come again", error)
                break
        self._settled(delivery)

    async def retry(self, delivery: KeptDelivery, after: float, history: History) -> None:
        """A copy waits that long; the entry is settled."""
        assert self._consumer is not None
        assert self.durable is not None
        assert delivery.route is not None
        waiting = later(self.durable, delivery.route)
        await self._copy(scripts.RETRY, delivery, waiting, history, round(after * 1000), secrets.token_hex(8))
        self._consumer.waits()

    async def bury(self, delivery: KeptDelivery, queue: str, history: History) -> None:
        """A copy among the dead letters; the entry is settled."""
        await self._copy(scripts.BURY, delivery, self.dead(queue), history)

    async def _copy(self, script: str, delivery: KeptDelivery, to: str, history: History, *arguments: Any) -> None:
        assert self.durable is not None
        entry = delivery.entry
        keys = (entry.key if entry else to, to)
        what = (self.durable.service, entry.id if entry else "")
        copy = (delivery.body, copied(delivery.headers, history))
        try:
            await self.ask("EVAL", script, 2, *keys, *what, *copy, *arguments)
        except ResponseError as error:
            raise ConnectError(f"Redis refused to store a failed event in {to!r}: {error}") from error
        if isinstance(delivery, EntryDelivery):
            self._settled(delivery)

    def _settled(self, delivery: EntryDelivery) -> None:
        assert self._consumer is not None
        delivery.settled = True
        self._consumer.held.settled(delivery)
