"""Retries: only what is safe, within the deadline, and never more than the budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import (
    ConnectError,
    ConnectionLost,
    NoHandlerError,
    PermanentError,
    RequestTimeout,
    Retry,
    RpcError,
    UsageError,
)
from postoffice.breaker import CircuitOpen
from postoffice.budget import TRANSIENT, RetryBudget, retrying
from postoffice.deadlines import within

QUICK = Retry(attempts=3, initial=0.001, max=0.001, jitter=0, on=TRANSIENT)


class Call:
    """Fails as it is told, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.mark.parametrize("error", [ConnectError("x"), NoHandlerError("x")])
async def test_what_certainly_did_nothing_is_tried_again(error: Exception) -> None:
    """Whatever the call does."""
    call = Call(error, error)
    assert await retrying(call, retry=QUICK) == "answer"
    assert call.count == 3


@pytest.mark.parametrize("error", [RequestTimeout("x"), ConnectionLost("x")])
async def test_an_unknown_outcome_is_repeated_only_when_that_is_safe(error: Exception) -> None:
    """As its caller says."""
    call = Call(error)
    with pytest.raises(type(error)):
        await retrying(call, retry=QUICK)
    assert call.count == 1
    assert await retrying(Call(error), retry=QUICK, idempotent=True) == "answer"


@pytest.mark.parametrize(
    "error", [RpcError("no"), PermanentError("no"), ValueError(), UsageError("x"), CircuitOpen("x", 1)]
)
async def test_an_answer_or_a_mistake_is_not_repeated(error: Exception) -> None:
    """Not even where it were safe."""
    call = Call(error)
    with pytest.raises(type(error)):
        await retrying(call, retry=QUICK, idempotent=True)
    assert call.count == 1


async def test_the_last_error_is_raised() -> None:
    """After all attempts."""
    call = Call(ConnectError("1"), ConnectError("2"), ConnectError("3"))
    with pytest.raises(ConnectError, match="3"):
        await retrying(call, retry=QUICK)
    assert call.count == 3


async def test_a_cancelled_call_is_not_repeated() -> None:
    """Its caller has gone."""
    call = Call(ConnectError("1"))
    task = asyncio.create_task(retrying(call, retry=Retry(initial=30, on=TRANSIENT)))
    while not call.count:  # noqa: ASYNC110 - it is the next turn
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.count == 1


async def test_no_attempt_after_the_deadline() -> None:
    """A delay that leads past it is not waited for."""
    call = Call(*[ConnectError("x")] * 5)
    began = asyncio.get_running_loop().time()
    with within(1), pytest.raises(ConnectError):
        await retrying(call, retry=Retry(attempts=5, initial=30, jitter=0, on=TRANSIENT))
    assert call.count == 1
    assert asyncio.get_running_loop().time() - began < 1


async def test_an_outage_costs_a_tenth_more_and_no_more() -> None:
    """A thousand calls, all failing: three attempts each would be 3,000."""
    budget, calls = RetryBudget(ratio=0.1, burst=10), Call(*[ConnectError("x")] * 9999)
    for _ in range(1000):
        with pytest.raises(ConnectError):
            await retrying(calls, retry=Retry(attempts=3, initial=0.001, max=0.001, jitter=0), budget=budget)
    assert calls.count == 1000 + 100 + 10 - 1, "the first request finds the bucket full, so its tenth is lost"
    assert repr(budget).startswith("<RetryBudget: 109 retries of 1000 requests, ")


@given(st.floats(0, 1), st.integers(0, 20), st.lists(st.booleans(), max_size=300))
def test_in_any_stretch_of_time(ratio: float, burst: int, story: list[bool]) -> None:
    """Retries <= ratio * requests + burst, from any moment to any later one."""
    budget = RetryBudget(ratio, burst)
    counts: list[tuple[int, int]] = [(0, 0)]
    for is_request in story:
        if is_request:
            budget.request()
        else:
            budget.retry()
        counts.append((budget.requests, budget.retries))
    worst = max(retries - ratio * requests for requests, retries in counts)
    least, spread = counts[0][1], 0.0
    for requests, retries in counts:
        least = min(least, retries - ratio * requests)
        spread = max(spread, retries - ratio * requests - least)
    assert worst <= spread <= burst + 1e-6


@pytest.mark.parametrize("options", [{"ratio": -0.1}, {"ratio": 1.1}, {"burst": -1}])
def test_numbers_that_make_no_budget(options: dict[str, Any]) -> None:
    """Said at once."""
    with pytest.raises(UsageError, match="make no budget"):
        RetryBudget(**options)
