"""At least once, the same on every transport that has it: retries, dead letters, requeue, crashes."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import (
    Context,
    DeadLetter,
    PermanentError,
    Retry,
    Service,
    UnsupportedError,
    UsageError,
    dead_letters,
    event_pattern,
)

DURABLE = ("rabbitmq", "redis", "nats", "kafka", "mqtt")
durable = pytest.mark.parametrize("kind", DURABLE)
UNCOUNTED = {"kafka": "Kafka", "mqtt": "MQTT"}
counted = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=[pytest.mark.skip(reason=f"{UNCOUNTED[kind]} does not count deliveries: a crash loop goes on")]
            if kind in UNCOUNTED
            else [],
        )
        for kind in DURABLE
    ],
)
FAST = Retry(attempts=3, initial=0.1, jitter=0)


class Office:
    """A handler that fails as it is told to, and notes every delivery. Its dead letters are this test's own."""

    def __init__(self, place: Place, retry: Retry | None = FAST, **fails: BaseException) -> None:
        self.fails = fails
        self.seen: list[tuple[Any, int]] = []
        self.ids: list[str | None] = []
        self.times: list[float] = []

        @event_pattern(place.job, retry=retry, dead_letter=f"{place.name}.graves")
        async def job(data, ctx: Context):
            self.seen.append((data, ctx.attempt))
            self.ids.append(ctx.message_id)
            self.times.append(time.monotonic())
            if data in self.fails:
                raise self.fails[data]

        self.job = job


async def graves(place: Place, count: int, name: str | None = None) -> list[DeadLetter]:
    """The dead letters, once there are so many."""
    async with dead_letters(place.url, name or f"{place.name}.graves") as letters:
        async with asyncio.timeout(LIMIT):
            while len(found := await letters.list()) < count:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
        return found


@durable
async def test_a_failing_event_is_retried_and_the_others_do_not_wait(place: Place) -> None:
    """Each attempt has its number, one identity, its delay; what comes after is handled meanwhile."""
    one = Office(place, bad=ValueError("not today"))
    await place.serve(one.job, delivery="at-least-once", prefetch=1)
    client = await place.connect(delivery="at-least-once")
    await client.emit(place.job, "bad", message_id="bad-1")
    for number in range(20):
        await client.emit(place.job, number)
    await eventually(lambda: len(one.seen) == 23, f"23 deliveries in {one.seen}")
    assert [seen for seen in one.seen if seen[0] == "bad"] == [("bad", 1), ("bad", 2), ("bad", 3)]
    assert one.seen[-1] == ("bad", 3), "none waited for the retries"
    times = [when for when, seen in zip(one.times, one.seen, strict=True) if seen[0] == "bad"]
    assert times[1] - times[0] >= 0.09
    assert times[2] - times[1] >= 0.19, "the second delay is twice the first"
    assert {name for name, seen in zip(one.ids, one.seen, strict=True) if seen[0] == "bad"} == {"bad-1"}


@durable
async def test_a_dead_letter_says_everything(place: Place) -> None:
    """The reason, the attempts, the first and the last time, the pattern, the headers, the data."""
    one = Office(place, bad=ValueError("not today"))
    began = time.time()
    await place.serve(one.job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    await client.emit(place.job, "bad", headers={"x-trace": "é✓"} if place.kind != "nats" else {"x-trace": "abc"})
    (letter,) = await graves(place, 1)
    assert (letter.pattern, letter.data, letter.kind, letter.attempts) == (place.job, "bad", "exhausted", 3)
    assert letter.reason == "ValueError: not today"
    assert letter.headers["x-trace"] in ("é✓", "abc")
    assert began - 0.01 <= letter.first < letter.last <= time.time() + 0.01
    assert letter.service == place.name


@durable
@pytest.mark.parametrize(
    ("data", "kind_of_letter", "reason"),
    [
        ("permanent", "permanent", "PermanentError: no such article"),
        ("other", "permanent", "KeyError: 'x'"),
        ({"no": "text"}, "invalid", "InvalidPayload: invalid payload: Expected `str`"),
    ],
)
async def test_what_trying_again_cannot_help_is_dead_at_once(
    place: Place, data: Any, kind_of_letter: str, reason: str
) -> None:
    """A PermanentError, an error that the Retry does not name, an invalid payload."""
    errors = {"permanent": PermanentError("no such article"), "other": KeyError("x")}

    @event_pattern(place.job, retry=Retry(attempts=5, on=(ValueError,)))
    async def job(data: str):
        raise errors[data]

    await place.serve(job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    await client.emit(place.job, data)
    (letter,) = await graves(place, 1, f"{place.name}.dead")
    assert (letter.kind, letter.attempts, letter.data) == (kind_of_letter, 1, data)
    assert letter.reason.startswith(reason)


@durable
async def test_a_requeued_letter_is_the_same_message(place: Place) -> None:
    """Repaired by deploying a better handler, or by repairing the data; then the dead letters are empty."""
    one = Office(place, None, a=ValueError("broken"), b=ValueError("broken"), c=ValueError("broken"))
    await place.serve(one.job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    for data in "abc":
        await client.emit(place.job, data, message_id=f"id-{data}")
    first, second, third = await graves(place, 3)
    del one.fails["a"]
    one.seen.clear(), one.ids.clear()
    async with dead_letters(place.url, f"{place.name}.graves") as letters:
        await letters.requeue(first)
        await letters.requeue(second.id, data="mended")
        await letters.drop(third)
        assert await letters.list() == []
        with pytest.raises(UsageError, match=r"no dead letter 'id-a' in .*, which has 0"):
            await letters.requeue(first)
    await eventually(lambda: len(one.seen) == 2, f"two deliveries in {one.seen}")
    assert sorted(one.seen) == [("a", 1), ("mended", 1)]
    assert sorted(map(str, one.ids)) == ["id-a", "id-b"]


@durable
async def test_requeue_all_drains_the_queue(place: Place) -> None:
    one = Office(place, None, bad=ValueError("broken"))
    await place.serve(one.job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    for _ in range(10):
        await client.emit(place.job, "bad")
    await graves(place, 10)
    one.fails.clear()
    async with dead_letters(place.url, f"{place.name}.graves") as letters:
        assert await letters.requeue_all() == 10
        assert await letters.list() == []
    await eventually(lambda: len(one.seen) == 20, "each handled once more")
    assert len(set(one.ids)) == 10


@durable
async def test_a_service_that_dies_in_a_backoff_loses_nothing(place: Place, tmp_path: Path) -> None:
    """The delay is the broker's: the next process gets the event, with its count."""
    source = """
        from postoffice import Context, Retry, event_pattern

        @event_pattern("PATTERN", retry=Retry(attempts=5, initial=0.5, jitter=0))
        async def job(data, ctx: Context):
            print("JOB", data, ctx.attempt, flush=True)
            if ctx.attempt == 1:
                raise ValueError("not yet")
    """
    text = "\n".join(line.removeprefix("        ") for line in source.splitlines()).replace("PATTERN", place.job)
    first = await place.run(text, tmp_path, "--delivery", "at-least-once")
    client = await place.connect(delivery="at-least-once")
    for number in range(5):
        await client.emit(place.job, number)
    await eventually(lambda: first.log.count("comes again in") == 5, "five retries under way")
    first.signal(signal.SIGKILL)
    await first.ended()
    second = await place.run(text, tmp_path, "--delivery", "at-least-once")
    await eventually(lambda: all(f"JOB {number} 2" in second.log for number in range(5)), "all five again")


@durable
async def test_an_event_without_a_retry_is_not_dropped(place: Place) -> None:
    """A handler that raises and says nothing about it: the event lies in the service's dead letters."""

    @event_pattern(place.job)
    async def job():
        raise ValueError("oh")

    await place.serve(job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    await client.emit(place.job, 1)
    (letter,) = await graves(place, 1, f"{place.name}.dead")
    assert (letter.kind, letter.attempts) == ("permanent", 1)


@counted
async def test_a_message_that_kills_its_service_again_and_again(place: Place, tmp_path: Path) -> None:
    """Where deliveries are counted it is dead-lettered before the handler is called once more; the others live."""
    options = ["--delivery", "at-least-once"] + (["--quorum"] if place.kind == "rabbitmq" else [])
    options += ["--ack-wait", "0.5"] if place.kind in ("redis", "nats") else []
    text = (
        "import os, signal\nfrom postoffice import Retry, event_pattern\n"
        f"@event_pattern('{place.job}', retry=Retry(attempts=3))\nasync def job(data):\n"
        "    print('JOB', data, flush=True)\n"
        "    if data == 'deadly':\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = await place.run(text, tmp_path, *options)
    client = await place.connect(delivery="at-least-once")
    await client.emit(place.job, "deadly")
    for _ in range(3):
        assert await process.ended() == -signal.SIGKILL
        process = await place.run(text, tmp_path, *options)
    (letter,) = await graves(place, 1, f"{place.name}.dead")
    assert (letter.kind, letter.attempts, letter.data) == ("crashed", 3, "deadly")
    await client.emit(place.job, "harmless")
    await eventually(lambda: "JOB harmless" in process.log)


@pytest.mark.parametrize("kind", ["tcp", "redis", "nats", "rabbitmq", "mqtt"])
async def test_a_promise_that_cannot_be_kept_is_refused_at_start(place: Place) -> None:
    """Retries and dead letters at most once; dead letters of a transport without any."""
    job = Office(place).job
    with pytest.raises(UnsupportedError, match="has retry= or dead_letter=, and this service delivers at most once"):
        Service(job, url=place.url, name="x")
    if place.kind == "tcp":
        with pytest.raises(UnsupportedError, match=r"TCP has no dead letters: what fails there is gone. RabbitMQ"):
            dead_letters(place.url, "x")
