"""The dead letters of RabbitMQ: a durable queue, read without taking anything out of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity, PublishError
from pamqp.commands import Basic

from ..deadletters import DeadLetter, DeadLetters
from ..durable import MESSAGE_ID, History
from ..errors import ConnectError, NoHandlerError, UsageError
from .base import CONNECT_TIMEOUT, reason_of

__all__ = ["RabbitDeadLetters"]

BROKERS_WORDS = {"delivery_limit": "crashed"}  # the broker's own reason -> our kind; others stand as they are


class RabbitDeadLetters(DeadLetters):
    """While one looks, the letters are held by its channel: a second one sees none until the first is done."""

    _connection: AbstractConnection | None = None
    _channel: AbstractChannel

    async def _open(self) -> None:
        secure = self.url.startswith("amqps")
        self._one_at_a_time = asyncio.Lock()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._connection = await aiormq.connect(self.url, context=self.tls.for_client() if secure else None)
        except Exception as error:
            raise ConnectError(
                f"the dead letters in {self.name!r} cannot be reached: {reason_of(error)}. Is the broker up?"
            ) from error

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        assert self._connection is not None
        async with self._one_at_a_time:
            self._channel = await self._connection.channel(publisher_confirms=True)
            try:
                yield [_letter(one) async for one in self._held()]
            finally:
                if not self._channel.is_closed:
                    await self._channel.close()  # whatever was not removed is back in its place

    async def _held(self) -> AsyncIterator[DeliveredMessage]:
        try:
            count = (await self._channel.queue_declare(self.name, passive=True)).message_count or 0
        except ChannelNotFoundEntity as error:
            raise UsageError(
                f"there is no queue {self.name!r} on this RabbitMQ. A service that delivers at least once declares its"
                " dead-letter queues when it starts; is the name right?"
            ) from error
        for _ in range(count):
            message = await self._channel.basic_get(self.name)
            if message.delivery_tag is None:
                return
            yield message

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        properties = Basic.Properties(headers=dict(headers), delivery_mode=2, message_id=letter.id)
        try:
            await self._channel.basic_publish(
                body, exchange="", routing_key=letter.source, properties=properties, mandatory=True
            )
        except PublishError as error:
            raise NoHandlerError(
                f"the queue {letter.source!r}, which {letter.id!r} came from, is gone. Nothing was changed."
            ) from error

    async def _remove(self, letter: DeadLetter) -> None:
        await self._channel.basic_ack(letter.mark)


def _letter(message: DeliveredMessage) -> DeadLetter:
    properties = message.header.properties
    headers: dict[str, Any] = {**(properties.headers or {})}
    deaths = headers.pop("x-death", None) or [{}]
    why = str(deaths[0].get("reason", ""))
    known = History(
        id=properties.message_id or str(headers.get(MESSAGE_ID, f"letter {message.delivery_tag}")),
        attempts=int(headers.get("x-delivery-count", 0)),
        reason=f"RabbitMQ dead-lettered it: {why}" if why else "",
        kind=BROKERS_WORDS.get(why, why),
        source=str(deaths[0].get("queue", "")),
    )
    return DeadLetter.read(bytes(message.body), headers, message.delivery_tag, known)
