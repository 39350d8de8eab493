"""The dead letters of MQTT: a retained message each, which lives as long as the broker's persistence lets it.

A letter that is requeued goes to the replica that gave it up, as a copy that is due at once; it waits there for as long
as that replica is away. Whether a queue of this name was ever used, MQTT cannot tell: one that was not is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import MQTTMessage

from ..deadletters import DeadLetter, DeadLetters
from ..durable import HISTORY, History, read_history
from ..errors import ConnectError
from .base import CONNECT_TIMEOUT, SECURE, reason_of
from .mqtt import MqttTransport
from .mqtt_copies import Copy, dead_topics, headers_in, read_copy
from .mqtt_session import Session, pairs_of
from .mqtt_topics import OURS

__all__ = ["MqttDeadLetters"]

SILENCE = 10.0  # seconds that the broker may take to show a part of the letters


class MqttDeadLetters(DeadLetters):
    """Every look asks the broker for all letters. Two who requeue one letter at the same time requeue it twice."""

    _session: Session | None = None

    async def _open(self) -> None:
        secure = urlsplit(self.url).scheme in SECURE
        transport = MqttTransport(self.url, tls=self.tls if secure else None)
        self._one_at_a_time = asyncio.Lock()
        self._found: dict[str, Copy] = {}
        self._end = f"{OURS}end/{secrets.token_hex(8)}"  # our own topic: what comes there comes after the letters
        self._ended = asyncio.Event()
        session = self._session = Session(*transport.place, self._arrived, **transport.driver_options)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await session.enter()
                await session.listen([self._end], 1)
        except Exception as error:
            await self._close()
            raise ConnectError(f"the dead letters in {self.name!r} cannot be reached: {reason_of(error)}") from error

    async def _close(self) -> None:
        if self._session is not None:
            with contextlib.suppress(Exception):
                await self._session.leave()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        assert self._session is not None
        async with self._one_at_a_time:
            self._found.clear()
            try:
                async with asyncio.timeout(SILENCE) as limit:
                    for topics in dead_topics(self.name):
                        await self._look(self._session, topics)
                        limit.reschedule(asyncio.get_running_loop().time() + SILENCE)
            except TimeoutError as error:
                raise ConnectError(f"the broker did not show the dead letters in {self.name!r} in time.") from error
            letters = [_letter(topic, copy) for topic, copy in self._found.items()]
            yield sorted(letters, key=lambda one: one.last)

    async def _look(self, session: Session, topics: str) -> None:
        self._ended.clear()
        await session.listen([topics], 1, retained=True)
        await session.store(self._end, b"")
        await self._ended.wait()
        await session.unsubscribe(topics)

    def _arrived(self, session: Session, message: MQTTMessage) -> None:
        if message.topic == self._end:
            self._ended.set()
        elif not message.payload:
            self._found.pop(message.topic, None)
        elif (copy := read_copy(bytes(message.payload), pairs_of(message))) is not None:
            self._found[message.topic] = copy

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        assert self._session is not None
        again = read_history(headers)
        assert again is not None
        copy = Copy(again, body, letter.mark[1])
        await self._session.store(f"{letter.source}/{secrets.token_hex(10)}", copy.packed(), copy.pairs, retain=True)

    async def _remove(self, letter: DeadLetter) -> None:
        assert self._session is not None
        await self._session.store(letter.mark[0], b"", retain=True)


def _letter(topic: str, copy: Copy) -> DeadLetter:
    headers = {**headers_in(copy.body), **dict(copy.pairs), HISTORY: copy.history.header()}
    return DeadLetter.read(copy.body, headers, (topic, copy.pairs), History(copy.history.id))
