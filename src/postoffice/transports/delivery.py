"""What a transport hands to a service: one message, which knows how it is answered and how it is settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar

from ..durable import MESSAGE_ID, History, read_history

__all__ = ["Call", "Delivery"]

log = logging.getLogger("postoffice")


class Delivery:
    """One message, as it reached a service.

    Attributes:
        route: the pattern of the handler it is for, or None where only the pattern inside the body tells.
        address: where it was really sent, where the route has wildcards.
        body: the packet, as it came. headers: the transport's own. correlation_id: the message's own, if it has one.
        message_id: its identity, where known. history: what is known of earlier failures.
        attempt: how often it was delivered, this time included, as far as the broker or its history know.
    """

    __slots__ = ("address", "attempt", "body", "correlation_id", "headers", "history", "message_id", "route")

    def __init__(
        self,
        body: bytes,
        route: str | None = None,
        headers: Mapping[str, Any] | None = None,
        attempt: int = 1,
        correlation_id: str | None = None,
        address: str | None = None,
        message_id: str | None = None,
    ) -> None:
        self.headers: Mapping[str, Any] = headers or {}
        history = self.history = read_history(self.headers)
        self.body = body
        self.route = route if history is None else history.route or route
        self.address = (address or route) if history is None else history.pattern or address or route
        self.attempt = attempt if history is None else attempt + history.attempts
        self.correlation_id = correlation_id
        self.message_id: str | None = history.id if history else message_id or self.headers.get(MESSAGE_ID)

    reply_has_id: ClassVar[bool] = True
    """Whether reply packets carry the request's id (RabbitMQ's do not)."""

    text_is_data: ClassVar[bool] = True
    """Whether a body that is no JSON is an event's data, as text (NestJS drops it on NATS)."""

    @property
    def raw(self) -> bytes:
        """The message's body as it came, where the packet was made from it (Kafka)."""
        return self.body

    def reply(self, packet: bytes) -> None:
        """Send a reply packet, buffered, in order. At most once: a caller that is gone gets nothing."""
        raise NotImplementedError

    def room(self) -> Awaitable[None] | None:
        """Something to await while replies pile up faster than they are taken; a stream waits for it."""
        return None

    async def ack(self) -> None:
        """Say that the work is done, so that it is not delivered again. Nothing to do without acks."""

    async def retry(self, after: float, history: History) -> None:
        """Have it delivered again in `after` seconds, one of the delays asked for, with this history.

        The later copy is stored when this returns; `ack` comes next, and has nothing to do where both are one step.
        A crash between leaves two copies, never none. Raises PostOfficeError: it is not known to be stored.
        """
        raise NotImplementedError

    async def dead_letter(self, queue: str, history: History) -> None:
        """Store a copy in this dead-letter queue, like `retry`."""
        raise NotImplementedError

    @property
    def taken_back(self) -> bool:
        """Whether the broker gives it to somebody again anyway, since the connection it came by is gone."""
        return False

    @property
    def source(self) -> str:
        """Where a requeued copy has to be sent: the queue, stream, subject or topic that this one came from."""
        return self.route or ""

    def malformed(self, reason: str) -> None:
        """What came is no packet: it is logged. A stream of bytes that lost its framing closes; a broker goes on."""
        log.error("a message was dropped: %s", reason)


class Call(Delivery):
    """A call with values instead of packets, and a status at its end (gRPC).

    Attributes:
        data: a dict, or an async iterator of dicts. deadline: when the caller gives up, in the event loop's time.
        task: the work, once it has begun; to be cancelled when the caller has gone.
    """

    __slots__ = ("data", "deadline", "task")

    def __init__(
        self, route: str, data: Any, headers: Mapping[str, Any] | None = None, deadline: float | None = None
    ) -> None:
        super().__init__(b"", route, headers)
        self.data = data
        self.deadline = deadline
        self.task: asyncio.Task[None] | None = None

    async def value(self, value: Any) -> None:
        """Send the reply, or the next one of a stream."""
        raise NotImplementedError

    def end(self, error: Any = None) -> None:
        """Once, after the last value. `error`: what the caller is told, as in an RpcError."""
        raise NotImplementedError
