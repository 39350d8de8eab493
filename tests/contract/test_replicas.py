"""Several replicas of a service, and delivery at least once."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import Context, NoHandlerError, event_pattern, message_pattern

WORKER = """
import asyncio, os
from postoffice import event_pattern

@event_pattern("job")
async def job(data, ctx):
    print("JOB", data, ctx.attempt, flush=True)
    await asyncio.sleep(3600 if ctx.attempt == 1 else 0)
    print("DONE", data, flush=True)
"""


class Replica:
    """Notes which replica was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[object] = []

    @message_pattern("who")
    async def who(self):
        await asyncio.sleep(0.001)
        return self.name

    @event_pattern("event")
    async def event(self, data):
        self.events.append(data)


@pytest.mark.parametrize(
    ("kind", "options"), [("nats", {"group": "workers"}), ("mqtt", {"group": "workers"}), ("rabbitmq", {})]
)
async def test_replicas_share_the_work(place: Place, options: dict[str, str]) -> None:
    """By a queue group (NATS), a shared subscription (MQTT) or the queue (RabbitMQ); no replica is idle."""
    one, two = Replica("one"), Replica("two")
    await place.serve(one, **options)
    await place.serve(two, **options)
    client = await place.connect()
    answers = Counter(await asyncio.gather(*(client.send("who") for _ in range(200))))
    assert answers["one"] + answers["two"] == 200
    assert min(answers.values()) > 20
    for number in range(200):
        await client.emit("event", number)
    await eventually(lambda: len(one.events) + len(two.events) == 200, "all events")
    assert sorted(one.events + two.events) == list(range(200))
    assert min(len(one.events), len(two.events)) > 20


@pytest.mark.parametrize("kind", ["redis", "nats", "mqtt"])
async def test_without_a_group_every_replica_gets_every_message(place: Place) -> None:
    """The caller takes the first answer and drops the second; an event is handled twice."""
    one, two = Replica("one"), Replica("two")
    await place.serve(one)
    await place.serve(two)
    client = await place.connect()
    assert await client.send("who") in ("one", "two")
    await client.emit("event", 1)
    await eventually(lambda: one.events == two.events == [1])
    assert await client.send("who") in ("one", "two")


@pytest.mark.parametrize("kind", ["rabbitmq", "redis", "nats", "mqtt"])
async def test_a_worker_killed_in_mid_work_does_not_lose_its_message(place: Place, tmp_path: Path) -> None:
    """At least once: the broker delivers it again, and the handler can see that it is the second attempt."""
    options = ("--delivery", "at-least-once", "--ack-wait", "0.5")
    first = await place.run(WORKER, tmp_path, *options)
    client = await place.connect(delivery="at-least-once")
    await client.emit("job", "A")
    await eventually(lambda: "JOB A 1" in first.log)
    first.signal(signal.SIGKILL)
    assert await first.ended() == -signal.SIGKILL
    second = await place.run(WORKER, tmp_path, *options)
    await eventually(lambda: "JOB A 2\nDONE A" in second.log)
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0
    third = await place.run(WORKER, tmp_path, *options)
    await client.emit("job", "B")
    await eventually(lambda: "JOB B" in third.log)
    assert "JOB A" not in third.log, "it was acknowledged, so it does not come again"


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_at_most_once_a_killed_worker_loses_its_message(place: Place, tmp_path: Path) -> None:
    """The default, as in NestJS: what was taken from the queue is gone."""
    first = await place.run(WORKER, tmp_path)
    client = await place.connect()
    await client.emit("job", "A")
    await eventually(lambda: "JOB A 1" in first.log)
    first.signal(signal.SIGKILL)
    await first.ended()
    second = await place.run(WORKER, tmp_path)
    await client.emit("job", "B")
    await eventually(lambda: "JOB B" in second.log)
    assert "JOB A" not in second.log


@pytest.mark.parametrize("kind", ["rabbitmq", "redis", "nats", "mqtt"])
async def test_a_handler_that_fails_gives_its_message_up(place: Place) -> None:
    """Dead-lettered, not delivered again and again; the ones behind it are handled."""
    seen: list[tuple[object, int]] = []

    @event_pattern("job")
    async def job(data, ctx: Context):
        seen.append((data, ctx.attempt))
        if data == "poison":
            raise ValueError("cannot be done")
        if data == "cancels":
            raise asyncio.CancelledError

    await place.serve(job, delivery="at-least-once", prefetch=1)
    client = await place.connect(delivery="at-least-once")
    for data in ("poison", "cancels", "good"):
        await client.emit("job", data)
    await eventually(lambda: len(seen) == 3, f"three jobs in {seen}")
    assert seen == [("poison", 1), ("cancels", 1), ("good", 1)]


@pytest.mark.parametrize("kind", ["rabbitmq", "redis", "nats", "mqtt"])
async def test_prefetch_bounds_what_is_under_way(place: Place) -> None:
    """At least once, the broker hands out no more than `prefetch` messages that are not acknowledged."""
    running = most = done = 0

    @event_pattern("job")
    async def job():
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        done += 1

    await place.serve(job, delivery="at-least-once", prefetch=4)
    client = await place.connect(delivery="at-least-once")
    await asyncio.gather(*(client.emit("job") for _ in range(50)))
    await eventually(lambda: done == 50, "50 jobs")
    assert 2 <= most <= 4


@pytest.mark.parametrize("kind", ["rabbitmq", "nats", "kafka"])  # Redis and Mosquitto keep what they wrote last
async def test_a_stored_event_survives_the_death_of_its_broker(place: Place) -> None:
    """Persistent and confirmed: emit returned, so it is there after a kill and a restart, before any service runs.

    The restart before is part of the promise: a queue declared a moment before the kill can be lost itself, for
    RabbitMQ (3.10, seen once in 12 kills) writes its list of queues a little later than it says that it has one.
    """
    assert place.broker
    client = await place.connect(delivery="at-least-once", timeout=LIMIT)
    await place.broker.restart()
    for number in range(20):
        await client.emit(place.job, number)
    place.broker.kill()
    await place.broker.restart()
    events: list[int] = []

    @event_pattern(place.job)
    async def job(data: int):  # on Kafka a number travels as text
        events.append(data)

    await place.serve(job, delivery="at-least-once")
    await eventually(lambda: len(events) >= 20, f"20 events in {events}")
    assert sorted(events) == list(range(20))


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_emit_at_least_once_to_a_queue_that_is_gone_says_so(place: Place) -> None:
    """Nothing stored is not called a success. The client declares the queue, so somebody must have deleted it."""
    import aiormq

    client = await place.connect(delivery="at-least-once")
    connection = await aiormq.connect(place.url)
    await (await connection.channel()).queue_delete(place.name)
    await connection.close()
    with pytest.raises(NoHandlerError, match=f"the queue '{place.name}' is gone. It was not stored"):
        await asyncio.wait_for(client.emit("event", 1), LIMIT)
