"""aiomqtt's client, and what it leaves out: an end of the connection that everyone sees, messages without tasks.

This is the one place that reaches into aiomqtt, to the paho client that it wraps.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import socket
from collections.abc import Callable
from typing import Any, cast

import aiomqtt

from ..errors import ConnectionLost
from .base import CONNECT_TIMEOUT

__all__ = ["Connection"]

STUCK_TIMEOUT = 30.0  # seconds after which a broker that takes nothing counts as lost
SHUT_TIMEOUT = 1.0  # seconds for a polite farewell to the broker
REASON_TIMEOUT = 0.1  # seconds in which the reason of a refusal may follow the end of the connection
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Connection(aiomqtt.Client):
    """One connection to a broker; `received` is called with the topic and the body of each message."""

    def __init__(self, host: str, port: int, received: Callable[[str, bytes], None], **options: Any) -> None:
        options = {"identifier": f"postoffice_{secrets.token_hex(6)}", "clean_session": True, **options}
        super().__init__(
            host,
            port,
            timeout=CONNECT_TIMEOUT,
            socket_options=[NO_DELAY],
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: _Inbox(received)),
            **options,
        )
        self._written = asyncio.Event()  # something has left, or the connection has ended
        self._ended = asyncio.Event()
        self._client.on_socket_close = self._closed

    async def enter(self) -> None:
        """Connect. aiomqtt alone would wait for its timeout when the broker closes the connection instead."""
        entering, ending = asyncio.ensure_future(self.__aenter__()), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({entering, ending}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({entering}, timeout=REASON_TIMEOUT)
            if not entering.done():
                raise ConnectionResetError("it closed the connection")
            entering.result()
        finally:
            entering.cancel()
            ending.cancel()
        self._client.on_socket_register_write = self._write_when_possible

    async def leave(self) -> None:
        """Disconnect, politely where that is possible."""
        connection = cast("socket.socket | None", self._client.socket())
        if connection is None:
            return  # it has ended already, or never began
        try:
            async with asyncio.timeout(SHUT_TIMEOUT):
                await self.__aexit__(None, None, None)
        finally:  # where no farewell can be said, aiomqtt leaves it open; its reader sees this end
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    async def broken(self) -> BaseException | None:
        """Wait until the connection breaks; why, unless paho has but a number for it."""
        try:
            async for _ in self.messages:  # none comes this way
                pass
        except aiomqtt.MqttError as error:
            return None if isinstance(error.__cause__, aiomqtt.MqttCodeError) else error.__cause__
        return None

    async def publish_all(self, items: list[tuple[str, bytes]]) -> None:
        """Straight to paho, and wait once for all: aiomqtt waits for each, and does not see the connection break.

        Raises:
            ConnectionError: it broke. TimeoutError: the broker has taken nothing for STUCK_TIMEOUT.
        """
        for topic, body in items:
            self._client.publish(topic, body)
        self._client.loop_write()
        async with asyncio.timeout(STUCK_TIMEOUT):
            while self._client.want_write() and not self._ended.is_set():
                self._written.clear()
                await self._written.wait()
        if self._ended.is_set():
            raise ConnectionError("the connection broke")

    async def publish_one(self, topic: str, body: bytes, qos: int, retain: bool) -> None:
        """Publish, and wait for the confirmation that the QoS brings (with 0: until it has left).

        Raises:
            ConnectionLost: the connection broke before that.
        """
        publishing = asyncio.ensure_future(self.publish(topic, body, qos, retain, timeout=math.inf))
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({publishing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise ConnectionError("it closed the connection")
            publishing.result()
        except (aiomqtt.MqttError, ConnectionError) as error:
            raise ConnectionLost(
                f"the connection to the MQTT broker broke before it had confirmed a message to {topic!r} ({error})."
                " It may have arrived or not: sending it again may deliver it twice."
            ) from error
        finally:
            publishing.cancel()
            ending.cancel()

    def _write_when_possible(self, paho: Any, _: Any, connection: Any) -> None:
        """Have paho write. aiomqtt asks for it in the loop's next turn, when the file descriptor may be another's."""
        asyncio.get_running_loop().add_writer(connection, self._write)

    def _write(self) -> None:
        self._client.loop_write()
        self._written.set()

    def _closed(self, paho: Any, userdata: Any, connection: Any) -> None:
        """The connection has ended; while it is being opened, paho says so from another thread."""
        self._on_socket_close(paho, userdata, connection)
        for event in (self._ended, self._written):
            self._loop.call_soon_threadsafe(event.set)


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Where aiomqtt puts what arrives: handed on at once, which spares the two tasks per message of its iterator."""

    def __init__(self, received: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self._received = received

    def put_nowait(self, message: aiomqtt.Message) -> None:
        self._received(str(message.topic), bytes(message.payload))
