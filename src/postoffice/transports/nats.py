"""NATS: a subject per route; replies come to an inbox of the caller's own.

Guarantee: at most once. NATS hands a message to whoever is subscribed at that moment. It tells a caller at once when
nobody is. Without `group` every replica gets every message; with it (a queue group) one of them does.
A `.` in a pattern separates tokens, and in a handler's pattern `*` and `>` match one token and the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar

import nats
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from ..errors import PatternError, PayloadError
from ..options import Options
from .base import CONNECT_TIMEOUT, Capabilities, Deliver, Delivery, log
from .broker import Batcher, BrokerTransport
from .logins import login_of

__all__ = ["NatsTransport", "check_subject", "flushed"]

NO_SUBJECT = re.compile(r"\s|^$|^\.|\.$|\.\.")  # white space ends the subject in the protocol; no token is empty


async def flushed(client: NatsClient) -> None:
    """Until the server has worked on all that was put so far, subscriptions too, and has delivered all before it.

    Twice, since the driver's first ping may overtake what waits for the loop's next turn; the second cannot.
    """
    for _ in range(2):
        await client.flush()


class NatsDelivery(Delivery):
    __slots__ = ("_reply_to", "_transport")
    text_is_data: ClassVar[bool] = False

    def __init__(self, transport: NatsTransport, route: str, message: Msg) -> None:
        super().__init__(message.data, route, message.headers, address=message.subject)
        self._transport = transport
        self._reply_to = message.reply

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()

    def reply(self, packet: bytes) -> None:
        if self._reply_to:  # without one, nobody can be answered
            self._transport.send(self._reply_to, packet)


class NatsTransport(BrokerTransport):
    """`nats://[user:password@]host:port`, or `nats://token@host:port`; `nats+tls://` over TLS."""

    name = "NATS"
    default_port = 4222
    capabilities = Capabilities(headers=True, groups=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._client: NatsClient | None = None
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"  # one subscription for all replies: <inbox>.<request id>
        self._deliver: Deliver | None = None
        self._routes: list[str] = []
        self._subscriptions: list[Any] = []
        self._out: Batcher[tuple[str, bytes, str, dict[str, str] | None]] = Batcher(self._publish_all)

    async def _open(self) -> None:
        client = self._client = NatsClient()

        async def lost() -> None:
            if client is self._client:
                self._lose(None)

        refused: list[Exception] = []

        async def failed(error: Exception) -> None:
            """What the driver reports beside its exceptions; `lost` follows where it matters."""
            if "permissions violation" in str(error).lower():
                refused.append(error)
                log.error("NATS refuses something to this user: %s", error)

        user, password = login_of(self.url)
        await client.connect(
            self.public_url.replace("nats+tls://", "tls://", 1),
            user=None if password is None else user,
            password=password,
            token=user if password is None else None,
            tls=self.tls.for_client() if self.secure else None,
            allow_reconnect=False,
            connect_timeout=int(CONNECT_TIMEOUT),
            closed_cb=lost,
            error_cb=failed,
        )
        if self._deliver is None:
            await client.subscribe(f"{self._inbox}.*", cb=self._reply_received)
        self._subscriptions = [
            await client.subscribe(route, queue=self.group or "", cb=self._receiver(route)) for route in self._routes
        ]
        await flushed(client)
        # the server has the subscriptions now, or has refused them
        if refused:
            raise PatternError(f"NATS refuses a subscription: {refused[0]}. May this user subscribe there?")

    def _refuses(self, error: Exception) -> bool:
        return isinstance(error, nats.errors.Error) and "authorization violation" in str(error).lower()

    async def _shut(self) -> None:
        if self._client is not None:
            limit = CONNECT_TIMEOUT if self._client.is_connected else 0.2  # the driver hangs where TLS was refused
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await asyncio.wait_for(self._client.close(), limit)

    async def _flush(self) -> None:
        await self._out.drain()
        if self._client is not None:
            await self._client.flush()

    # as a client

    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        return self._put(route, packet, f"{self._inbox}.{request_id}", headers)

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        return self._put(route, packet, "", headers)

    def _put(
        self, subject: str, packet: bytes, reply_to: str, headers: Mapping[str, str] | None
    ) -> Awaitable[None] | None:
        check_subject(subject)
        item = (subject, packet, reply_to, dict(headers) if headers else None)
        if not self._up.is_set():
            return self._put_when_up(item)
        self._check_size(packet)
        return self._out.put(item)

    async def _put_when_up(self, item: tuple[str, bytes, str, dict[str, str] | None]) -> None:
        await self._ready()
        self._check_size(item[1])
        self._out.add(item)

    async def _reply_received(self, message: Msg) -> None:
        if self.replies is None:
            return
        request_id = message.subject.rpartition(".")[2]
        if message.data:
            self.replies.on_reply(message.data, request_id)
        else:
            self.replies.on_nobody(request_id, "no service is subscribed to that NATS subject")

    def _check_size(self, packet: bytes) -> None:
        limit = self._client.max_payload if self._client is not None else len(packet)
        if len(packet) > limit:
            raise PayloadError(
                f"a packet of {len(packet):,} bytes exceeds the NATS server's max_payload of {limit:,}."
                " Nothing was sent. Send a reference to the data, or send it in parts."
            )

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._routes = list(routes)
        for route in self._routes:
            check_subject(route)
        self._deliver = deliver
        await self.connect()

    def _receiver(self, route: str) -> Any:
        async def received(message: Msg) -> None:
            assert self._deliver is not None
            self._deliver(NatsDelivery(self, route, message))

        return received

    async def unsubscribe(self) -> None:
        self._routes = []
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await asyncio.gather(*(one.drain() for one in self._subscriptions))
        self._subscriptions = []

    def send(self, subject: str, body: bytes) -> None:
        """Publish with the next batch. Raises PayloadError."""
        self._check_size(body)
        self._out.add((subject, body, "", None))

    async def _publish_all(self, items: list[tuple[str, bytes, str, dict[str, str] | None]]) -> None:
        assert self._client is not None
        for subject, body, reply_to, headers in items:
            await self._client.publish(subject, body, reply_to, headers)


def check_subject(subject: str) -> None:
    if NO_SUBJECT.search(subject):
        raise PatternError(
            f"{subject!r} cannot be a NATS subject: it has white space, or an empty part between its dots."
            " Nothing was sent. Write for example 'order.placed'."
        )
