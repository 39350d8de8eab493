"""What a transport is: a way to move bytes between a client and a service. It knows no policy.

A client's transport can `request` and `publish`, and hands replies to `on_reply`. A service's transport can
`subscribe`, and hands each message to `deliver` as a Delivery, which knows how to reply and how to settle.
Whoever decides (when to ack, what to answer, how long to wait) is service.py or client.py, never a transport.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import urlsplit

from ..durable import Durable
from ..errors import ConnectionLost, UnsupportedError, UsageError
from ..handlers import Handler
from ..options import Options
from ..patterns import Pattern
from ..tls import Tls, explain
from .delivery import Call, Delivery

__all__ = ["Call", "Capabilities", "Deliver", "Delivery", "Replies", "Transport", "reason_of", "start"]

log = logging.getLogger("postoffice")

SECURE = ("tls", "rediss", "nats+tls", "amqps", "mqtts", "kafka+tls", "grpcs")  # the URL schemes with TLS
CONNECT_TIMEOUT = 5.0  # seconds for one attempt to connect, handshake included


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a transport can do.

    Attributes:
        acks: a message can be acknowledged after the work, so a crash before it means a redelivery.
        headers: it carries headers beside the body. Without, they travel in the packet's "metadata".
        groups: replicas can share the messages of a pattern (a NATS queue group).
        grouped: they always do; where no group is given, the service's name is the group (Kafka).
        queues: messages go to a named queue, so a client must say which.
        exchanges: they can go to a topic exchange instead, which hands them to every queue whose pattern matches.
        wildcards: a handler's pattern may have them when `wildcards=True` asks for it.
        methods: instead of patterns there are the methods of a .proto's services, so both sides must say which file.
        texts: data that is a number or a boolean arrives as text; a handler's type makes a number of it again.
        options: the options that a call may have (options.py).
    """

    acks: bool = False
    headers: bool = False
    groups: bool = False
    grouped: bool = False
    queues: bool = False
    exchanges: bool = False
    wildcards: bool = False
    methods: bool = False
    texts: bool = False
    options: tuple[str, ...] = ()


Deliver = Callable[[Delivery], None]


class Replies(Protocol):
    """Whoever waits for replies: a client. Called by its transport, on the event loop."""

    def on_reply(self, packet: bytes, request_id: str | None = None) -> None:
        """A reply packet; its request's id where the transport knows it, else it stands in the packet."""

    def on_nobody(self, request_id: str, reason: str) -> None:
        """This request will get no reply: the broker says that nobody takes it."""

    def on_lost(self, error: ConnectionLost) -> None:
        """The connection broke: whatever is awaited will not come."""


class Transport(abc.ABC):
    """One connection of one client or of one service. Every method is called on one event loop.

    Args:
        url: where to. queue: a named queue (only where `capabilities.queues`). group: replicas that share the
            messages of a pattern (only where `capabilities.groups`). durable: what at least once asks for, None at most
            once (only where `capabilities.acks`). prefetch: how many
            messages may be unacknowledged at once. exchange: a topic exchange (only where `capabilities.exchanges`).
            wildcards: handlers' patterns may have them (only where `capabilities.wildcards`). proto: the .proto file
            (only where `capabilities.methods`).
            tls: whom to trust and who we are, for a scheme with TLS.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def __init__(
        self,
        url: str,
        *,
        queue: str | None = None,
        group: str | None = None,
        durable: Durable | None = None,
        prefetch: int = 16,
        exchange: str | None = None,
        wildcards: bool = False,
        proto: str | Path | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.url = url
        self.queue = queue
        self.group = group
        self.durable = durable
        self.prefetch = prefetch
        self.exchange = exchange
        self.wildcards = wildcards
        self.proto = proto
        self.secure = urlsplit(url).scheme in SECURE
        if tls is not None and not self.secure:
            raise UsageError(f"tls= is given, and the scheme of {self.public_url} is without TLS. Use one of {SECURE}.")
        self.tls = tls or Tls()
        self.replies: Replies | None = None

    @abc.abstractmethod
    async def connect(self) -> None:
        """Reach the other side, or the broker. Raises ConnectError; nothing is left open then."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Send what is buffered and let go. Harmless when called twice."""

    @abc.abstractmethod
    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        """Send a request; its replies reach `replies`. At most once.

        Returns None when it is on its way, else something to await until it is: the common case costs no task
        switch. Awaiting raises ConnectError (nothing was sent).

        Raises:
            PayloadError: larger than the transport carries. PatternError: no address here. Nothing was sent.
        """

    @abc.abstractmethod
    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        """Send an event, like `request`. When `durable`, it is awaited until the broker has confirmed it."""

    async def check(self, handlers: Iterable[Handler]) -> None:
        """Look at the handlers before they are served. Raises HandlerError where they do not fit this transport."""

    def service(self, name: str, limit: Callable[[float | None], float]) -> Any:
        """A service of a .proto, for a client; `limit` says how many seconds a call may take."""
        raise UnsupportedError(
            f"{self.name} has no services with methods: use send and emit, with a pattern. gRPC (grpc://) has them."
        )

    @abc.abstractmethod
    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        """Have every message with one of these routes handed to `deliver`, until `unsubscribe`."""

    @abc.abstractmethod
    async def unsubscribe(self) -> None:
        """Take no new messages. What was delivered can still be answered and settled."""

    def event_pattern(self, pattern: Pattern, route: str) -> Pattern:
        """What stands as the pattern in an event's packet: the pattern as given (on TCP, NestJS writes the route)."""
        return pattern

    def pause(self) -> None:
        """Stop reading for now, where the transport can push back; the service has more than enough to do."""

    def resume(self) -> None:
        """Read on."""

    @property
    def public_url(self) -> str:
        """The URL without user and password, for people to read."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def why_not(self, error: BaseException | None) -> str:
        """Why the other side could not be reached. Some end a TLS handshake without a word; then, what it may be."""
        silent = explain(error) is None and not isinstance(error, ConnectionRefusedError | TimeoutError)
        hint = "; over TLS it may want a certificate of ours (Tls(certificate=..., key=...)), or not speak TLS there"
        return reason_of(error) + (hint if self.secure and silent and self.tls.certificate is None else "")

    def address(self, default_port: int) -> tuple[str, int]:
        """Host and port of the URL."""
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(
                f"{self.url!r} has no valid port: {error}. Write for example {self.name}://127.0.0.1:3000"
            ) from error
        return parts.hostname or "127.0.0.1", default_port if port is None else port


def reason_of(error: BaseException | None) -> str:
    """Why, in words, for the middle of a message."""
    if (refused := explain(error)) is not None:
        return refused
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return f"{type(error).__name__}: {error}" if error is not None else "it closed the connection"


Result = TypeVar("Result")


def start(coroutine: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> asyncio.Task[Result]:
    """Run a coroutine as a task; its first step at once where Python can (3.12), which saves a turn of the loop."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)
