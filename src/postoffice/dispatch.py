"""The one dispatch, the same for every transport.

A message is read, its handler found and its data checked; the handler runs; then comes the reply, the ack or the
rejection. Nothing of this is decided anywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import msgspec

from . import deadlines, messages, points, tracing
from .calling import call, run
from .durable import Durable
from .errors import PayloadError, RpcError
from .handlers import Handler
from .messages import INTERNAL_ERROR, Packet
from .patterns import route_of_json
from .settling import Failure, Settling
from .transports.base import Call, Delivery, start

__all__ = ["Dispatch"]

log = logging.getLogger("postoffice")

ANY_ID = msgspec.Raw(b"null")  # a call is answered, though it has no id of ours
MAX_RUNNING = 4096  # with more handlers than this under way, the service stops reading where it can
ROUTE_BYTES = 256  # a longer pattern is not remembered
ROUTES_KEPT = 1024  # pattern texts whose route is remembered; more are worked out again
STOPPING = {"status": "error", "message": "the service is stopping; the handler did not run. Send it again later"}
CANCELLED = {
    "status": "error",
    "message": "the handler was cancelled before it had finished, as in a service that stops",
}
CANCEL_LIMIT = 1.0  # seconds that cancelled handlers may take to clean up


class Dispatch:
    """Takes messages from a transport and runs their handlers.

    Args:
        handlers: checked, as `collect` gives them. name: the service's, for the log. transport: its name, for contexts.
        durable: what at least once asks for; None at most once.
        crowded: called with True when so many handlers are under way that no more should come, with False later.
    """

    def __init__(
        self,
        handlers: Iterable[Handler],
        name: str,
        transport: str,
        crowded: Callable[[bool], None],
        durable: Durable | None = None,
    ) -> None:
        self.name = name
        self._settling = Settling(name, durable)
        self.draining = False  # a service that stops refuses requests
        self._transport = transport
        self._crowded = crowded
        self._messages: dict[str, Handler] = {}
        self._events: dict[str, list[Handler]] = defaultdict(list)
        for one in handlers:
            if one.kind == "event":
                self._events[one.route].append(one)
            else:
                self._messages[one.route] = one
        self._routes: dict[bytes, str | None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._paused = False

    @property
    def routes(self) -> list[str]:
        """What it handles, each once."""
        return [*{**self._messages, **self._events}]

    async def quiet(self) -> None:
        """Wait until no handler is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel the handlers under way; their callers are told."""
        log.warning("%s: %d handlers did not finish in time and are cancelled", self.name, len(self._running))
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running, timeout=CANCEL_LIMIT)

    def deliver(self, delivery: Delivery) -> None:
        """Read a message and start its work. Called by the transport for each message; never raises, never waits."""
        points.reached("received", delivery)
        if isinstance(delivery, Call):
            deadlines.stands(delivery.deadline)
            with tracing.receiving(delivery, self._transport, Packet(id=ANY_ID)) as span:
                span.ends_with(self._begin(self._answer(delivery)))
            return
        try:
            packet = messages.read_packet(delivery.body)
        except msgspec.ValidationError:
            packet = Packet()  # JSON, but no object
        except msgspec.DecodeError as error:
            if delivery.route is None or not delivery.text_is_data:
                delivery.malformed(f"a packet that is no JSON: {error}")
                self._begin(self._settling.invalid(delivery, f"a packet that is no JSON: {error}"))
                return
            packet = Packet()
        if delivery.route is not None and not (bytes(packet.pattern) or bytes(packet.data)):
            packet = Packet(data=messages.foreign_data(delivery.body))  # not from a client of ours: all of it is data
        route = delivery.route if delivery.route is not None else self._route(bytes(packet.pattern))
        delivery.route, delivery.address = route, delivery.address or route
        with tracing.receiving(delivery, self._transport, packet) as span:
            span.ends_with(self._begin(self._work(route, packet, delivery)))

    def _work(self, route: str | None, packet: Packet, delivery: Delivery) -> Coroutine[Any, Any, None]:
        if not bytes(packet.id):
            deadlines.stands(None)
            return self._event(route, packet, delivery)
        late = deadlines.arrived(delivery.headers or messages.metadata(packet))
        refusal = STOPPING if self.draining else late and {"status": "error", "message": late}
        return self._refuse(refusal, packet, delivery) if refusal else self._request(route, packet, delivery)

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

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = start(work, asyncio.get_running_loop())
        if not task.done():
            self._running.add(task)
            task.add_done_callback(self._ended)
            if len(self._running) >= MAX_RUNNING and not self._paused:
                self._paused = True
                self._crowded(True)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._paused and len(self._running) < MAX_RUNNING // 2:
            self._paused = False
            self._crowded(False)

    async def _request(self, route: str | None, packet: Packet, delivery: Delivery) -> None:
        """Run the handler and answer. Whatever happens, the caller gets a last packet."""
        await delivery.ack()
        request_id = bytes(packet.id)
        echo = request_id if delivery.reply_has_id else b""
        handler = self._messages.get(route or "")
        if route is None or (handler is None and route not in self._events):
            log.warning("%s: nobody handles the message pattern %s", self.name, messages.shown(packet))
            delivery.reply(messages.no_handler_reply(request_id))
            return
        try:
            if handler is None:  # a request for an event: it is answered with an end, as NestJS does
                await asyncio.gather(*(run(one, packet, delivery, self._transport) for one in self._events[route]))
                fields = messages.END_FIELDS
            elif handler.is_stream:
                async for value in await call(handler, packet, delivery, self._transport):
                    delivery.reply(messages.write_reply(messages.value_fields(value), echo))
                    if (room := delivery.room()) is not None:
                        await room
                fields = messages.END_FIELDS
            else:
                fields = messages.last_fields(await call(handler, packet, delivery, self._transport))
            points.reached("after-handler", delivery)
            delivery.reply(messages.write_reply(fields, echo))
            points.reached("replied", delivery)
        except BaseException as error:
            delivery.reply(messages.write_reply(self._error(error, route), echo))
            if not isinstance(error, Exception):
                raise

    async def _answer(self, delivery: Call) -> None:
        """The same for a call, which has values instead of packets, and a status at its end."""
        delivery.task = asyncio.current_task()
        handler = self._messages[delivery.address or ""]
        try:
            result = await call(handler, Packet(), delivery, self._transport)
            if handler.is_stream:
                async with contextlib.aclosing(result):
                    async for value in result:
                        await delivery.value(value)
            else:
                await delivery.value(result)
            delivery.end()
        except BaseException as error:
            delivery.end(self._told(error, handler.route))
            if not isinstance(error, Exception):
                raise

    async def _refuse(self, refusal: dict[str, str], packet: Packet, delivery: Delivery) -> None:
        """A request that comes while the service stops, or too late: its caller is told that nothing was done."""
        await delivery.ack()
        echo = bytes(packet.id) if delivery.reply_has_id else b""
        delivery.reply(messages.write_reply(messages.error_fields(refusal), echo))

    def _error(self, error: BaseException, route: str) -> bytes:
        """What a caller is told: what an RpcError says, and of any other error nothing, for it may be a secret."""
        try:
            return messages.error_fields(self._told(error, route))
        except PayloadError as unwritable:
            return messages.error_fields(self._told(unwritable, route))

    def _told(self, error: BaseException, route: str) -> Any:
        tracing.failed(error)
        if isinstance(error, asyncio.CancelledError):
            return CANCELLED
        if isinstance(error, RpcError):
            return error.error
        log.error("%s: the handler of %s failed", self.name, route, exc_info=error)
        return INTERNAL_ERROR

    def _event(self, route: str | None, packet: Packet, delivery: Delivery) -> Coroutine[Any, Any, None]:
        """Start every handler of the event, before any of a later message; what is returned settles it."""
        handlers = self._events.get(route or "") or [*filter(None, [self._messages.get(route or "")])]
        if route is None or not handlers:
            return self._settling.unhandled(delivery, messages.shown(packet))
        if self._settling.has_crashed(handlers, delivery):
            return self._settling.crashed(handlers, delivery)
        work = [self._finish(one, packet, delivery) for one in handlers]
        if len(work) == 1:
            return self._settle(work[0], delivery)
        loop = asyncio.get_running_loop()
        return self._settle(_all(*(start(one, loop) for one in work)), delivery)

    async def _settle(self, finished: Awaitable[Failure | None], delivery: Delivery) -> None:
        """Acknowledge an event when all its handlers have finished; what one that failed asks for, otherwise."""
        failure = await finished
        if failure is None:
            points.reached("after-handler", delivery)
            await delivery.ack()
            points.reached("acked", delivery)
        else:
            tracing.failed(failure[1])
            await self._settling.failed(*failure, delivery)

    async def _finish(self, handler: Handler, packet: Packet, delivery: Delivery) -> Failure | None:
        """Run one handler of an event to its end; an error is logged, for nobody waits for it."""
        try:
            await run(handler, packet, delivery, self._transport)
            return None
        except RpcError as error:
            log.error("%s: the event %s was refused by %r: %s", self.name, handler.route, handler, error)
            return handler, error
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # by the service, as it stops: not finished, so not settled
            log.exception("%s: the handler of the event %s failed", self.name, handler.route)
            return handler, error


async def _all(*tasks: asyncio.Task[Failure | None]) -> Failure | None:
    return next(filter(None, await asyncio.gather(*tasks)), None)
