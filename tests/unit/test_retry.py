"""When a failed event comes again, and what travels with it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import PermanentError, Retry, UsageError
from postoffice.durable import HISTORY, History, read_history
from postoffice.transports.rabbitmq_queues import delay_arguments, delay_queue

numbers = st.floats(0.001, 100)
retries = st.builds(
    lambda attempts, initial, factor, more, jitter: Retry(attempts, initial, factor, initial + more, jitter),
    st.integers(1, 100), numbers, st.floats(1, 10), st.floats(0, 100), st.floats(0, 1),
)  # fmt: skip


@given(retries, st.integers(1, 120), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_one_that_was_announced(retry: Retry, attempt: int, drawn: float) -> None:
    """A broker has a queue for each of `delays()`, so no other delay may ever come up; the last attempt has none."""
    delay = retry.delay(attempt, lambda: drawn)
    assert (delay is None) == (attempt >= retry.attempts)
    if delay is not None:
        longest = min(retry.initial * retry.factor ** (attempt - 1), retry.max)
        assert delay in retry.delays()
        assert longest * (1 - retry.jitter) - 0.001 <= delay <= longest + 0.001
        assert delay > 0


def test_the_schedule_without_jitter() -> None:
    """Twice as long each time, at most `max`."""
    retry = Retry(attempts=6, initial=0.5, factor=2, max=3, jitter=0)
    assert [retry.delay(attempt) for attempt in range(1, 7)] == [0.5, 1.0, 2.0, 3.0, 3.0, None]
    assert retry.delays() == (0.5, 1.0, 2.0, 3.0)


def test_jitter_spreads_evenly() -> None:
    """Each of the four steps comes up about as often."""
    retry, draw = Retry(initial=1, jitter=1), random.Random(1).random
    seen = [retry.delay(1, draw) for _ in range(4000)]
    assert set(seen) == {1.0, 0.667, 0.333, 0.001}
    assert all(900 < seen.count(one) < 1100 for one in set(seen))


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"attempts": 1.5}, {"initial": 0}, {"initial": 2, "max": 1}, {"factor": 0.5}, {"jitter": 2},
     {"initial": float("nan")}, {"max": float("inf")}],
)  # fmt: skip
def test_numbers_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="makes no sense: attempts is 1 to 100"):
        Retry(**wrong)


def test_what_it_covers() -> None:
    """Errors of its kinds, never a permanent one."""
    retry = Retry(on=(ValueError, PermanentError))
    assert retry.covers(UnicodeError("a kind of ValueError"))
    assert not retry.covers(KeyError("x"))
    assert not retry.covers(PermanentError("never"))
    assert Retry().covers(OSError("any"))


@given(st.text(), st.text(), st.integers(0, 2**31), st.floats(0, 2e9))
def test_a_history_survives_its_header(identity: str, reason: str, attempts: int, when: float) -> None:
    """Whatever the texts are: the header is ASCII in one line, as NATS needs it."""
    history = History(identity, pattern=reason, attempts=attempts, first=when, reason=reason[:500], kind="permanent")
    header = history.header()
    assert header.isascii()
    assert header.isprintable()
    assert read_history({HISTORY: header}) == history


def test_failures_add_up() -> None:
    """The first time stays, the last one moves; a requeue begins anew, with the same identity."""
    once = History("7", "job", "job", source="q").failed(1, "x" * 900, "retried")
    twice = once.failed(2, "again", "exhausted")
    assert (twice.first, twice.attempts, twice.kind, len(once.reason)) == (once.first, 2, "exhausted", 500)
    assert twice.last >= once.last >= once.first > 0
    assert twice.again() == History("7", "job", "job", source="q")


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.sampled_from(["{}", '{"id":7}', "[1]"])))
def test_a_header_that_is_not_ours_is_no_history(value: Any) -> None:
    """Anybody may write such a header; the message is then one without a history."""
    assert read_history({HISTORY: value}) is None


def test_the_queue_of_a_delay() -> None:
    """The whole queue has the limit of time, so that no long delay holds up a short one."""
    assert delay_queue("orders", 0.1335) == "orders.retry.134ms"
    assert delay_arguments("orders", 0.2) == {
        "x-message-ttl": 200, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders"
    }  # fmt: skip
