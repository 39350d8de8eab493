"""A client: `send` waits for an answer, `emit` does not."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from . import deadlines, messages, tracing
from .durable import MESSAGE_ID, Durable
from .errors import RequestTimeout, UsageError
from .options import Options, checked
from .patterns import Pattern, route
from .pending import Pending, Waiting
from .service import DeliveryMode
from .tls import Tls
from .transports import create
from .transports.base import Transport

__all__ = ["Client"]

_END = object()  # the mark after a stream's last value
DEFAULT_TIMEOUT = 5.0  # seconds; NestJS has none and waits for ever


class Client:
    """One connection, shared by any number of calls at once. Make one with `await Client.connect(url)`."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self.durable = transport.durable is not None  # whether emit returns once the broker has stored the event
        self._pending = transport.replies = Pending(transport.public_url)
        self._prefix = secrets.token_hex(8)  # ids are unique across clients: some share a reply channel
        self._count = 0
        self._closed = False

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        queue: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        delivery: DeliveryMode = "at-most-once",
        exchange: str | None = None,
        proto: str | Path | None = None,
        tls: Tls | None = None,
    ) -> Client:
        """Connect to a service (TCP), or to a broker.

        Args:
            url: `tcp://host:port`, `redis://…`, `nats://…`, `amqp://user:password@host:port/vhost`, `mqtt://…`,
                `kafka://…` or `grpc://…`.
            queue: RabbitMQ only, and required there: the queue of the service, which is its name.
            exchange: RabbitMQ only, instead of a queue: the topic exchange of the services.
            timeout: seconds that `send` waits for an answer, where the call does not say.
            delivery: "at-least-once" makes `emit` wait until the broker has stored the event.
            proto: gRPC only, and required there: the .proto file of the service.
            tls: for a URL with TLS (`tls://`, `rediss://`, `nats+tls://`, `amqps://`, `mqtts://`, `kafka+tls://`,
                `grpcs://`): whom to trust, who we are.

        Raises:
            ConnectError: nobody answers there. UsageError, UnsupportedError: the arguments do not fit the transport.
        """
        transport = create(
            url,
            queue=queue,
            exchange=exchange,
            durable=Durable() if delivery == "at-least-once" else None,
            proto=proto,
            tls=tls,
        )
        client = cls(transport, _seconds(timeout))
        await transport.connect()
        return client

    def __repr__(self) -> str:
        return f"<Client of {self._transport.public_url}{', closed' if self._closed else ''}>"

    async def send(
        self,
        pattern: Pattern,
        data: Any = None,
        *,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        options: Options | None = None,
    ) -> Any:
        """Send a request and return its answer; of a stream, its last value. At most once.

        Args:
            pattern: what the handler is registered under. data: anything that JSON can hold.
            timeout: seconds to wait; the client's own limit when None.
            headers: text that travels beside the data.
            options: for the broker, such as `{"priority": 5, "expiration": 1.5}` on RabbitMQ, `{"qos": 1}` on MQTT.
                options.py has them all.

        Raises:
            RpcError: the handler answered with an error. NoHandlerError: nobody handles this pattern.
            RequestTimeout, ConnectionLost: no answer; the work may have happened.
            ConnectError: nobody could be reached. PatternError, PayloadError: it cannot be sent. UnsupportedError: the
            transport has no such option. Nothing was done then, nor after a DeadlinePassed (deadlines.py).
        """
        waiting = await self._request(pattern, data, timeout, headers, options)
        try:
            return await waiting.future
        finally:
            self._pending.remove(waiting)

    async def stream(
        self,
        pattern: Pattern,
        data: Any = None,
        *,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        options: Options | None = None,
    ) -> AsyncIterator[Any]:
        """Send a request, yield each value of its answer as it arrives; `timeout` limits it all. Raises as `send`."""
        values: asyncio.Queue[Any] = asyncio.Queue()
        waiting = await self._request(pattern, data, timeout, headers, options, values)
        waiting.future.add_done_callback(lambda _: values.put_nowait(_END))
        try:
            while (value := await values.get()) is not _END:
                yield value
            waiting.future.result()  # raises what ended the stream, if an error did
        finally:
            self._pending.remove(waiting)
            waiting.drop()

    async def emit(
        self,
        pattern: Pattern,
        data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        options: Options | None = None,
    ) -> None:
        """Send an event. Nobody answers, and whether anybody handles it is not known.

        Guarantee: at most once by default; returns when the event has been handed to the connection, or to the
        broker. With the client's delivery "at-least-once" it returns once the broker has stored it.

        Args:
            pattern, data, headers, options: as for `send`; at least once some options are refused (options.py).
            message_id: its identity, the same when the same event is sent once more; at least once it gets a random
                one where none is given. A handler finds it in `ctx.message_id`.

        Raises:
            RequestTimeout: it was not handed over within the client's limit; it may arrive all the same.
            ConnectionLost: it was to be confirmed, and was not: it may arrive all the same.
            ConnectError: nobody could be reached. PatternError, PayloadError, UnsupportedError: it cannot be sent.
        """
        self._check_open()
        options = checked(options, self._transport, event=True)
        address = route(pattern)
        if message_id is not None or self.durable:
            headers = {**(headers or {}), MESSAGE_ID: message_id or secrets.token_hex(10)}
        with tracing.sending("emit", self._transport.name, address, headers) as headers:
            sent_as = self._transport.event_pattern(pattern, address)
            packet = messages.write_packet(sent_as, data, None, self._metadata(headers))
            await self._hand_over(self._transport.publish(address, packet, headers, options), self._timeout, address)

    def service(self, name: str) -> Any:
        """A service of the .proto, on gRPC only: `await client.service("HeroService").FindOne({"id": 1}, timeout=1)`.

        Args:
            name: with its package (`hero.HeroService`), or without where there is only one of that name.

        Each method takes data, timeout (seconds) and headers. Where the .proto says that the service sends a stream,
        `async for` takes it; where the caller sends one, data is an iterable, or an async iterable, of dicts.

        Raises:
            UnsupportedError: another transport than gRPC. UsageError: no such service. Its methods raise as `send`.
        """
        self._check_open()
        return self._transport.service(name, self._limit)

    async def close(self) -> None:
        """Send what is buffered and close. Calls that still wait get a ConnectionLost."""
        self._closed = True
        self._pending.close()
        await self._transport.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _request(
        self,
        pattern: Pattern,
        data: Any,
        timeout: float | None,
        headers: Mapping[str, str] | None,
        options: Options | None,
        values: asyncio.Queue[Any] | None = None,
    ) -> Waiting:
        self._check_open()
        options = checked(options, self._transport, event=False)
        limit = self._limit(timeout)
        address = route(pattern)
        self._count += 1
        request_id = f"{self._prefix}{self._count:x}"
        loop = asyncio.get_running_loop()
        waiting = Waiting(request_id, address, limit, loop.create_future(), values)
        headers = tracing.requesting(self._transport.name, waiting, deadlines.outgoing(headers, limit))
        try:
            packet = messages.write_packet(pattern, data, request_id, self._metadata(headers))
            self._pending.add(waiting)
            sending = self._transport.request(address, packet, request_id, headers, options)
            await self._hand_over(sending, limit, address)
        except BaseException as error:
            self._pending.remove(waiting)
            if isinstance(error, Exception) and not waiting.future.done():
                waiting.future.set_exception(error)  # its span says so
            waiting.drop()
            raise
        return waiting

    async def _hand_over(self, sending: Awaitable[None] | None, limit: float, address: str) -> None:
        """Wait, within the limit, where sending has to: a broker that is down or paused must not hold its caller."""
        if sending is None:
            return
        try:
            async with asyncio.timeout(limit):
                await sending
        except TimeoutError as error:
            raise RequestTimeout(
                f"{address!r} could not be handed over within {limit:g} s: {self._transport.public_url} takes nothing."
                " It may arrive later, or never. Is the broker paused or down?"
            ) from error

    def _limit(self, timeout: float | None) -> float:
        return deadlines.limited(self._timeout if timeout is None else _seconds(timeout))

    def _metadata(self, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return None if self._transport.capabilities.headers else headers

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this client is closed. Nothing was sent. Connect a new one: await Client.connect(url)")


def _seconds(timeout: float) -> float:
    if not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise UsageError(f"timeout is a positive number of seconds; got {timeout!r}. Nothing was sent.")
    return float(timeout)
