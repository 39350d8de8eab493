"""What is Kafka's own at least once: offsets, handing partitions over, topics for delays and for dead letters."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from contract_help import LIMIT, Place, eventually

from postoffice import (
    Client,
    Context,
    DeadLetter,
    PermanentError,
    Retry,
    UsageError,
    dead_letters,
    event_pattern,
    message_pattern,
)

AT_LEAST_ONCE: dict[str, Any] = {"delivery": "at-least-once"}


class Office:
    """Events of one pattern; those in `fails` raise, those in `slow` wait until they may go on."""

    def __init__(self, pattern: str, retry: Retry | None = None, takes: float = 0.0) -> None:
        self.seen: list[Any] = []
        self.attempts: list[int] = []
        self.fails: set[Any] = set()
        self.slow: set[Any] = set()
        self.go = asyncio.Event()

        @event_pattern(pattern, retry=retry)
        async def job(data: Any, ctx: Context) -> None:
            self.seen.append(data)
            self.attempts.append(ctx.attempt)
            await asyncio.sleep(takes)
            if str(data) in self.slow:
                await self.go.wait()
            if str(data) in self.fails:
                raise ValueError("no")

        self.job = job


async def letters_of(place: Place, name: str, count: int) -> list[DeadLetter]:
    async with dead_letters(place.url, name) as office:
        async with asyncio.timeout(LIMIT):
            while len(found := await office.list()) < count:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
    return found


async def spread(place: Place, count: int) -> None:
    """Give the topic of a test's events more partitions."""
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "first")
    admin = AIOKafkaAdminClient(bootstrap_servers=place.url.removeprefix("kafka://"))
    await admin.start()
    try:
        await admin.create_partitions({place.job: NewPartitions(count)})
    finally:
        await admin.close()


async def emit_all(client: Client, pattern: str, numbers: range) -> None:
    await asyncio.gather(*(client.emit(pattern, one, headers={"kafka_messageKey": str(one)}) for one in numbers))


async def test_an_event_from_before_the_first_start_is_handled(place: Place) -> None:
    """And nothing is handled again after a clean stop; what came meanwhile is."""
    client = await place.connect(**AT_LEAST_ONCE)
    await emit_all(client, place.job, range(100))
    office = Office(place.job)
    service = await place.serve(office.job, **AT_LEAST_ONCE)
    await eventually(lambda: len(office.seen) == 100)
    await service.stop()
    await emit_all(client, place.job, range(100, 120))
    await service.start()
    await eventually(lambda: len(office.seen) == 120)
    assert sorted(map(int, office.seen)) == [*range(120)]


async def test_a_request_from_before_the_first_start_is_not_answered(place: Place) -> None:
    """Its caller is gone; requests on a service that delivers at least once are as at most once."""
    asked: list[Any] = []

    @message_pattern(f"{place.name}.echo")
    async def echo(data: Any) -> Any:
        asked.append(data)
        return data

    stranger = await place.connect(**AT_LEAST_ONCE)
    await stranger.emit(f"{place.name}.echo", "old")
    office = Office(place.job)
    await place.serve(office.job, echo, **AT_LEAST_ONCE)
    client = await place.connect()
    assert await client.send(f"{place.name}.echo", "new") == "new"
    assert asked == ["new"]
    answers = await asyncio.gather(*(client.send(f"{place.name}.echo", str(number)) for number in range(200)))
    assert answers == [str(number) for number in range(200)]


async def test_a_slow_event_holds_up_no_more_than_the_window(place: Place) -> None:
    """One offset for a partition: with prefetch 4, three go past a slow one; then the rest, and all are committed."""
    office = Office(place.job)
    office.slow = {"0"}
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(10):
        await client.emit(place.job, number)
    service = await place.serve(office.job, prefetch=4, **AT_LEAST_ONCE)
    await eventually(lambda: len(office.seen) == 4)
    await asyncio.sleep(0.3)
    assert office.seen == ["0", "1", "2", "3"]
    office.go.set()
    await eventually(lambda: len(office.seen) == 10)
    await service.stop()
    await service.start()
    await client.emit(place.job, "next")
    await eventually(lambda: "next" in office.seen)
    assert office.seen == [*map(str, range(10)), "next"]


async def test_replicas_that_come_and_go_repeat_nothing(place: Place) -> None:
    """Partitions are handed over when what is under way has finished. Four partitions, one to three replicas."""
    await spread(place, 4)
    offices = [Office(place.job, takes=0.01) for _ in range(3)]
    await place.serve(offices[0].job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await emit_all(client, place.job, range(300))
    second = await place.serve(offices[1].job, **AT_LEAST_ONCE)
    await emit_all(client, place.job, range(300, 600))
    await place.serve(offices[2].job, **AT_LEAST_ONCE)
    await emit_all(client, place.job, range(600, 900))
    await second.stop()
    await emit_all(client, place.job, range(900, 1000))
    await eventually(lambda: sum(len(one.seen) for one in offices) >= 1001, "all events", 2 * LIMIT)
    everything = [one for office in offices for one in office.seen if one != "first"]
    assert sorted(map(int, everything)) == [*range(1000)]
    assert all(office.seen for office in offices)


async def test_failed_events_stay_with_their_service(place: Place) -> None:
    """Two services have the event; one fails, retries and gives up. None of it reaches the other."""
    one, other = Office(place.job, Retry(attempts=2, initial=0.05)), Office(place.job)
    one.fails = {"x"}
    await place.serve(one.job, name=f"{place.name}-a", **AT_LEAST_ONCE)
    await place.serve(other.job, name=f"{place.name}-b", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "x")
    (letter,) = await letters_of(place, f"{place.name}-a.dead", 1)
    assert not letter.id.startswith(place.job), "an event of ours has an identity of its own"
    one.fails.clear()
    async with dead_letters(place.url, f"{place.name}-a.dead") as office:
        assert await office.requeue_all() == 1
    await eventually(lambda: len(one.seen) == 3)
    await client.emit(place.job, "end")
    await eventually(lambda: "end" in other.seen and "end" in one.seen)
    assert (one.seen, one.attempts) == (["x", "x", "x", "end"], [1, 2, 1, 1])
    assert other.seen == ["x", "end"]


async def test_a_delay_that_the_next_version_does_not_have(place: Place) -> None:
    """What waits in a topic of the version before is handled by the one after."""
    old, new = Office(place.job, Retry(attempts=2, initial=0.7, jitter=0)), Office(place.job)
    old.fails = {"x"}
    first = await place.serve(old.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "x")
    await eventually(lambda: old.seen == ["x"])
    await first.stop()
    await place.serve(new.job, **AT_LEAST_ONCE)
    await eventually(lambda: new.seen == ["x"])
    assert new.attempts == [2]


async def test_short_delays_do_not_wait_for_long_ones(place: Place) -> None:
    """A topic a delay: 30 events that come again in a minute, then one that comes again at once."""

    class Soon(Exception):
        pass

    seen: list[Any] = []

    @event_pattern(place.job, retry=Retry(attempts=3, initial=60, max=60, jitter=0))
    async def late(data: Any) -> None:
        raise ValueError("later")

    @event_pattern(f"{place.job}.soon", retry=Retry(attempts=2, initial=0.05, jitter=0, on=(Soon,)))
    async def soon(data: Any, ctx: Context) -> None:
        seen.append(ctx.attempt)
        if ctx.attempt == 1:
            raise Soon

    await place.serve(late, soon, prefetch=2, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await emit_all(client, place.job, range(30))
    await client.emit(f"{place.job}.soon")
    await eventually(lambda: seen == [1, 2], within=5)


async def test_what_others_send(place: Place) -> None:
    """No identity: its place is one. No value, no text, a key and headers: a requeue brings back the very same."""
    raised: list[Any] = []

    @event_pattern(place.job)
    async def job(data: Any, ctx: Context) -> None:
        raised.append((data, ctx.raw, ctx.message_id, dict(ctx.headers)))
        raise PermanentError("no")

    await place.serve(job, **AT_LEAST_ONCE)
    producer = AIOKafkaProducer(bootstrap_servers=place.url.removeprefix("kafka://"))
    await producer.start()
    headers = [("x", b"\xff\xfe"), ("empty", b"")]
    for value, key in ((b"\xff\xfe\x00", b"k\xff"), (None, b"key"), (b"", None)):
        await producer.send_and_wait(place.job, value, key=key, headers=headers)
    await producer.stop()
    found = await letters_of(place, f"{place.name}.dead", 3)
    assert [one.id for one in found] == [f"{place.job}-0-{number}" for number in range(3)]
    first = list(raised)
    raised.clear()
    async with dead_letters(place.url, f"{place.name}.dead") as office:
        assert await office.requeue_all() == 3
        await eventually(lambda: len(raised) == 3)
        for data, raw, identity, _ in first:
            again = next(one for one in raised if one[2] == identity)
            assert again[:2] == (data, raw)
            assert again[3]["x"] == "\ufffd\ufffd"
        async with asyncio.timeout(LIMIT):
            while len(found := await office.list()) < 3:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
        assert {one.headers.get("kafka_messageKey") for one in found} == {"k\ufffd", "key", None}


async def test_an_event_as_large_as_kafka_takes(place: Place) -> None:
    """Its copies are larger than it is: their topics take them."""
    office = Office(place.job, Retry(attempts=2, initial=0.01))
    text = "a" * 1_048_400
    office.fails = {text}
    await place.serve(office.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, text)
    (letter,) = await letters_of(place, f"{place.name}.dead", 1)
    assert letter.data == text
    assert letter.attempts == 2


async def test_dead_letters_of_a_topic_that_is_not_there(place: Place) -> None:
    async with dead_letters(place.url, f"{place.name}.nothing") as office:
        with pytest.raises(UsageError, match="there is no topic"):
            await office.list()


async def test_a_broker_that_is_killed_loses_nothing(place: Place) -> None:
    """400 events while it dies and comes back, some of them failing once: all that was confirmed is handled."""
    assert place.broker
    office = Office(place.job, Retry(attempts=3, initial=0.1))
    office.fails = {str(number) for number in range(0, 400, 20)}
    await place.serve(office.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    stored: set[str] = set()

    async def emit(number: int) -> None:
        try:
            await client.emit(place.job, number, message_id=f"{number}-{secrets.token_hex(2)}")
        except (ConnectionError, TimeoutError):
            return
        stored.add(str(number))

    emits = [asyncio.create_task(emit(number)) for number in range(200)]
    await eventually(lambda: len(office.seen) > 20)
    place.broker.kill()
    emits += [asyncio.create_task(emit(number)) for number in range(200, 400)]
    await place.broker.restart()
    office.fails.clear()
    await asyncio.gather(*emits)
    await eventually(lambda: stored <= set(office.seen), "all that was stored", 3 * LIMIT)
    assert stored
