"""What is MQTT's own at least once: sessions with a number, acks in order, failed events as retained messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import aiomqtt
import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import Context, NoHandlerError, Retry, UsageError, dead_letters, event_pattern, message_pattern, points
from postoffice.transports.mqtt_durable import MqttDurableTransport

pytestmark = pytest.mark.parametrize("kind", ["mqtt"])
AT_LEAST_ONCE: dict[str, Any] = {"delivery": "at-least-once"}


class Office:
    """Events of one pattern; those in `fails` raise, those in `slow` wait until they may go on."""

    def __init__(self, pattern: str, retry: Retry | None = None) -> None:
        self.seen: list[Any] = []
        self.attempts: list[int] = []
        self.fails: set[Any] = set()
        self.slow: set[Any] = set()
        self.go = asyncio.Event()

        @event_pattern(pattern, retry=retry)
        async def job(data: Any, ctx: Context) -> None:
            self.seen.append(data)
            self.attempts.append(ctx.attempt)
            if data in self.slow:
                await self.go.wait()
            if data in self.fails:
                raise ValueError("no")

        self.job = job


async def test_an_event_for_nobody_is_not_called_stored(place: Place) -> None:
    """MQTT keeps it for those who have subscribed. A service that is away has: it gets what came meanwhile."""
    client = await place.connect(**AT_LEAST_ONCE)
    with pytest.raises(NoHandlerError, match=r"nobody takes the event .*It was not stored"):
        await client.emit(place.job, 0)
    office = Office(place.job)
    service = await place.serve(office.job, **AT_LEAST_ONCE)
    await service.stop()
    for number in range(50):
        await client.emit(place.job, number)
    assert office.seen == []
    await service.start()
    await eventually(lambda: len(office.seen) == 50)
    assert office.seen == [*range(50)]
    assert set(office.attempts) == {1}


async def test_a_slow_event_holds_up_no_more_than_the_window(place: Place) -> None:
    """Acks are in the order of receipt: with prefetch 4, three go past a slow one; then the rest."""
    office = Office(place.job)
    office.slow = {0}
    service = await place.serve(office.job, prefetch=4, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(10):
        await client.emit(place.job, number)
    await eventually(lambda: len(office.seen) == 4)
    await asyncio.sleep(0.1)
    assert office.seen == [0, 1, 2, 3]
    office.go.set()
    await eventually(lambda: len(office.seen) == 10)
    await service.stop()
    await service.start()
    await client.emit(place.job, "next")
    await eventually(lambda: "next" in office.seen)
    assert office.seen == [*range(10), "next"], "all were acknowledged"


async def test_two_replicas_of_one_number_sort_it_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The second takes the first one's place, which goes on as the next; both are served from then on."""
    offices = [Office(place.job) for _ in range(3)]
    services = [await place.serve(office.job, group=place.name, **AT_LEAST_ONCE) for office in offices]
    sides = [cast("MqttDurableTransport", service._transport) for service in services]
    await eventually(lambda: {one._replica for one in sides} == {0, 1, 2} and all(one._up.is_set() for one in sides))
    assert "another replica has number 0 now; this one goes on as 1" in caplog.text
    client = await place.connect(**AT_LEAST_ONCE)

    async def all_at_work() -> bool:
        await client.emit(place.job, "again")
        return all(office.seen for office in offices)

    async with asyncio.timeout(LIMIT):
        while not await all_at_work():  # noqa: ASYNC110 - a share comes to each, in the broker's order
            await asyncio.sleep(0.02)
    for office in offices:
        office.seen.clear()
    for number in range(60):
        await client.emit(place.job, number)

    def counted() -> Counter[Any]:
        return Counter(number for one in offices for number in one.seen if number != "again")

    await eventually(lambda: counted().total() >= 60)
    assert counted() == Counter(range(60))


async def test_a_dead_letter_goes_back_to_its_own_service_only(place: Place) -> None:
    """Two services have the event; one gives it up. Its requeue is not the other's business; nor are retries."""
    one, other = Office(place.job, Retry(attempts=2, initial=0.01)), Office(place.job)
    one.fails = {"x"}
    await place.serve(one.job, name=f"{place.name}-a/+ #", **AT_LEAST_ONCE)
    await place.serve(other.job, name=f"{place.name}-b", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "x", message_id="x")
    await eventually(lambda: len(one.seen) == 2)
    async with dead_letters(place.url, f"{place.name}-a/+ #.dead") as office:
        async with asyncio.timeout(LIMIT):
            while not await office.list():  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
        one.fails.clear()
        assert await office.requeue_all() == 1
        assert await office.list() == []
    await eventually(lambda: len(one.seen) == 3)
    assert (one.seen, one.attempts) == (["x", "x", "x"], [1, 2, 1])
    assert other.seen == ["x"]


async def test_thousands_of_dead_letters_are_listed(place: Place) -> None:
    """More than Mosquitto shows at once."""
    office = Office(place.job)
    office.fails = {*range(1500)}
    await place.serve(office.job, prefetch=64, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for first in range(0, 1500, 500):
        for number in range(first, first + 500):
            await client.emit(place.job, number)
        await eventually(lambda first=first: len(office.seen) == first + 500)
    async with dead_letters(place.url, f"{place.name}.dead") as letters:
        async with asyncio.timeout(LIMIT):
            while len(found := await letters.list()) < 1500:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
    assert sorted(one.data for one in found) == [*range(1500)]


async def test_waiting_events_survive_a_restart_of_both(place: Place) -> None:
    """The service ends in the middle of a delay, the broker restarts and writes what it has: the event comes again."""
    assert place.broker
    office = Office(place.job, Retry(attempts=3, initial=0.3, jitter=0))
    office.fails = {"bad"}
    service = await place.serve(office.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "bad")
    await eventually(lambda: office.seen == ["bad"])
    await service.stop()
    await place.broker.restart()
    office.fails.clear()
    await service.start()
    await eventually(lambda: office.seen == ["bad", "bad"])
    assert office.attempts == [1, 2]


async def test_a_broker_that_is_killed_stops_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Service and client go on; an event that waits for its next attempt is not forgotten by a service that lives."""
    assert place.broker
    reached: list[str] = []
    monkeypatch.setattr(points, "watchers", [lambda point, _: reached.append(point)])
    office = Office(place.job, Retry(attempts=3, initial=0.5, jitter=0))
    office.fails = {"bad"}
    await place.serve(office.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "bad")
    await eventually(lambda: "retried" in reached)
    place.broker.kill()
    await place.broker.restart()
    await eventually(lambda: office.seen.count("bad") == 3, "the later attempts")

    async def stored() -> None:
        while True:
            try:
                return await client.emit(place.job, "after", message_id="after")
            except (ConnectionError, NoHandlerError, TimeoutError):
                await asyncio.sleep(0.02)

    await asyncio.wait_for(stored(), LIMIT)
    await eventually(lambda: "after" in office.seen)


async def test_what_others_send(place: Place) -> None:
    """User properties are headers; QoS 0 is handled, retried and dead-lettered too; what is no packet is data."""
    seen: list[Any] = []

    @event_pattern(place.job, retry=Retry(attempts=2, initial=0.01))
    async def job(data: Any, ctx: Context) -> None:
        seen.append((data, ctx.attempt, ctx.headers.get("x")))
        raise ValueError("no")

    await place.serve(job, **AT_LEAST_ONCE)
    properties = aiomqtt.client.Properties(3)
    properties.UserProperty = [("x", "é")]
    host, port = place.url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as stranger:
        await stranger.publish(place.job, b"plain", qos=0, properties=properties)
        await stranger.publish(place.job, b"\xff\xfe", qos=1)
    await eventually(lambda: len(seen) == 4)
    assert [one for one in seen if one[0] == "plain"] == [("plain", 1, "é"), ("plain", 2, "é")]
    async with dead_letters(place.url, f"{place.name}.dead") as office:
        async with asyncio.timeout(LIMIT):
            while len(found := await office.list()) < 2:  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
    assert {one.headers.get("x") for one in found} == {"é", None}
    assert {one.body for one in found} == {b"plain", b"\xff\xfe"}


async def test_a_handler_of_everything_gets_no_copies(place: Place) -> None:
    """`#` takes neither retries nor dead letters, its own or others', and acknowledges none of them for itself."""
    office, everything = Office(place.job, Retry(attempts=2, initial=0.01)), Office("#")
    office.fails = {"x"}
    await place.serve(office.job, **AT_LEAST_ONCE)
    await place.serve(everything.job, name=f"{place.name}-all", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "x")
    await client.emit(place.job, "end")
    async with dead_letters(place.url, f"{place.name}.dead") as letters:
        async with asyncio.timeout(LIMIT):
            while not await letters.list():  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)
    await eventually(lambda: everything.seen.count("end") == 1)
    assert [one for one in everything.seen if one in ("x", "end")] == ["x", "end"]


async def test_requests_are_answered_beside(place: Place) -> None:
    """They stay as at most once, on the same connection."""
    office = Office(place.job)

    @message_pattern(f"{place.name}.echo")
    async def echo(data: Any) -> Any:
        return data

    await place.serve(office.job, echo, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    answers = await asyncio.gather(*(client.send(f"{place.name}.echo", number) for number in range(200)))
    assert answers == [*range(200)]


async def test_a_number_that_is_none_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTOFFICE_REPLICA", "first")
    with pytest.raises(UsageError, match="POSTOFFICE_REPLICA is the number of a replica"):
        await place.serve(Office(place.job).job, **AT_LEAST_ONCE)
