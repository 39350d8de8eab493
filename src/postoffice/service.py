"""A service: handlers at an address. Here is the one dispatch, the same for every transport.

A message is read, its handler found and its data checked; the handler runs; then comes the reply, the ack or the
rejection. Nothing of this is decided anywhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Literal

import msgspec

from . import messages
from .context import Context
from .errors import PayloadError, RpcError, UsageError
from .handlers import Handler, collect
from .messages import INTERNAL_ERROR, Packet
from .patterns import route_of_json
from .tls import Tls
from .transports import create, kind_of
from .transports.base import Delivery, start

__all__ = ["DeliveryMode", "Service"]

DeliveryMode = Literal["at-most-once", "at-least-once"]
log = logging.getLogger("postoffice")

MAX_RUNNING = 4096  # with more handlers than this under way, the service stops reading where it can
ROUTE_BYTES = 256  # a longer pattern is not remembered
ROUTES_KEPT = 1024  # pattern texts whose route is remembered; more are worked out again
STOPPING = {"status": "error", "message": "the service is stopping; the handler did not run. Send it again later"}
CANCELLED = {
    "status": "error",
    "message": "the handler was cancelled before it had finished, as in a service that stops",
}
CANCEL_LIMIT = 1.0  # seconds that cancelled handlers may take to clean up


class Service:
    """Handlers that take messages from one address.

    Args:
        targets: modules, functions or objects whose handlers are served.
        url: where to listen (`tcp://127.0.0.1:3000`, port 0 takes a free one), or the broker.
        name: the service's name. On RabbitMQ it is also the name of its queue, and required.
        group: replicas with the same group share the messages (NATS queue group). Without, each gets all.
        delivery: "at-most-once" (as NestJS: a message under way in a crash is lost) or "at-least-once" (an event is
            acknowledged after its handler has finished, so a crash before means a redelivery, and work may be
            done twice). It governs events; a request is settled when it arrives, its caller watches over it.
        grace: seconds that handlers under way may take when the service stops.
        prefetch: at least once only: how many messages the broker hands out before the first is acknowledged.
        exchange: RabbitMQ only: a topic exchange. Its messages reach every service with a pattern that matches,
            and patterns may have wildcards: `*` is one word between dots, `#` at the end is all the rest.
        wildcards: Redis only: patterns may have them (`*` any text, `?` one character, `[ab]` one of these).
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
        exchange: str | None = None,
        wildcards: bool = False,
        tls: Tls | None = None,
    ) -> None:
        if delivery not in ("at-most-once", "at-least-once"):
            raise UsageError(f"delivery is 'at-most-once' or 'at-least-once'; got {delivery!r}")
        self.handlers = collect(*targets)
        self.name = name or "service"
        self.grace = grace
        self._at_least_once = delivery == "at-least-once"
        self._transport = create(
            url,
            queue=self._queue(url, name),
            exchange=exchange,
            group=group,
            wildcards=wildcards,
            durable=self._at_least_once,
            prefetch=prefetch,
            tls=tls,
        )
        self._messages = {one.route: one for one in self.handlers if one.kind == "message"}
        self._events: dict[str, list[Handler]] = defaultdict(list)
        for one in self.handlers:
            if one.kind == "event":
                self._events[one.route].append(one)
        self._routes: dict[bytes, str | None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._paused = False
        self._started = False
        self._draining = False

    @staticmethod
    def _queue(url: str, name: str | None) -> str | None:
        kind = kind_of(url)
        if kind.capabilities.queues and not name:
            raise UsageError(
                f"on {kind.name} a service's queue is its name, so it needs one: Service(..., name='users')"
            )
        return name if kind.capabilities.queues else None

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
            PatternError: a pattern that this transport cannot carry.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._transport.subscribe(dict.fromkeys(one.route for one in self.handlers), self._deliver)
        except BaseException:
            await self._transport.close()
            raise
        self._started = True

    async def stop(self) -> None:
        """Take no new messages, let the handlers under way finish, send their replies, close.

        A handler that needs more than `grace` seconds is cancelled, and its caller is told so.
        """
        self._started, self._draining = False, True
        await self._limited(self._transport.unsubscribe())
        if not await self._limited(self._quiet()):
            log.warning("%s: %d handlers took over %g s and are cancelled", self.name, len(self._running), self.grace)
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=CANCEL_LIMIT)
        await self._transport.close()

    async def _quiet(self) -> None:
        """Wait until no handler is under way."""
        while self._running:
            await asyncio.wait(self._running)

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

    # the dispatch

    def _deliver(self, delivery: Delivery) -> None:
        """Read a message and start its work. Called by the transport for each message; never raises, never waits."""
        try:
            packet = messages.read_packet(delivery.body)
        except msgspec.ValidationError:
            packet = Packet()  # JSON, but no object
        except msgspec.DecodeError as error:
            if delivery.route is None:  # without a packet there is no pattern
                log.error("%s: a message that is no JSON: %s", self.name, error)
                delivery.malformed(f"a packet that is no JSON: {error}")
                self._begin(delivery.reject())
                return
            packet = Packet()
        if delivery.route is not None and not (bytes(packet.pattern) or bytes(packet.data)):
            packet = Packet(data=_foreign(delivery.body))  # not from a client of ours: all of it is data
        route = delivery.route if delivery.route is not None else self._route(bytes(packet.pattern))
        if bytes(packet.id):
            self._begin(self._refuse(packet, delivery) if self._draining else self._request(route, packet, delivery))
        else:
            self._begin(self._event(route, packet, delivery))

    def _route(self, pattern: bytes) -> str | None:
        """The route of a pattern's text, remembered."""
        try:
            return self._routes[pattern]
        except KeyError:
            route = route_of_json(pattern) if pattern else None
            if len(pattern) <= ROUTE_BYTES:
                if len(self._routes) >= ROUTES_KEPT:
                    self._routes.clear()
                self._routes[pattern] = route
            return route

    def _begin(self, work: Any) -> None:
        task = start(work, self._loop)
        if not task.done():
            self._running.add(task)
            task.add_done_callback(self._ended)
            if len(self._running) >= MAX_RUNNING and not self._paused:
                self._paused = True
                self._transport.pause()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._paused and len(self._running) < MAX_RUNNING // 2:
            self._paused = False
            self._transport.resume()

    async def _request(self, route: str | None, packet: Packet, delivery: Delivery) -> None:
        """Run the handler and answer. Whatever happens, the caller gets a last packet."""
        await delivery.ack()
        request_id = bytes(packet.id)
        echo = request_id if delivery.reply_has_id else b""
        handler = self._messages.get(route or "")
        if route is None or (handler is None and route not in self._events):
            log.warning("%s: nobody handles the message pattern %s", self.name, _shown(packet))
            delivery.reply(messages.no_handler_reply(request_id))
            return
        try:
            if handler is None:  # a request for an event: it is answered with an end, as NestJS does
                await asyncio.gather(*(self._run(one, packet, delivery) for one in self._events[route]))
                fields = messages.END_FIELDS
            elif handler.is_stream:
                async for value in await self._call(handler, packet, delivery):
                    delivery.reply(messages.write_reply(messages.value_fields(value), echo))
                    if (room := delivery.room()) is not None:
                        await room
                fields = messages.END_FIELDS
            else:
                fields = messages.last_fields(await self._call(handler, packet, delivery))
            delivery.reply(messages.write_reply(fields, echo))
        except BaseException as error:
            delivery.reply(messages.write_reply(self._error(error, route), echo))
            if not isinstance(error, Exception):
                raise

    async def _refuse(self, packet: Packet, delivery: Delivery) -> None:
        """A request that comes while the service stops: its caller is told at once that nothing was done."""
        await delivery.ack()
        echo = bytes(packet.id) if delivery.reply_has_id else b""
        delivery.reply(messages.write_reply(messages.error_fields(STOPPING), echo))

    def _error(self, error: BaseException, route: str) -> bytes:
        """What a caller is told: what an RpcError says, and of any other error nothing, for it may be a secret."""
        if isinstance(error, asyncio.CancelledError):
            return messages.error_fields(CANCELLED)
        if isinstance(error, RpcError):
            try:
                return messages.error_fields(error.error)
            except PayloadError as unwritable:
                error = unwritable
        log.error("%s: the handler of %s failed", self.name, route, exc_info=error)
        return messages.error_fields(INTERNAL_ERROR)

    async def _event(self, route: str | None, packet: Packet, delivery: Delivery) -> None:
        """Run every handler of the event, then settle: acknowledged when all finished, rejected when one failed."""
        handlers = self._events.get(route or "") or [*filter(None, [self._messages.get(route or "")])]
        if route is None or not handlers:
            log.error("%s: nobody handles the event %s; it is dropped", self.name, _shown(packet))
            await delivery.reject()
            return
        work = (self._finish(one, packet, delivery) for one in handlers)
        results = [await one for one in work] if len(handlers) == 1 else await asyncio.gather(*work)
        await (delivery.ack() if all(results) else delivery.reject())

    async def _finish(self, handler: Handler, packet: Packet, delivery: Delivery) -> bool:
        """Run one handler of an event to its end; an error is logged, for nobody waits for it."""
        try:
            await self._run(handler, packet, delivery)
            return True
        except RpcError as error:
            log.error("%s: the event %s was refused by %r: %s", self.name, handler.route, handler, error)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # by the service, as it stops: not finished, so not settled
            log.exception("%s: the handler of the event %s failed", self.name, handler.route)
        return False

    async def _run(self, handler: Handler, packet: Packet, delivery: Delivery) -> None:
        """Run a handler to its end where nobody wants its values."""
        result = await self._call(handler, packet, delivery)
        if handler.is_stream:
            async for _ in result:
                pass

    async def _call(self, handler: Handler, packet: Packet, delivery: Delivery) -> Any:
        """The handler's result, or for a stream its generator."""
        if not handler.parameters:
            call = handler.function()
        elif not handler.wants_context:
            call = handler.function(handler.decode(packet.data))
        else:
            call = handler.function(handler.decode(packet.data), self._context(handler, packet, delivery))
        return call if handler.is_stream else await call

    def _context(self, handler: Handler, packet: Packet, delivery: Delivery) -> Context:
        headers = delivery.headers or _metadata(packet)
        identity = delivery.correlation_id or (str(messages.decode(packet.id)) if bytes(packet.id) else None)
        return Context(
            pattern=delivery.address or handler.route,
            headers=headers,
            correlation_id=identity,
            attempt=delivery.attempt,
            transport=self._transport.name,
            raw=delivery.body,
        )


def _metadata(packet: Packet) -> dict[str, Any]:
    found = messages.decode(packet.metadata)
    return found if isinstance(found, dict) else {}


def _foreign(body: bytes) -> msgspec.Raw:
    """A body that is no packet, as data: its JSON value, or its text."""
    try:
        messages.decode(body)
        return msgspec.Raw(body or b'""')
    except msgspec.DecodeError:
        return msgspec.Raw(messages.encode(body.decode("utf-8", "replace")))


def _shown(packet: Packet) -> str:
    text = bytes(packet.pattern).decode("utf-8", "replace") or "(no pattern)"
    return text if len(text) <= 100 else text[:97] + "..."
