"""Redis publish/subscribe: a channel per route, replies on `<route>.reply`.

Guarantee: at most once. Redis hands a message to whoever listens at that moment and forgets it; nobody listening
means that it is gone. Every replica of a service gets every message. Redis says how many listened, so a request
that nobody heard fails at once.

Two connections, as pub/sub needs: one that listens, one that publishes (gathered, a pipeline a turn of the loop).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError

from ..errors import PatternError
from ..options import Options
from .base import Capabilities, Deliver, Delivery, log
from .broker import Batcher, BrokerTransport
from .redis_limits import Limit, limit_of

__all__ = ["RedisTransport"]

REPLY = b".reply"


class RedisDelivery(Delivery):
    __slots__ = ("_transport",)

    def __init__(self, transport: RedisTransport, route: bytes, channel: bytes, body: bytes) -> None:
        super().__init__(body, _text(route), address=_text(channel))
        self._transport = transport

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()

    def reply(self, packet: bytes) -> None:
        assert self.address is not None
        self._transport.send(self.address.encode() + REPLY, packet)


class RedisTransport(BrokerTransport):
    """`redis://[user:password@]host:port`. Publish/subscribe knows no databases: every one shares the channels."""

    name = "Redis"
    default_port = 6379
    capabilities = Capabilities(wildcards=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        # RESP2, where a published message is an ordinary array; no retries by the driver: `_keep` reconnects
        self._pool: Any = ConnectionPool.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0))
        self._listener: Any = None
        self._publisher: Any = None
        self._limit = Limit()
        self._reader: asyncio.Task[None] | None = None
        self._ended_by: Exception | None = None  # what ended the reading
        self._deliver: Deliver | None = None
        self._channels: set[bytes] = set()  # what to listen to, restored after a reconnect
        self._listening: dict[bytes, asyncio.Event] = {}  # set once Redis has confirmed the subscription
        self._out: Batcher[tuple[bytes, bytes, str | None]] = Batcher(self._publish_all)

    async def _open(self) -> None:
        self._listener, self._publisher = self._connection(), self._connection()
        await self._publisher.connect()
        self._limit = await limit_of(self._publisher)
        await self._listener.connect()
        self._ended_by = None
        self._reader = asyncio.create_task(self._read(self._listener), name="postoffice Redis reader")
        self._listening = {channel: asyncio.Event() for channel in self._channels}
        if self._channels:
            await self._listener.send_command("PSUBSCRIBE" if self.wildcards else "SUBSCRIBE", *self._channels)
        await self._standing(self._reader)

    async def _standing(self, reader: asyncio.Task[None]) -> None:
        """Wait until Redis has confirmed every subscription. Raises PatternError when this user may not subscribe."""

        async def confirm() -> None:
            for one in list(self._listening.values()):
                await one.wait()

        confirmed = asyncio.create_task(confirm())
        try:
            await asyncio.wait({confirmed, reader}, return_when=asyncio.FIRST_COMPLETED)
            if isinstance(self._ended_by, NoPermissionError):
                if self._deliver is None:
                    self._channels.clear()  # of replies; the client is of use for other patterns
                raise PatternError(f"Redis refuses a subscription: {self._ended_by}. May this user subscribe there?")
            if not confirmed.done():
                raise ConnectionError("the connection broke") from self._ended_by
        finally:
            confirmed.cancel()

    def _refuses(self, error: Exception) -> bool:
        return isinstance(error, AuthenticationError)

    def _connection(self) -> Any:
        connection = self._pool.make_connection()
        if self.secure:  # our own context: the driver's says less when it refuses
            connection.ssl_context.context = self.tls.for_client()
        return connection

    async def _shut(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        for connection in (self._listener, self._publisher):
            if connection is not None:
                await connection.disconnect(nowait=True)

    async def _flush(self) -> None:
        await self._out.drain()

    async def _read(self, listener: Any) -> None:
        """Hand on what is published, and note which subscriptions stand."""
        try:
            while True:
                match await listener.read_response(timeout=math.inf):
                    case [b"message", channel, body]:
                        self._received(channel, channel, body)
                    case [b"pmessage", pattern, channel, body]:
                        if not channel.endswith(REPLY):  # a wide pattern also matches reply channels
                            self._received(pattern, channel, body)
                    case [b"subscribe" | b"psubscribe", channel, _]:
                        self._listening.setdefault(channel, asyncio.Event()).set()
        except Exception as error:
            self._ended_by = error
            self._lose(error)

    def _received(self, route: bytes, channel: bytes, body: bytes) -> None:
        if self._deliver is not None:
            self._deliver(RedisDelivery(self, route, channel, body))
        elif self.replies is not None:
            self.replies.on_reply(body)

    # as a client

    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        channel = route.encode()
        self._limit.check(packet)
        listening = self._listening.get(channel + REPLY)
        if self._up.is_set() and listening is not None and listening.is_set():
            return self._out.put((channel, packet, request_id))
        return self._request_when_listening(channel, packet, request_id)

    async def _request_when_listening(self, channel: bytes, packet: bytes, request_id: str) -> None:
        """The first request of a route waits until its reply channel stands; the channel stays open from then on."""
        await self._ready()
        reply = channel + REPLY
        self._channels.add(reply)
        if reply not in self._listening:
            self._listening[reply] = asyncio.Event()
            await self._listener.send_command("SUBSCRIBE", reply)
        await self._listening[reply].wait()
        self._out.add((channel, packet, request_id))

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        self._limit.check(packet)
        if self._up.is_set():
            return self._out.put((route.encode(), packet, None))
        return self._publish_when_up(route, packet)

    async def _publish_when_up(self, route: str, packet: bytes) -> None:
        await self._ready()
        self.send(route.encode(), packet)

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._deliver = deliver
        self._channels.update(route.encode() for route in routes)
        await self.connect()

    async def unsubscribe(self) -> None:
        self._channels.clear()
        if self._up.is_set():
            await self._listener.send_command("PUNSUBSCRIBE" if self.wildcards else "UNSUBSCRIBE")

    def send(self, channel: bytes, body: bytes) -> None:
        """Publish with the next batch; a reply's caller may be gone, so nobody is told. Raises PayloadError."""
        self._limit.check(body)
        self._out.add((channel, body, None))

    async def _publish_all(self, items: list[tuple[bytes, bytes, str | None]]) -> None:
        """One pipeline: all commands out, then all answers in. Each answer says how many heard the message."""
        publisher = self._publisher
        try:
            await publisher.send_packed_command(
                publisher.pack_commands([(b"PUBLISH", channel, body) for channel, body, _ in items]), check_health=False
            )
            for _, _, request_id in items:
                try:
                    heard = await publisher.read_response(timeout=math.inf)
                except NoPermissionError as error:
                    log.error("Redis refuses a message from this user: %s", error)
                    continue
                if heard == 0 and request_id is not None and self.replies is not None:
                    self.replies.on_nobody(request_id, "no service listens to that Redis channel")
        except Exception as error:
            self._lose(error)
            raise


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
