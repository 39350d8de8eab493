"""Deadlines that travel: a request says how long its caller still waits, and everything done for it keeps to that.

    with within(0.5):                             # from here on, 0.5 s for all of it
        user = await client.send("user", 7)       # waits at most what is left, and says so to the service
        await client.send("greet", user, timeout=2)

    async def handler(data, ctx):                 # there, and in every service that it calls in turn:
        if ctx.remaining < 0.1: ...               # seconds until the first caller gives up

Guarantee: no request made in the block waits longer than what is left of it, and none is made after it. A request
that comes when its caller has given up is answered with an error, and its handler does not run: work that nobody
waits for is what keeps an overloaded service overloaded. Requests outside such a block travel as before.

On the wire: the headers `timeout-ms` (relative, as gRPC's own grpc-timeout) and `sent-ms` (unix time). The
first is what counts; the second takes off the time in the broker's queue. A NestJS peer ignores both, and passes
nothing on. gRPC carries a deadline by itself.
Where it ends: with clocks that differ, so does the time taken off; a receiver whose clock is ahead by more than the
timeout refuses everything, and its error says both numbers. A handler under way is not stopped (but on gRPC).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from .errors import PostOfficeError, UsageError

__all__ = ["DeadlinePassed", "arrived", "current", "left", "limited", "outgoing", "stands", "within"]

TIMEOUT, SENT = "timeout-ms", "sent-ms"
_deadline: ContextVar[float | None] = ContextVar("postoffice_deadline", default=None)  # the event loop's time


class DeadlinePassed(PostOfficeError, TimeoutError):
    """The time for all of it is over: this request was not sent."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give everything in the block so many seconds; a shorter deadline that stands already stays.

    Raises:
        UsageError: a negative number of seconds.
    """
    if not seconds >= 0:
        raise UsageError(f"within(...) takes a number of seconds, 0 or more; got {seconds!r}.")
    end, outer = asyncio.get_running_loop().time() + seconds, _deadline.get()
    token = _deadline.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def current() -> float | None:
    """The deadline of what this task does, in the event loop's time; None where there is none."""
    return _deadline.get()


def left() -> float | None:
    """Seconds until then, not below 0; None where there is no deadline."""
    end = _deadline.get()
    return None if end is None else max(0.0, end - asyncio.get_running_loop().time())


def limited(timeout: float) -> float:
    """A timeout in seconds, made shorter where less is left.

    Raises:
        DeadlinePassed: nothing is left.
    """
    rest = left()
    if rest is None:
        return timeout
    if rest <= 0:
        raise DeadlinePassed("the deadline for all of this has passed, so the request was not sent. Nothing was done.")
    return min(timeout, rest)


def outgoing(headers: Mapping[str, str] | None, limit: float) -> Mapping[str, str] | None:
    """The headers of a request whose caller waits for `limit` seconds; as they are where no deadline stands."""
    if _deadline.get() is None:
        return headers
    return {**(headers or {}), TIMEOUT: str(int(limit * 1000)), SENT: str(int(time.time() * 1000))}


def arrived(headers: Mapping[str, Any]) -> str | None:
    """Let what is done for this message keep to its deadline. Returns why it should not be done at all, if so."""
    _deadline.set(None)  # whatever stood where the connection was opened is no matter
    if TIMEOUT not in headers:
        return None
    try:
        timeout, sent = int(headers[TIMEOUT]) / 1000, int(headers.get(SENT, 0)) / 1000
    except (ValueError, TypeError, OverflowError):  # not of our making
        return None
    age = max(0.0, time.time() - sent) if sent else 0.0
    _deadline.set(asyncio.get_running_loop().time() + timeout - age)
    if age < timeout:
        return None
    return (
        f"the caller waits for {timeout:g} s, and the request came {age:.3f} s after it was sent, by the two clocks."
        " The handler did not run."
    )


def stands(deadline: float | None) -> None:
    """The same where the transport carries the deadline itself."""
    _deadline.set(deadline)
