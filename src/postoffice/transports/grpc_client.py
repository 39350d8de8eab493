"""A gRPC service as its client sees it: an object with the methods of the .proto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any

import grpc  # type: ignore[import-untyped]
from grpc import aio

from .. import tracing
from ..errors import ConnectError, ConnectionLost, NoHandlerError, PostOfficeError, RequestTimeout, RpcError, UsageError
from .grpc_proto import Method, read, write

__all__ = ["Stub"]

Status = grpc.StatusCode


class Stub:
    """`heroes = client.service("HeroService")`; then `await heroes.FindOne({"id": 1}, timeout=1)`."""

    def __init__(
        self, channel: Any, methods: Mapping[str, Method], url: str, limit: Callable[[float | None], float]
    ) -> None:
        self._methods = {name: Caller(channel, method, url, limit) for name, method in methods.items()}

    def __getattr__(self, name: str) -> Caller:
        try:
            return self.__dict__["_methods"][name]  # type: ignore[no-any-return]
        except KeyError:
            known = ", ".join(self.__dict__.get("_methods", ()))
            raise AttributeError(f"this service has no method {name!r}; it has {known}") from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._methods]

    def __repr__(self) -> str:
        return f"<gRPC service: {', '.join(map(repr, self._methods.values()))}>"


class Caller:
    """One method, to be called."""

    def __init__(self, channel: Any, method: Method, url: str, limit: Callable[[float | None], float]) -> None:
        kinds = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        self._method = method
        self._url = url
        self._limit = limit
        self._start = kinds[method.takes_stream, method.gives_stream](f"/{method.address}")

    def __repr__(self) -> str:
        shape = "stream of {}" if self._method.takes_stream else "{}"
        given = "stream of {}" if self._method.gives_stream else "{}"
        names = (one.DESCRIPTOR.name for one in (self._method.request, self._method.reply))
        return f"{self._method.name}({shape.format(next(names))}) -> {given.format(next(names))}"

    def __call__(
        self, data: Any = None, *, timeout: float | None = None, headers: Mapping[str, str] | None = None
    ) -> Coroutine[Any, Any, dict[str, Any]] | AsyncIterator[dict[str, Any]]:
        """Call it: to be awaited, or where the service sends a stream, to be iterated over.

        Args:
            data: a dict; where the caller sends a stream, an iterable or async iterable of dicts.
            timeout: seconds, for all of it; the service learns it as its deadline. headers: gRPC's metadata.
        """
        limit = self._limit(timeout)
        if self._method.gives_stream:
            return self._many(data, limit, headers)
        return self._one(data, limit, headers)

    async def _one(self, data: Any, limit: float, headers: Mapping[str, str] | None) -> dict[str, Any]:
        sending = _Sending(self._method, data)
        with tracing.sending("send", "grpc", self._method.address, headers) as headers:
            call = self._start(sending.whole, timeout=limit, metadata=_metadata(headers))
            try:
                return read(self._method.reply, await call)
            except (aio.AioRpcError, asyncio.CancelledError, ValueError) as error:
                raise self._explain(error, sending, limit) from error
            finally:
                call.cancel()

    async def _many(self, data: Any, limit: float, headers: Mapping[str, str] | None) -> AsyncIterator[dict[str, Any]]:
        sending = _Sending(self._method, data)
        with tracing.sending("send", "grpc", self._method.address, headers) as headers:
            call = self._start(sending.whole, timeout=limit, metadata=_metadata(headers))
            try:
                async for reply in call:
                    yield read(self._method.reply, reply)
            except (aio.AioRpcError, asyncio.CancelledError, ValueError) as error:
                raise self._explain(error, sending, limit) from error
            finally:
                call.cancel()

    def _explain(self, error: BaseException, sending: _Sending, limit: float) -> BaseException:
        """The error of ours that stands for one of grpcio's."""
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError):
            if task is not None and task.cancelling():
                return error
            return sending.error or ConnectionLost(
                f"the client was closed while {self._method.address} was under way. The work may have happened."
            )
        if not isinstance(error, aio.AioRpcError):
            return RpcError(f"the reply of {self._method.address} cannot be read: {error}")
        return self._of_status(error.code(), error.details() or "", limit)

    def _of_status(self, code: Any, details: str, limit: float) -> PostOfficeError:
        if code is Status.DEADLINE_EXCEEDED:
            return RequestTimeout(
                f"no answer to {self._method.address} within {limit:g} s. The work may have happened, or may happen"
                " yet: a timeout is an unknown outcome. Retry only what is safe to do twice."
            )
        if code is Status.UNIMPLEMENTED:
            return NoHandlerError(
                f"nobody handles {self._method.address} at {self._url}: {details}. Nothing was done."
                " Has the service a handler with @grpc_method for it, and the same package in its .proto?"
            )
        if code is Status.UNAVAILABLE and "failed to connect" in details.lower():
            return ConnectError(f"nobody answers at {self._url} ({details}). Nothing was sent. Is the service running?")
        if code is Status.UNAVAILABLE:
            return ConnectionLost(
                f"the connection to {self._url} broke, or the service is stopping, while {self._method.address} was"
                f" under way ({details}). The work may have happened. Retry only if that is safe twice."
            )
        return RpcError({"code": code.value[0], "message": details})


def _metadata(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in (headers or {}).items())


class _Sending:
    """What a caller sends: bytes, a list of them, or an async iterator whose error is kept, for grpcio hides it."""

    def __init__(self, method: Method, data: Any) -> None:
        self.error: Exception | None = None
        self._kind = method.request
        if not method.takes_stream:
            self.whole: Any = write(self._kind, {} if data is None else data)
        elif isinstance(data, AsyncIterable):
            self.whole = self._each(data)
        elif isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
            self.whole = [write(self._kind, one) for one in data]
        else:
            raise UsageError(
                f"{method.address} takes a stream: give an iterable of dicts, or an async one; got {data!r:.80}."
                " Nothing was sent."
            )

    async def _each(self, data: AsyncIterable[Any]) -> AsyncIterator[bytes]:
        try:
            async for one in data:
                yield write(self._kind, one)
        except Exception as error:
            self.error = error
            raise
