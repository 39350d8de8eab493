"""A circuit breaker: after too many failures, calls fail at once for a while, instead of waiting and adding load.

    breaker = CircuitBreaker("payments")
    async with breaker:
        await client.send("charge", order, timeout=0.5)

    closed     calls pass; the last `window` of them are counted. When at least `minimum` were made and `ratio` of
               them failed, it opens.
    open       calls raise CircuitOpen, without being made, for `wait` seconds.
    half-open  at most `probes` calls at a time pass as a test. When `probes` of them have gone well it closes; the
               first that fails opens it again.

Guarantee: while it is open nothing is called, and while it is half-open at most `probes` calls are under way.
Where it ends: it knows this process only; each replica has to find out for itself. It sees failures, not slowness:
give every call a timeout. A probe that never ends holds its place until it does.

The pattern is Michael Nygard's ("Release It!", 2007); counting a window of calls follows Resilience4j.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar

from .errors import PostOfficeError, UsageError

__all__ = ["Change", "CircuitBreaker", "CircuitOpen", "State"]

State = Literal["closed", "open", "half-open"]
CHANGES_KEPT = 1000  # state changes that `changes` holds; a view shows no more
T = TypeVar("T")


class CircuitOpen(PostOfficeError):
    """The breaker is open: the call was not made. `retry_after` says in how many seconds a probe may pass."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state: when (the breaker's clock, seconds), from what, to what, and why."""

    at: float
    before: State
    after: State
    why: str


class CircuitBreaker:
    """Guards calls to one other service; shared by all calls to it.

    Args:
        name: for messages. window: how many of the last calls count. minimum: calls before it may open.
        ratio: the part of failed calls, more than 0 and up to 1, at which it opens. wait: seconds it stays open.
        probes: calls that may pass at a time while it is half-open, and that must go well for it to close.
        failures: the errors that count: by default those that say that the other side does not answer. Any other
            error, such as an RpcError, is an answer: the other side lives. A cancelled call counts as nothing.
        clock: seconds, never going back.

    Raises:
        UsageError: a number that makes no sense.
    """

    def __init__(
        self,
        name: str = "service",
        *,
        window: int = 20,
        minimum: int = 10,
        ratio: float = 0.5,
        wait: float = 5.0,
        probes: int = 1,
        failures: tuple[type[Exception], ...] = (TimeoutError, ConnectionError),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (1 <= minimum <= window and 0 < ratio <= 1 and wait > 0 and probes >= 1):
            raise UsageError(
                f"window {window}, minimum {minimum}, ratio {ratio}, wait {wait}, probes {probes} make no breaker:"
                " minimum is 1 to window, ratio more than 0 and up to 1, wait more than 0 s, probes at least 1."
            )
        self.name = name
        self.changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self._minimum, self._ratio, self._wait, self._probes = minimum, ratio, wait, probes
        self._failures, self._clock = failures, clock
        self._state: State = "closed"
        self._outcomes: deque[bool] = deque(maxlen=window)  # of calls while closed, True where one failed
        self._opened = 0.0
        self._period = 0  # counts state changes: a call that ends in a later one says nothing about it
        self._probing = 0
        self._entered: dict[asyncio.Task[Any] | None, list[int]] = {}

    @property
    def state(self) -> State:
        """Now. An open breaker becomes half-open by the first call after its wait."""
        return self._state

    def __repr__(self) -> str:
        failed = sum(self._outcomes)
        return f"<CircuitBreaker {self.name!r}: {self._state}, {failed} of the last {len(self._outcomes)} calls failed>"

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """`await function(...)`, if the breaker lets it pass. Raises CircuitOpen, or what the function raises."""
        async with self:
            return await function(*arguments, **options)

    async def __aenter__(self) -> CircuitBreaker:
        self._pass()
        self._entered.setdefault(asyncio.current_task(), []).append(self._period)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        period = self._entered[task].pop()
        if not self._entered[task]:
            del self._entered[task]
        if period != self._period:
            return
        if self._state == "half-open":
            self._probing -= 1
        if error is None or isinstance(error, Exception):
            self._count(isinstance(error, self._failures), error)

    def _pass(self) -> None:
        """Let a call pass, or raise."""
        if self._state == "open":
            left = self._opened + self._wait - self._clock()
            if left > 0:
                raise self._refusal(f"it probes again in {left:.2f} s", left)
            self._change("half-open", f"{self._wait:g} s have passed")
        if self._state == "half-open":
            if self._probing + len(self._outcomes) >= self._probes:
                raise self._refusal(f"{self._probing} of at most {self._probes} probes are under way", 0.0)
            self._probing += 1

    def _count(self, failed: bool, error: BaseException | None) -> None:
        self._outcomes.append(failed)
        if self._state == "half-open":
            if failed:
                self._change("open", f"a probe failed: {type(error).__name__}")
            elif len(self._outcomes) >= self._probes:
                self._change(
                    "closed", "the probe went well" if self._probes == 1 else f"{self._probes} probes went well"
                )
        elif len(self._outcomes) >= self._minimum and sum(self._outcomes) >= self._ratio * len(self._outcomes):
            self._change("open", f"{sum(self._outcomes)} of the last {len(self._outcomes)} calls failed")

    def _change(self, state: State, why: str) -> None:
        now = self._clock()
        self.changes.append(Change(now, self._state, state, why))
        self._state, self._opened = state, now
        self._period += 1
        self._probing = 0
        self._outcomes.clear()

    def _refusal(self, detail: str, left: float) -> CircuitOpen:
        last = self.changes[-2 if self._state == "half-open" and len(self.changes) > 1 else -1]
        return CircuitOpen(
            f"the circuit to {self.name!r} is {self._state} ({last.why}); {detail}. The call was not made."
            " Answer without it, or try again then.",
            left,
        )
