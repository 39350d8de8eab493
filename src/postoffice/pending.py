"""What a client keeps of the requests whose answers it awaits."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from . import messages
from .errors import ConnectionLost, NoHandlerError, PostOfficeError, RequestTimeout, RpcError

__all__ = ["Pending", "Waiting"]

log = logging.getLogger("postoffice")


class Waiting:
    """A request whose answer is awaited."""

    __slots__ = ("future", "id", "limit", "route", "value", "values")

    def __init__(
        self,
        request_id: str,
        address: str,
        limit: float,
        future: asyncio.Future[Any],
        values: asyncio.Queue[Any] | None,
    ) -> None:
        self.id = request_id
        self.route = address
        self.limit = limit
        self.future = future
        self.values = values
        self.value: Any = None

    def drop(self) -> None:
        """Nobody waits any more: an error that has come, or will, is not missed."""
        if not self.future.cancel() and not self.future.cancelled():
            self.future.exception()

    def late(self) -> RequestTimeout:
        """What its caller is told when no answer has come in time."""
        return RequestTimeout(
            f"no answer to {self.route!r} within {self.limit:g} s. The work may have happened, or may"
            " happen yet: a timeout is an unknown outcome. Retry only what is safe to do twice."
        )

    def take(self, value: Any) -> None:
        if self.values is None:
            self.value = value
        else:
            self.values.put_nowait(value)


class Deadlines:
    """One timer for all timeouts: a heap of (time, id), swept when the earliest is due."""

    def __init__(self, expire: Callable[[str], None]) -> None:
        self._expire = expire
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, when: float, request_id: str) -> None:
        heapq.heappush(self._heap, (when, request_id))
        if self._timer is None or when < self._timer.when():
            self._arm()

    def close(self) -> None:
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._sweep) if self._heap else None

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            self._expire(heapq.heappop(self._heap)[1])
        self._timer = None
        if self._heap:
            self._arm()


class Pending:
    """The requests of one client, and what the transport tells about them (it is the transport's `Replies`).

    Args:
        url: of the service or the broker, for errors.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, Waiting] = {}
        self._deadlines = Deadlines(self._expire)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Await an answer to this request, for as long as its limit says."""
        self._waiting[waiting.id] = waiting
        self._deadlines.add(asyncio.get_running_loop().time() + waiting.limit, waiting.id)

    def remove(self, waiting: Waiting) -> None:
        """Its answer is not awaited any more."""
        self._waiting.pop(waiting.id, None)

    def close(self) -> None:
        """Whoever still waits is told that the client was closed."""
        self.on_lost(ConnectionLost("this client was closed while a reply was awaited. The work may have happened."))
        self._deadlines.close()

    def on_reply(self, packet: bytes, request_id: str | None = None) -> None:
        """A reply packet has come. One that nobody waits for is dropped: it is late, or for another client."""
        try:
            reply = messages.read_reply(packet)
            if request_id is None:
                request_id = str(messages.decode(reply.id))
            waiting = self._waiting.get(request_id)
            if waiting is None or waiting.future.done():
                return
            if reply.failed:
                waiting.future.set_exception(self._error(messages.decode(reply.err), waiting.route))
                return
            if reply.has_value:
                waiting.take(messages.decode(reply.response))
        except msgspec.DecodeError as error:
            log.error("a reply that is no JSON was dropped: %s", error)
            return
        if reply.last:
            waiting.future.set_result(waiting.value)

    def on_nobody(self, request_id: str, reason: str) -> None:
        """The broker says that nobody takes this request."""
        if request_id in self._waiting:
            self._fail(request_id, nobody(self._waiting[request_id].route, self._url, reason))

    def on_lost(self, error: ConnectionLost) -> None:
        """The connection broke: whatever is awaited will not come."""
        for request_id in list(self._waiting):
            self._fail(request_id, ConnectionLost(*error.args))

    def _fail(self, request_id: str, error: Exception) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_exception(error)

    def _error(self, error: Any, address: str) -> PostOfficeError:
        if error == messages.NO_HANDLER:
            return nobody(address, self._url, "the service has no such message pattern")
        return RpcError(error) if not isinstance(error, str) else text_error(error)

    def _expire(self, request_id: str) -> None:
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            self._fail(request_id, waiting.late())


def nobody(address: str, url: str, reason: str) -> NoHandlerError:
    """What a caller is told whose request reached nobody."""
    return NoHandlerError(
        f"nobody handles {address!r} at {url}: {reason}. Nothing was done."
        " Is the service started? Compare the pattern with its @message_pattern, letter by letter."
    )


def text_error(error: str) -> RpcError:
    """An error that travelled as plain text: passed on as it came."""
    result = RpcError(error)
    result.error = error
    return result
