"""Retries of calls that stay a small part of the load: what is safe, within the deadline, within a budget.

    budget = RetryBudget(ratio=0.1, burst=10)      # one, shared by all calls to a service
    reply = await retrying(lambda: client.send("stock", 7, timeout=0.2), idempotent=True, budget=budget)

When a service is overloaded every call fails, and with three attempts each it gets three times the load, just then;
over three tiers, twenty-seven times. A budget lets retries be a fixed part of the requests and no more.

Guarantee: in any stretch of time, retries <= ratio * requests + burst. A call is only repeated when nothing was done,
or when it is said to be `idempotent`.
Where it ends: each process has its own budget. Tiers multiply all the same, if by little: retry in one tier.

A bucket of tokens, filled by requests rather than by time: gRPC's retry throttling (gRFC A6), Finagle's RetryBudget;
the 10 % are Google's ("Site Reliability Engineering", 2016, chapter 21, "Handling Overload"). Delays: retry.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from . import deadlines
from .errors import ConnectError, ConnectionLost, NoHandlerError, RequestTimeout, UsageError
from .retry import Retry

__all__ = ["TRANSIENT", "RetryBudget", "retrying"]

T = TypeVar("T")
TRANSIENT = (ConnectError, NoHandlerError, RequestTimeout, ConnectionLost)
"""Errors after which a call may go well soon. An RpcError is an answer, and an open circuit is meant to be kept."""


class RetryBudget:
    """How many retries a service's callers may make, shared by all calls of this process to it.

    Args:
        ratio: retries for each request, 0 to 1. burst: retries that may come at once, before any request.

    Raises:
        UsageError: a number that makes no sense.
    """

    def __init__(self, ratio: float = 0.1, burst: float = 10) -> None:
        if not (0 <= ratio <= 1 and burst >= 0):
            raise UsageError(f"a ratio of {ratio} and a burst of {burst} make no budget: 0 to 1, and 0 or more.")
        self.ratio, self.burst = ratio, burst
        self.requests = self.retries = self.refused = 0
        self._tokens = float(burst)

    def __repr__(self) -> str:
        return (
            f"<RetryBudget: {self.retries} retries of {self.requests} requests, {self.refused} refused; at most"
            f" {self.ratio:.0%} and {self.burst:g} at once>"
        )

    def request(self) -> None:
        """Count a request, a first attempt: it pays for a part of a retry."""
        self.requests += 1
        self._tokens = min(self._tokens + self.ratio, float(self.burst))

    def retry(self) -> bool:
        """Take a retry out of the budget; False when there is none."""
        if self._tokens < 1 - 1e-9:  # ten tenths are a whole
            self.refused += 1
            return False
        self._tokens -= 1
        self.retries += 1
        return True


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    retry: Retry | None = None,
    idempotent: bool = False,
    budget: RetryBudget | None = None,
) -> T:
    """The result of `await call()`, called again after a transient error, or the last error.

    Args:
        retry: how often and after which delays (by default 3 attempts, 0.1 s, full jitter), and after which errors.
        idempotent: doing it twice is safe, so that an unknown outcome (RequestTimeout, ConnectionLost) is repeated
            too. Otherwise only what certainly did nothing is.
        budget: of all calls to that service.

    No attempt is begun for which no time is left (`deadlines.within`). Raises what the last attempt raised.
    """
    plan = retry or Retry(attempts=3, initial=0.1, max=2.0, jitter=1.0, on=TRANSIENT)
    if budget is not None:
        budget.request()
    attempt = 1
    while True:
        try:
            return await call()
        except Exception as error:
            pause = plan.delay(attempt) if _helps(plan, error, idempotent) else None
            if pause is None or not _in_time(pause) or (budget is not None and not budget.retry()):
                raise
        await asyncio.sleep(pause)
        attempt += 1


def _helps(plan: Retry, error: Exception, idempotent: bool) -> bool:
    """Whether to try again after this error. What does not say that nothing was done may have done it."""
    return plan.covers(error) and (idempotent or not getattr(error, "may_have_happened", True))


def _in_time(pause: float) -> bool:
    left = deadlines.left()
    return left is None or pause < left
