"""gRPC: no broker and no patterns; a service's methods stand in a .proto file (grpc_proto.py compiles it).

Guarantee: at most once. The caller's deadline travels with the call: when it has passed, or the caller has gone, the
handler is cancelled. An RpcError with a text becomes the status UNKNOWN, one with a "code" (a number of gRPC's) and a
"message" that status; any other error is UNKNOWN "Internal server error".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc  # type: ignore[import-untyped]
from grpc import aio

from ..errors import ConnectError, HandlerError, PayloadError, RpcError, UnsupportedError, UsageError
from ..handlers import Handler
from ..options import Options
from .base import CONNECT_TIMEOUT, Call, Capabilities, Deliver, Transport, log
from .grpc_client import Stub
from .grpc_proto import Method, Proto, load, read, write
from .grpc_tls import for_client, for_server, refusal

__all__ = ["GrpcTransport"]

Status = grpc.StatusCode
CODES = {code.value[0]: code for code in Status if code is not Status.OK}
STOPPING = "the service is stopping; the handler did not run. Send it again later"
UNTIL_CLOSED = 1e6  # seconds: the service limits its draining, and then closes
UNTIL_SENT = 1.0  # seconds at most for an answer to leave whose handler has ended; at once where there is none
OPTIONS = [
    ("grpc.so_reuseport", 0),  # else two services could have one port, and share its calls by chance
    ("grpc.enable_http_proxy", 0),  # no transport of ours goes through one
    ("grpc.use_local_subchannel_pool", 1),  # one connection for each client, as on the other transports
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class GrpcCall(Call):
    """A call, between grpcio's handler, which waits for `ended`, and the dispatch, which gives values."""

    __slots__ = ("_context", "_method", "answer", "ended")

    def __init__(self, method: Method, route: str, data: Any, context: Any) -> None:
        loop = asyncio.get_running_loop()
        left = context.time_remaining()
        headers = dict(context.invocation_metadata() or ())
        super().__init__(route, data, headers, None if left is None else loop.time() + left)
        self._method = method
        self._context = context
        self.ended: asyncio.Future[tuple[Any, str] | None] = loop.create_future()
        self.answer: bytes | None = None

    async def value(self, value: Any) -> None:
        try:
            reply = write(self._method.reply, value)
        except PayloadError as error:
            log.error("the reply of %s cannot be sent: %s", self._method.address, error)
            raise RpcError({"code": Status.INTERNAL.value[0], "message": "Error serializing response"}) from error
        if self._method.gives_stream:
            await self._context.write(reply)
        else:
            self.answer = reply

    def end(self, error: Any = None) -> None:
        if not self.ended.done():
            self.ended.set_result(None if error is None else _status(error))


class GrpcTransport(Transport):
    """`grpc://host:port`, and `grpcs://` over TLS."""

    name = "gRPC"
    capabilities = Capabilities(headers=True, methods=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._proto: Proto | None = None
        self._channel: Any = None
        self._server: Any = None
        self._stopping: asyncio.Task[None] | None = None
        self._served: dict[str, tuple[Handler, Method]] = {}

    async def _load(self) -> Proto:
        if self._proto is None:
            assert self.proto is not None  # `create` has seen to it
            self._proto = await asyncio.to_thread(load, self.proto)
        return self._proto

    # as a client

    async def connect(self) -> None:
        await self._load()
        host, port = self.address(5000)
        if self.secure:
            self._channel = aio.secure_channel(f"{host}:{port}", for_client(self.tls), options=OPTIONS)
        else:
            self._channel = aio.insecure_channel(f"{host}:{port}", options=OPTIONS)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise ConnectionRefusedError("it was refused, or is no gRPC service")
                    await self._channel.wait_for_state_change(state)
        except (OSError, TimeoutError) as error:
            await self.close()
            reason = (await refusal(host, port, self.tls) if self.secure else None) or error
            raise ConnectError(
                f"no gRPC service answers at {host}:{port} ({self.why_not(reason)}). Nothing was sent."
                " Is the service running, and is the address right? In the course: await heroes.ready(), heroes.url"
            ) from error

    def service(self, name: str, limit: Callable[[float | None], float]) -> Stub:
        assert self._proto is not None
        return Stub(self._channel, self._proto.service(name), self.public_url, limit)

    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        return self.publish(route, packet, headers, options)

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        services = ", ".join(self._proto.services) if self._proto else ""
        raise UnsupportedError(
            "gRPC has neither send nor emit: there are no patterns and no events, only the methods of the .proto's"
            f" services ({services}). Nothing was sent. Call one: await client.service('...').MethodName({{...}})"
        )

    # as a service

    async def check(self, handlers: Iterable[Handler]) -> None:
        proto = await self._load()
        self._served = {}
        for handler in handlers:
            method = _find(proto, handler)
            if method.address in self._served:
                raise HandlerError(f"two handlers for the gRPC method {method.address}: give one of them another.")
            self._served[method.address] = handler, method

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        """Listen. A method that no handler serves is answered as NestJS answers it."""
        assert self._proto is not None
        self._server, self._stopping = aio.server(options=OPTIONS), None
        for service in {method.service for _, method in self._served.values()}:
            methods = self._proto.services[service]
            served = {name: self._method_handler(method, deliver) for name, method in methods.items()}
            self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, served)])
        host, port = self.address(5000)
        try:
            if self.secure:
                port = self._server.add_secure_port(f"{host}:{port}", for_server(self.tls))
            else:
                port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise ConnectError(
                f"cannot listen on {host}:{port}. Another process may have that port: stop it, or use another port;"
                " port 0 takes a free one."
            ) from error
        await self._server.start()
        self.url = f"{'grpcs' if self.secure else 'grpc'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _method_handler(self, method: Method, deliver: Deliver) -> Any:
        served = self._served.get(method.address)

        async def handle(data: Any, context: Any) -> bytes | None:
            if served is None:
                text = f"The server does not implement the method {method.name}"
                await context.abort(Status.UNIMPLEMENTED, text)
            if self._stopping is not None:
                await context.abort(Status.UNAVAILABLE, STOPPING)
            assert served is not None
            try:
                values = _values(method, data, served[0].typed)
            except ValueError as error:
                await context.abort(Status.INTERNAL, f"Error deserializing request: {error}")
            call = GrpcCall(method, served[0].route, values, context)
            deliver(call)
            return await _outcome(call, context)

        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        return kinds[method.takes_stream, method.gives_stream](handle)  # no serializers: bytes, and errors of ours

    async def unsubscribe(self) -> None:
        if self._server is not None and self._stopping is None:
            self._stopping = asyncio.create_task(self._server.stop(UNTIL_CLOSED))
            await asyncio.sleep(0)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
        if self._server is not None:
            await self._server.stop(UNTIL_SENT)
        if self._stopping is not None:
            await self._stopping


async def _outcome(call: GrpcCall, context: Any) -> bytes | None:
    """The reply, or the status, once the handler has ended. When the caller has gone, the handler is cancelled."""
    try:
        status = await call.ended
    except asyncio.CancelledError:
        if call.task is not None:
            call.task.cancel()
        raise
    if status is not None:
        await context.abort(*status)
    return call.answer


def _values(method: Method, data: Any, whole: bool) -> Any:
    """A request as a dict, or a stream of requests as dicts."""
    return _stream(method, data, whole) if method.takes_stream else read(method.request, data, whole=whole)


async def _stream(method: Method, data: AsyncIterator[bytes], whole: bool) -> AsyncIterator[dict[str, Any]]:
    async for one in data:
        try:
            yield read(method.request, one, whole=whole)
        except ValueError as error:
            text = f"Error deserializing request: {error}"
            raise RpcError({"code": Status.INTERNAL.value[0], "message": text}) from error


def _status(error: Any) -> tuple[Any, str]:
    """What an RpcError says, as a status, as @grpc/grpc-js reads it: an integer "code", and "details" or "message"."""
    fields = error if isinstance(error, Mapping) else {"message": error}
    code = fields.get("code")
    found = CODES.get(code, Status.UNKNOWN) if type(code) is int else Status.UNKNOWN
    text = next(
        (one for one in (fields.get("details"), fields.get("message")) if isinstance(one, str)), "Unknown Error"
    )
    return found, text


def _find(proto: Proto, handler: Handler) -> Method:
    """The method that a handler is for; the two have to agree on streams."""
    service, _, name = handler.route.rpartition("/")
    try:
        methods = proto.service(service)
    except UsageError as error:
        raise HandlerError(f"{handler!r} has no place: {error}") from error
    if name not in methods:
        raise HandlerError(f"{handler!r} has no place: {service} has no method {name!r}; it has {', '.join(methods)}.")
    method = methods[name]
    if method.gives_stream != handler.is_stream:
        shape = "is an async generator (yield)" if method.gives_stream else "returns its one reply (no yield)"
        says = "sends a stream" if method.gives_stream else "sends one reply"
        raise HandlerError(f"{handler!r}: {proto.path} says that {method.address} {says}, so its handler {shape}.")
    return method
