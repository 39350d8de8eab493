"""The circuit breaker: when it opens, whom it lets probe, when it closes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import ConnectError, RequestTimeout, RpcError, UsageError
from postoffice.breaker import CircuitBreaker, CircuitOpen


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker_of(clock: Clock, **options: Any) -> CircuitBreaker:
    return CircuitBreaker("payments", **{"window": 4, "minimum": 2, "wait": 5.0, **options}, clock=clock)


async def end(breaker: CircuitBreaker, error: BaseException | None = None) -> None:
    """A call through the breaker that ends so."""

    async def function() -> None:
        if error is not None:
            raise error

    await asyncio.gather(breaker.call(function), return_exceptions=False)


async def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(RequestTimeout):
            await end(breaker, RequestTimeout("late"))


async def test_it_opens_at_its_ratio_and_not_before_its_minimum(clock: Clock) -> None:
    """One failure of one call is no pattern."""
    breaker = breaker_of(clock)
    await fail(breaker)
    assert breaker.state == "closed"
    await end(breaker)
    assert breaker.state == "open", "one of two is the ratio"
    assert "1 of the last 2 calls failed" in breaker.changes[-1].why


async def test_only_the_last_calls_count(clock: Clock) -> None:
    """Old failures leave the window."""
    breaker = breaker_of(clock, ratio=0.75)
    await end(breaker)
    await fail(breaker)
    for _ in range(3):
        await end(breaker)
    await fail(breaker, 2)
    assert breaker.state == "closed", "two of the last four"
    await fail(breaker)
    assert breaker.state == "open"


async def test_open_calls_nothing_and_says_when_it_probes(clock: Clock) -> None:
    """At once, with the seconds left."""
    breaker = breaker_of(clock)
    await fail(breaker, 2)
    clock.now += 3
    with pytest.raises(
        CircuitOpen, match=r"'payments' is open \(2 of the last 2 .* probes again in 2\.00 s\. The call was not made"
    ) as caught:
        await breaker.call(pytest.fail, "it was called")
    assert caught.value.retry_after == pytest.approx(2)
    assert not caught.value.may_have_happened


@pytest.mark.parametrize("error", [RpcError("no such article"), ValueError("ours")])
async def test_an_answer_is_no_failure(clock: Clock, error: Exception) -> None:
    """The other side lives."""
    breaker = breaker_of(clock)
    for _ in range(5):
        with pytest.raises(type(error)):
            await end(breaker, error)
    assert breaker.state == "closed"


async def test_what_counts_can_be_chosen(clock: Clock) -> None:
    """An RpcError, for instance."""
    breaker = breaker_of(clock, failures=(RpcError,))
    for _ in range(2):
        with pytest.raises(RpcError):
            await end(breaker, RpcError("overloaded"))
    assert breaker.state == "open"


async def test_a_cancelled_call_counts_as_nothing(clock: Clock) -> None:
    """And gives its place as a probe back."""
    breaker = breaker_of(clock)
    for _ in range(4):
        task = asyncio.create_task(breaker.call(asyncio.sleep, 60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert breaker.state == "closed"
    await fail(breaker, 2)
    clock.now += 5
    task = asyncio.create_task(breaker.call(asyncio.sleep, 60))
    await asyncio.sleep(0)
    assert breaker.state == "half-open"
    task.cancel()
    await asyncio.wait([task])
    await end(breaker)
    assert breaker.state == "closed"


async def test_half_open_lets_so_many_probe_at_once(clock: Clock) -> None:
    """Fifty callers come; two pass; the others are refused at once."""
    breaker = breaker_of(clock, probes=2)
    await fail(breaker, 2)
    clock.now += 5
    gate, passed = asyncio.Event(), []

    async def probe() -> None:
        passed.append(1)
        await gate.wait()

    calls = [asyncio.create_task(breaker.call(probe)) for _ in range(50)]
    await asyncio.sleep(0)
    assert len(passed) == 2
    gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, CircuitOpen) for one in results) == 48
    assert "2 of at most 2 probes are under way" in str(next(one for one in results if one))
    assert breaker.state == "closed"


async def test_a_failed_probe_opens_it_again(clock: Clock) -> None:
    """For the whole wait; the changes tell the story."""
    breaker = breaker_of(clock)
    await fail(breaker, 2)
    clock.now += 5
    await fail(breaker)
    with pytest.raises(CircuitOpen):
        await end(breaker)
    clock.now += 5
    await end(breaker)
    states = [breaker.changes[0].before, *(one.after for one in breaker.changes)]
    assert states == ["closed", "open", "half-open", "open", "half-open", "closed"]
    assert breaker.changes[2].why == "a probe failed: RequestTimeout"


async def test_a_call_from_an_earlier_state_says_nothing_of_a_later_one(clock: Clock) -> None:
    """It began before the breaker opened; its late failure does not end the probing."""
    breaker = breaker_of(clock)
    gate = asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        raise ConnectError("gone")

    old = asyncio.create_task(breaker.call(slow))
    await asyncio.sleep(0)
    await fail(breaker, 2)
    clock.now += 5
    async with breaker:
        gate.set()
        await asyncio.wait([old])
        assert breaker.state == "half-open"
    assert breaker.state == "closed"


async def test_nested_in_one_task(clock: Clock) -> None:
    """Each entry has its own exit, and nothing is kept of a task that has ended."""
    breaker = breaker_of(clock)
    async with breaker, breaker:
        pass
    assert breaker._entered == {}
    assert repr(breaker) == "<CircuitBreaker 'payments': closed, 0 of the last 2 calls failed>"


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=60))
def test_whatever_happens(story: list[tuple[bool, float]]) -> None:
    """While it is open nothing is called, else everything is; after its wait a call passes, whatever came before."""

    async def run() -> None:
        clock = Clock()
        breaker = breaker_of(clock)
        for failed, pause in story:
            clock.now += pause
            opened = breaker.changes[-1].at if breaker.state == "open" else None
            called = []

            async def function() -> None:
                called.append(1)  # noqa: B023 - called at once
                if failed:  # noqa: B023
                    raise TimeoutError

            try:
                await breaker.call(function)
            except TimeoutError:
                assert failed
            except CircuitOpen:
                pass
            assert (opened is not None and clock.now < opened + 5) == (not called)
        clock.now += 5
        await end(breaker)  # passes, whatever came before

    asyncio.run(run())


@pytest.mark.parametrize(
    "options", [{"minimum": 0}, {"minimum": 5}, {"ratio": 0}, {"ratio": 1.1}, {"wait": 0}, {"probes": 0}]
)
def test_numbers_that_make_no_breaker(clock: Clock, options: dict[str, Any]) -> None:
    """Said at once, with all of them."""
    with pytest.raises(UsageError, match="make no breaker"):
        breaker_of(clock, **options)
