"""RabbitMQ: a queue per service, its replicas share it; replies by direct reply-to.

Guarantee: events at most once, or at least once where asked for: the sender's event is persistent and confirmed, and
the service acknowledges it after the handler has finished. A service that dies before gives it back to the queue,
so the work may be done twice. An event that failed is stored once more, confirmed, before it is acknowledged: in a
queue a delay, whose messages expire back into the service's, or among the dead letters. Requests are at most once.

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
from typing import Any, TypeAlias

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import (
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.exceptions import DeliveryError as NotStored
from pamqp.commands import Basic

from ..durable import MESSAGE_ID, Durable, History
from ..errors import ConnectError, ConnectionLost, NoHandlerError, UsageError
from ..options import RABBITMQ, Options
from .base import Capabilities, Deliver, log
from .broker import Batcher, BrokerTransport
from .rabbitmq_delivery import CLOSED, RabbitDelivery
from .rabbitmq_limits import check_size, default_limit, named_limit
from .rabbitmq_properties import copied_properties, new_properties
from .rabbitmq_queues import checked_key, delay_arguments, delay_queue, exists, matcher, queue_arguments

__all__ = ["RabbitTransport"]

Item: TypeAlias = tuple[str, str, bytes, Basic.Properties]  # exchange, routing key, body, properties
REPLY_TO = "amq.rabbitmq.reply-to"  # a pseudo-queue: the broker brings replies straight to this channel

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs each failed attempt; we report them once, by error


class RabbitTransport(BrokerTransport):
    """`amqp://user:password@host:port/vhost`."""

    name = "RabbitMQ"
    default_port = 5672
    capabilities = Capabilities(acks=True, headers=True, queues=True, exchanges=True, options=RABBITMQ)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._connection: AbstractConnection | None = None
        self._channel: Any = None  # requests and replies, not confirmed
        self._confirmed: AbstractChannel | None = None  # what must be stored: events, and copies of failed ones
        self._deliver: Deliver | None = None
        self._tag: str | None = None
        self._limit = 0  # bytes of a message, once there is a connection
        self._named_limit: int | None = None  # the same, where the server has told it
        self._routes: dict[str, re.Pattern[str]] = {}  # binding keys, and what they match
        self._out: Batcher[Item] = Batcher(self._publish_all)

    async def _open(self) -> None:
        connection = self._connection = await aiormq.connect(
            self.url, context=self.tls.for_client() if self.secure else None
        )
        self._limit = self._named_limit or default_limit(connection.server_properties or {})
        self._watch(connection, connection)
        # to an exchange, requests are confirmed too: that is how the broker tells that no queue is bound
        confirms = self.exchange is not None and self._deliver is None
        channel = self._channel = await connection.channel(publisher_confirms=confirms)
        self._watch(channel, connection)
        try:
            await self._declare(channel, connection)
        except ChannelPreconditionFailed as error:
            raise UsageError(
                f"{self.queue or self.exchange!r} exists already with other properties, and keeps those that it was"
                " made with (durable, quorum or not). Use another name, or delete it, with all that is in it."
                f" RabbitMQ says: {error}"
            ) from error
        if self._deliver is None:
            await channel.basic_consume(REPLY_TO, self._reply_received, no_ack=True)
        if self.durable:
            self._confirmed = await connection.channel(publisher_confirms=True)
            self._watch(self._confirmed, connection)
        if self._deliver is not None:
            await channel.basic_qos(prefetch_count=self.prefetch if self.durable else 0)
            consuming = await channel.basic_consume(self.queue or "", self._received, no_ack=not self.durable)
            self._tag = consuming.consumer_tag

    def _refuses(self, error: Exception) -> bool:
        return isinstance(error, ProbableAuthenticationError)

    async def _declare(self, channel: AbstractChannel, connection: AbstractConnection) -> None:
        """What this side needs; declaring what is there already changes nothing."""
        if self.exchange is not None:
            await channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        if self.queue is None:
            return
        if self._deliver is None:
            if await exists(connection, self.queue):
                return  # its service knows how it wants it
            log.warning("the queue %r is new. Is it the name of a service? Who else should read it?", self.queue)
        service = self.durable if self._deliver is not None else None
        await channel.queue_declare(self.queue, durable=True, arguments=queue_arguments(service))
        for route in self._routes:
            await channel.queue_bind(self.queue, self.exchange or "", route)
        if service is not None:
            await self._declare_copies(channel, service)

    async def _declare_copies(self, channel: AbstractChannel, service: Durable) -> None:
        """The queues of copies: one a delay, whose messages expire back into the service's, and the dead letters."""
        assert self.queue is not None
        for delay in service.delays:
            await channel.queue_declare(
                delay_queue(self.queue, delay), durable=True, arguments=delay_arguments(self.queue, delay)
            )
        for queue in service.dead:
            await channel.queue_declare(queue, durable=True)

    def _watch(self, part: AbstractConnection | AbstractChannel, connection: AbstractConnection) -> None:
        """A closed channel is as bad as a closed connection: everything is opened again."""

        def closed(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            self._named_limit = named_limit(error) or self._named_limit
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
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        made = new_properties(
            headers, request_id, self.durable is not None, options, correlation_id=request_id, reply_to=REPLY_TO
        )
        if self.exchange is not None:
            return self._request_of_exchange(checked_key(route), packet, made)
        return self._put(route, packet, made)

    async def _request_of_exchange(self, key: str, packet: bytes, properties: Basic.Properties) -> None:
        await self._ready()
        check_size(packet, self._limit)
        try:
            await self._channel.basic_publish(
                packet, exchange=self.exchange, routing_key=key, properties=properties, mandatory=True
            )
        except PublishError:
            if self.replies is not None and properties.correlation_id is not None:
                reason = f"no queue is bound to the exchange {self.exchange!r} by a pattern that matches"
                self.replies.on_nobody(properties.correlation_id, reason)

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        identity = (headers or {}).get(MESSAGE_ID) or secrets.token_hex(10)
        made = new_properties(headers, identity, self.durable is not None, options)
        if self.durable:
            return self._store(route, packet, made)
        return self._put(route, packet, made)

    def _address(self, route: str) -> tuple[str, str]:
        """The exchange and routing key of a message: to the queue by its name, or to the exchange by its pattern."""
        return (self.exchange, checked_key(route)) if self.exchange is not None else ("", self.queue or "")

    def _put(self, route: str, packet: bytes, properties: Basic.Properties) -> Awaitable[None] | None:
        item = (*self._address(route), packet, properties)
        if not self._up.is_set():
            return self._put_when_up(item)
        check_size(packet, self._limit)
        return self._out.put(item)

    async def _put_when_up(self, item: Item) -> None:
        await self._ready()
        check_size(item[2], self._limit)
        self._out.add(item)

    async def _store(self, route: str, packet: bytes, properties: Basic.Properties) -> None:
        """Publish, and wait until the broker has confirmed that it has stored the message."""
        exchange, key = self._address(route)
        why = "no service that wants it was ever started" if exchange else f"the queue {key!r} is gone"
        await self._ready()
        check_size(packet, self._limit)
        await self._confirm(exchange, key, packet, properties, f"the event {route!r}", why)

    async def store_copy(self, queue: str, message: DeliveredMessage, history: History) -> None:
        """Store a failed message in another queue: as it was, with its history, persistent and confirmed."""
        made = copied_properties(message.header.properties, history)
        await self._ready()
        await self._confirm("", queue, bytes(message.body), made, "a failed event", f"{queue!r} was deleted")

    async def _confirm(
        self, exchange: str, key: str, body: bytes, properties: Basic.Properties, what: str, why: str
    ) -> None:
        assert self._confirmed is not None
        try:
            await self._confirmed.basic_publish(
                body, exchange=exchange, routing_key=key, properties=properties, mandatory=True
            )
        except PublishError as error:
            raise NoHandlerError(f"nobody takes {what}: {why}. It was not stored.") from error
        except NotStored as error:
            raise ConnectError(f"RabbitMQ refused {what}: {error}. It was not stored.") from error
        except CLOSED as error:
            raise ConnectionLost(
                f"the connection to RabbitMQ broke before it had confirmed {what} ({error})."
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
        """Publish with the next batch. Raises PayloadError."""
        check_size(body, self._limit)
        self._out.add(("", queue, body, properties))

    async def _publish_all(self, items: list[Item]) -> None:
        channel = self._channel
        assert channel is not None
        for exchange, key, body, properties in items:
            await channel.basic_publish(body, exchange=exchange, routing_key=key, properties=properties, wait=False)
