"""A message of RabbitMQ, as a service gets it: acknowledged by hand, and stored once more when it failed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, ClassVar

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from ..durable import History
from .base import log
from .delivery import Delivery
from .rabbitmq_queues import delay_queue

if TYPE_CHECKING:
    from .rabbitmq import RabbitTransport

__all__ = ["CLOSED", "RabbitDelivery"]

CLOSED = (aiormq.AMQPError, ConnectionError, RuntimeError)  # what a driver call raises when the channel is gone


class RabbitDelivery(Delivery):
    __slots__ = ("_message", "_must_settle", "_transport")
    reply_has_id: ClassVar[bool] = False

    def __init__(self, transport: RabbitTransport, message: DeliveredMessage, route: str | None) -> None:
        properties = message.header.properties
        headers = properties.headers or {}
        counted = headers.get("x-delivery-count")  # a quorum queue counts; a classic one knows "before" only
        super().__init__(
            bytes(message.body),
            route,
            address=message.routing_key if route is not None else None,
            headers=headers,
            attempt=int(str(counted)) + 1 if counted is not None else 2 if message.redelivered else 1,
            correlation_id=properties.correlation_id,
            message_id=properties.message_id,
        )
        self._transport = transport
        self._message = message
        self._must_settle = transport.durable is not None

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()

    def reply(self, packet: bytes) -> None:
        reply_to = self._message.header.properties.reply_to
        if reply_to:
            self._transport.send(reply_to, packet, Basic.Properties(correlation_id=self.correlation_id, headers={}))

    async def ack(self) -> None:
        if not self._must_settle:
            return
        self._must_settle = False
        tag = self._message.delivery_tag
        assert tag is not None
        try:
            await self._message.channel.basic_ack(tag)
        except CLOSED as error:  # the broker has taken the message back already and delivers it again
            log.warning("a message was done but could not be acknowledged (%s); it will come again", error)

    async def retry(self, after: float, history: History) -> None:
        assert self._transport.queue is not None
        await self._transport.store_copy(delay_queue(self._transport.queue, after), self._message, history)

    async def dead_letter(self, queue: str, history: History) -> None:
        await self._transport.store_copy(queue, self._message, history)

    @property
    def taken_back(self) -> bool:
        return self._message.channel.is_closed

    @property
    def source(self) -> str:
        return self._transport.queue or ""
