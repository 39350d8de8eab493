"""A service: handlers at an address, from start to stop. What happens to a message is dispatch.py's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from .dispatch import Dispatch
from .durable import ACK_WAIT, LIMIT, Durable
from .errors import UnsupportedError, UsageError
from .handlers import collect
from .tls import Tls
from .transports import DURABLE_NAMES, create, durable_kind_of, kind_of

__all__ = ["DeliveryMode", "Service"]

DeliveryMode = Literal["at-most-once", "at-least-once"]


class Service:
    """Handlers that take messages from one address.

    Args:
        targets: modules, functions or objects whose handlers are served.
        url: where to listen (`tcp://127.0.0.1:3000`, port 0 takes a free one), or the broker.
        name: the service's name. On RabbitMQ it is also the name of its queue, and required.
        group: replicas with the same group share the messages (a NATS queue group, a Kafka consumer group, an MQTT
            shared subscription). Without, each gets all; on Kafka, the name is the group then.
        delivery: "at-most-once" (as NestJS: a message under way in a crash is lost) or "at-least-once" (an event is
            acknowledged after its handler has finished, so a crash before means a redelivery, and work may be
            done twice; one whose handler raises is tried again as its Retry says, and ends in a dead-letter queue,
            `<name>.dead` where the handler names none). It governs events; a request is settled when it arrives, its
            caller watches over it.
        grace: seconds that handlers under way may take when the service stops.
        prefetch: at least once only: how many messages the broker hands out before the first is acknowledged.
        ack_wait: at least once, on Redis and NATS: seconds after which what a replica that has fallen silent (dead,
            paused, cut off) did not acknowledge goes to another one. Handlers may take longer.
        quorum: RabbitMQ only, at least once: the queue is a quorum queue, which counts deliveries, so that a message
            that kills its service is dead-lettered too. A NestJS peer must declare it alike.
        exchange: RabbitMQ only: a topic exchange. Its messages reach every service with a pattern that matches,
            and patterns may have wildcards: `*` is one word between dots, `#` at the end is all the rest.
        wildcards: Redis only: patterns may have them (`*` any text, `?` one character, `[ab]` one of these).
        proto: gRPC only, and required there: the .proto file that has the services of the handlers.
        tls: for a URL with TLS: our certificate, and whom to trust.

    Raises:
        HandlerError: the handlers cannot be served as they are. UsageError: no transport for the URL.
        UnsupportedError: the transport cannot do what is asked; the message names one that can.
    """

    def __init__(
        self,
        *targets: Any,
        url: str,
        name: str | None = None,
        group: str | None = None,
        delivery: DeliveryMode = "at-most-once",
        grace: float = 10.0,
        prefetch: int = 16,
        ack_wait: float = ACK_WAIT,
        quorum: bool = False,
        exchange: str | None = None,
        wildcards: bool = False,
        proto: str | Path | None = None,
        tls: Tls | None = None,
    ) -> None:
        if delivery not in ("at-most-once", "at-least-once"):
            raise UsageError(f"delivery is 'at-most-once' or 'at-least-once'; got {delivery!r}")
        if delivery == "at-least-once" and not (name or group):
            raise UsageError(
                "at least once, what is not handled yet waits for a service by its name, so it needs one of its own:"
                " Service(..., name='users'). Two services of one name would share their messages."
            )
        can = kind_of(url).capabilities
        self.handlers = collect(*targets, methods=can.methods, texts=can.texts)
        self.name = name or "service"
        self.grace = grace
        if delivery == "at-least-once" and not (name or group):
            raise UsageError(
                "at least once a service needs a name: what waits for it at the broker is kept under it."
                " Service(..., name='users'). Nothing was started."
            )
        durable = self._durable(group or self.name, ack_wait, quorum) if delivery == "at-least-once" else None
        if durable is None:
            self._refuse_promises(url, quorum)
        self._transport = create(
            url,
            queue=self._queue(url, name),
            exchange=exchange,
            group=group or (self.name if can.grouped else None),
            wildcards=wildcards,
            durable=durable,
            prefetch=prefetch,
            proto=proto,
            tls=tls,
        )
        self._dispatch = Dispatch(self.handlers, self.name, self._transport.name, self._crowded, durable)
        self._started = False

    @staticmethod
    def _queue(url: str, name: str | None) -> str | None:
        kind = kind_of(url)
        if kind.capabilities.queues and not name:
            raise UsageError(
                f"on {kind.name} a service's queue is its name, so it needs one: Service(..., name='users')"
            )
        return name if kind.capabilities.queues else None

    def _durable(self, shared: str, ack_wait: float, quorum: bool) -> Durable:
        events = [one for one in self.handlers if one.kind == "event"]
        delays = {delay for one in events if one.retry for delay in one.retry.delays()}
        dead = {one.dead_letter for one in events if one.dead_letter} | {f"{self.name}.dead"}
        return Durable(
            service=shared,
            events=tuple(dict.fromkeys(one.route for one in events)),
            delays=tuple(sorted(delays)),
            dead=tuple(sorted(dead)),
            ack_wait=ack_wait,
            limit=max((one.retry.attempts for one in events if one.retry), default=LIMIT),
            quorum=quorum,
        )

    def _refuse_promises(self, url: str, quorum: bool) -> None:
        """At most once, nothing failed is kept: whoever asks for that is told before the first message."""
        asking = [one for one in self.handlers if one.retry or one.dead_letter]
        if asking or quorum:
            what = f"{asking[0]!r} has retry= or dead_letter=" if asking else "quorum=True is given"
            raise UnsupportedError(
                f"{what}, and this service delivers at most once: what fails is gone. Say delivery='at-least-once'"
                f"{'' if durable_kind_of(url) else f'; {kind_of(url).name} cannot, but {DURABLE_NAMES} can'}."
            )

    @property
    def url(self) -> str:
        """Where it is reached; with the real port once it has started."""
        return self._transport.url

    @property
    def public_url(self) -> str:
        """The same without user and password, for people to read."""
        return self._transport.public_url

    def __repr__(self) -> str:
        state = "started" if self._started else "not started"
        return f"<Service {self.name!r} at {self.public_url}, {len(self.handlers)} handlers, {state}>"

    async def start(self) -> None:
        """Take messages from now on.

        Raises:
            ConnectError: the address is in use, or the broker cannot be reached.
            PatternError: a pattern that this transport cannot carry. HandlerError: a handler that no method of the
            .proto asks for, or of another shape.
        """
        self._dispatch.draining = False
        try:
            await self._transport.check(self.handlers)
            await self._transport.subscribe(self._dispatch.routes, self._dispatch.deliver)
        except BaseException:
            await self._transport.close()
            raise
        self._started = True

    async def stop(self) -> None:
        """Take no new messages, let the handlers under way finish, send their replies, close.

        A handler that needs more than `grace` seconds is cancelled, and its caller is told so.
        """
        self._started, self._dispatch.draining = False, True
        await self._limited(self._transport.unsubscribe())
        if not await self._limited(self._dispatch.quiet()):
            await self._dispatch.cancel()
        await self._transport.close()

    def _crowded(self, crowded: bool) -> None:
        if crowded:
            self._transport.pause()
        else:
            self._transport.resume()

    async def _limited(self, step: Awaitable[None]) -> bool:
        """Whether a step of stopping was done in time; a paused broker must not keep a service from ending."""
        try:
            async with asyncio.timeout(self.grace):
                await step
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
