"""RabbitMQ: a queue per service, its replicas share it; replies by direct reply-to.

Guarantee: events at most once, or at least once where asked for: the sender's event is persistent and confirmed, and
the service acknowledges it after the handler has finished. A service that dies before gives it back to the queue,
so the work may be done twice. Requests are at most once either way.

Every pattern of a service comes through its one queue, so the handler is found by the pattern inside the body. The
hot path uses aiormq, the protocol library under aio-pika; reconnecting is `BrokerTransport`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError, ChannelPreconditionFailed, PublishError
from aiormq.exceptions import DeliveryError as NotStored
from pamqp.commands import Basic

from ..errors import ConnectError, ConnectionLost, NoHandlerError, UsageError
from .base import Capabilities, Deliver, Delivery, log
from .broker import Batcher, BrokerTransport
from .rabbitmq_keys import checked_key, matcher

__all__ = ["RabbitTransport"]

Item: TypeAlias = tuple[str, str, bytes, Basic.Properties]  # exchange, routing key, body, properties
REPLY_TO = "amq.rabbitmq.reply-to"  # a pseudo-queue: the broker brings replies straight to this channel
CLOSED = (aiormq.AMQPError, ConnectionError, RuntimeError)  # what a driver call raises when the channel is gone

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs each failed attempt; we report them once, by error


class RabbitDelivery(Delivery):
    __slots__ = ("_message", "_must_settle", "_transport")
    reply_has_id: ClassVar[bool] = False

    def __init__(self, transport: RabbitTransport, message: DeliveredMessage, route: str | None) -> None:
        properties = message.header.properties
        super().__init__(
            bytes(message.body),
            route,
            address=message.routing_key if route is not None else None,
            headers=properties.headers,
            attempt=2 if message.redelivered else 1,
            correlation_id=properties.correlation_id,
        )
        self._transport = transport
        self._message = message
        self._must_settle = transport.durable

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()

    def reply(self, packet: bytes) -> None:
        reply_to = self._message.header.properties.reply_to
        if reply_to:
            self._transport.send(reply_to, packet, Basic.Properties(correlation_id=self.correlation_id, headers={}))

    async def ack(self) -> None:
        await self._settle(accept=True)

    async def reject(self) -> None:
        """Dead-lettered by the broker where the queue says so, dropped otherwise."""
        await self._settle(accept=False)

    async def _settle(self, accept: bool) -> None:
        if not self._must_settle:
            return
        self._must_settle = False
        channel, tag = self._message.channel, self._message.delivery_tag
        assert tag is not None
        try:
            await (channel.basic_ack(tag) if accept else channel.basic_nack(tag, requeue=False))
        except CLOSED as error:  # the broker has taken the message back already and delivers it again
            log.warning("a message was done but could not be acknowledged (%s); it will come again", error)


class RabbitTransport(BrokerTransport):
    """`amqp://user:password@host:port/vhost`."""

    name = "RabbitMQ"
    default_port = 5672
    capabilities = Capabilities(acks=True, headers=True, queues=True, exchanges=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._connection: AbstractConnection | None = None
        self._channel: Any = None  # requests and replies, not confirmed
        self._confirmed: AbstractChannel | None = None  # events that must be stored
        self._deliver: Deliver | None = None
        self._tag: str | None = None
        self._routes: dict[str, re.Pattern[str]] = {}  # binding keys, and what they match
        self._out: Batcher[Item] = Batcher(self._publish_all)

    async def _open(self) -> None:
        connection = self._connection = await aiormq.connect(
            self.url, context=self.tls.for_client() if self.secure else None
        )
        self._watch(connection, connection)
        # to an exchange, requests are confirmed too: that is how the broker tells that no queue is bound
        confirms = self.exchange is not None and self._deliver is None
        channel = self._channel = await connection.channel(publisher_confirms=confirms)
        self._watch(channel, connection)
        try:
            await self._declare(channel)
        except ChannelPreconditionFailed as error:
            raise UsageError(
                f"{self.queue or self.exchange!r} exists already with other properties: {error}."
                " Both sides must declare it alike (durable, no arguments). Delete it, or use another name."
            ) from error
        if self._deliver is None:
            await channel.basic_consume(REPLY_TO, self._reply_received, no_ack=True)
            if self.durable:
                self._confirmed = await connection.channel(publisher_confirms=True)
                self._watch(self._confirmed, connection)
        else:
            await channel.basic_qos(prefetch_count=self.prefetch if self.durable else 0)
            consuming = await channel.basic_consume(self.queue or "", self._received, no_ack=not self.durable)
            self._tag = consuming.consumer_tag

    async def _declare(self, channel: AbstractChannel) -> None:
        """What both sides need; declaring what is there already changes nothing."""
        if self.exchange is not None:
            await channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        if self.queue is not None:
            await channel.queue_declare(self.queue, durable=True)
            for route in self._routes:
                await channel.queue_bind(self.queue, self.exchange or "", route)

    def _watch(self, part: AbstractConnection | AbstractChannel, connection: AbstractConnection) -> None:
        """A closed channel is as bad as a closed connection: everything is opened again."""

        def closed(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if connection is self._connection:
                self._lose(error)

        part.closing.add_done_callback(closed)

    async def _shut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _flush(self) -> None:
        await self._out.drain()

    # as a client

    def request(
        self, route: str, packet: bytes, request_id: str, headers: Mapping[str, str] | None
    ) -> Awaitable[None] | None:
        properties = self._properties(headers, request_id, correlation_id=request_id, reply_to=REPLY_TO)
        if self.exchange is not None:
            return self._request_of_exchange(checked_key(route), packet, properties)
        return self._put(route, packet, properties)

    async def _request_of_exchange(self, key: str, packet: bytes, properties: Basic.Properties) -> None:
        await self._ready()
        try:
            await self._channel.basic_publish(
                packet, exchange=self.exchange, routing_key=key, properties=properties, mandatory=True
            )
        except PublishError:
            if self.replies is not None and properties.correlation_id is not None:
                reason = f"no queue is bound to the exchange {self.exchange!r} by a pattern that matches"
                self.replies.on_nobody(properties.correlation_id, reason)

    def publish(self, route: str, packet: bytes, headers: Mapping[str, str] | None) -> Awaitable[None] | None:
        properties = self._properties(headers, secrets.token_hex(10))
        if self.durable:
            return self._store(route, packet, properties)
        return self._put(route, packet, properties)

    def _properties(self, headers: Mapping[str, str] | None, message_id: str, **more: Any) -> Basic.Properties:
        mode = 2 if self.durable else 1  # 2: written to disk
        return Basic.Properties(headers=dict(headers or {}), delivery_mode=mode, message_id=message_id, **more)

    def _address(self, route: str) -> tuple[str, str]:
        """The exchange and routing key of a message: to the queue by its name, or to the exchange by its pattern."""
        return (self.exchange, checked_key(route)) if self.exchange is not None else ("", self.queue or "")

    def _put(self, route: str, packet: bytes, properties: Basic.Properties) -> Awaitable[None] | None:
        item = (*self._address(route), packet, properties)
        return self._out.put(item) if self._up.is_set() else self._put_when_up(item)

    async def _put_when_up(self, item: Item) -> None:
        await self._ready()
        self._out.add(item)

    async def _store(self, route: str, packet: bytes, properties: Basic.Properties) -> None:
        """Publish, and wait until the broker has confirmed that it has stored the message."""
        exchange, key = self._address(route)
        await self._ready()
        assert self._confirmed is not None
        try:
            await self._confirmed.basic_publish(
                packet, exchange=exchange, routing_key=key, properties=properties, mandatory=True
            )
        except PublishError as error:
            why = "no service that wants it was ever started" if exchange else f"the queue {key!r} is gone"
            raise NoHandlerError(f"nobody takes {route!r}: {why}. The event was not stored.") from error
        except NotStored as error:
            raise ConnectError(f"RabbitMQ refused the event {route!r}: {error}. It was not stored.") from error
        except CLOSED as error:
            raise ConnectionLost(
                f"the connection to RabbitMQ broke before it had confirmed the event ({error})."
                " It may be stored or not: sending it again may store it twice."
            ) from error

    async def _reply_received(self, message: DeliveredMessage) -> None:
        if self.replies is not None:
            self.replies.on_reply(bytes(message.body), message.header.properties.correlation_id)

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        """Consume the queue. It holds the messages of every pattern; an exchange also sends it what `routes` match."""
        self._routes = {checked_key(route): matcher(route) for route in routes} if self.exchange is not None else {}
        self._deliver = deliver
        await self.connect()

    async def _received(self, message: DeliveredMessage) -> None:
        assert self._deliver is not None
        self._deliver(RabbitDelivery(self, message, self._route(message)))

    def _route(self, message: DeliveredMessage) -> str | None:
        """The binding that a message came by, exact ones first; None: it was sent to the queue itself."""
        key = message.routing_key or ""
        if not message.exchange:
            return None
        return (
            key if key in self._routes else next((one for one, fits in self._routes.items() if fits.match(key)), None)
        )

    async def unsubscribe(self) -> None:
        if self._up.is_set() and self._channel is not None and self._tag is not None:
            with contextlib.suppress(*CLOSED, ChannelInvalidStateError):
                await self._channel.basic_cancel(self._tag)
            await asyncio.sleep(0)  # what the driver had received is handed over in its next step

    def send(self, queue: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish with the next batch."""
        self._out.add(("", queue, body, properties))

    async def _publish_all(self, items: list[Item]) -> None:
        channel = self._channel
        assert channel is not None
        for exchange, key, body, properties in items:
            await channel.basic_publish(body, exchange=exchange, routing_key=key, properties=properties, wait=False)
