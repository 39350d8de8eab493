"""What a client keeps of the requests whose answers it awaits."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from .errors import NoHandlerError, RequestTimeout, RpcError

__all__ = ["Deadlines", "Waiting", "nobody", "text_error"]


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
