"""Options of one call: they arrive as the broker's own, and what does not fit is refused before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiomqtt
import aiormq
import pytest
from contract_help import LIMIT, TRANSPORTS, Place, eventually
from wire_help import cases_of, mqtt_client

from postoffice import (
    Client,
    ConnectionLost,
    NoHandlerError,
    RequestTimeout,
    Retry,
    UnsupportedError,
    UsageError,
    event_pattern,
    message_pattern,
)

RABBITMQ = pytest.mark.parametrize("kind", ["rabbitmq"])
MQTT = pytest.mark.parametrize("kind", ["mqtt"])


@message_pattern("echo")
async def echo(data: Any) -> Any:
    return data


# what is refused


def everything(client: Client, options: Any) -> list[Any]:
    """Each call that takes options."""

    async def stream() -> None:
        async for _ in client.stream("echo", 1, options=options):
            pass

    return [client.send("echo", 1, options=options), client.emit("echo", 1, options=options), stream()]


WRONG = {
    "rabbitmq": [
        {"priority": -1}, {"priority": 256}, {"priority": True}, {"priority": 1.0}, {"priority": "1"},
        {"expiration": 0}, {"expiration": -1}, {"expiration": float("nan")}, {"expiration": 4_294_968},
        {"expiration": "1000"}, {"expiration": True}, {"persistent": 1}, {"type": "x" * 256}, {"type": "é" * 128},
        {"app_id": b"x"}, {"content_type": "\ud83d"}, {"type": "a\0b"}, {"priority": None},
    ],
    "mqtt": [{"qos": 3}, {"qos": -1}, {"qos": True}, {"qos": "1"}, {"retain": 1}, {"retain": None}],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["rabbitmq", "mqtt"])
async def test_a_value_that_does_not_fit_is_refused(place: Place, kind: str) -> None:
    """It says what would, and nothing was sent; the connection goes on."""
    await place.serve(echo)
    client = await place.connect()
    for options in WRONG[kind]:
        for use in everything(client, options):
            with pytest.raises(UsageError, match=r"the option '\w+' is .*; got .*Nothing was sent"):
                await use
    assert await client.send("echo", 1) == 1
    assert not client._pending


@pytest.mark.parametrize("kind", [*TRANSPORTS, "kafka"])
async def test_an_option_that_is_not_there_is_refused(place: Place, kind: str) -> None:
    """The error names the transports that have some; no options are always right."""
    client = await place.connect() if kind != "tcp" else (await place.serve(echo), await place.connect())[1]
    own = {"rabbitmq": "RabbitMQ has no option 'colour'", "mqtt": "MQTT has no option 'colour'"}
    expected = own.get(kind, "has no options of a call") + r".*RabbitMQ .*priority, expiration.*MQTT .*qos, retain.*"
    for use in everything(client, {"colour": "red"}):
        with pytest.raises(UnsupportedError, match=expected + "Nothing was sent") as caught:
            await use
        assert not caught.value.may_have_happened
    if kind == "tcp":
        assert await client.send("echo", 1, options={}) == 1
    assert not client._pending


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("rabbitmq", {"persistent": False}, "keeps an event"),
        ("rabbitmq", {"expiration": 60}, "drops none"),
        ("mqtt", {"qos": 0}, "QoS 1"),
        ("mqtt", {"qos": 2}, "QoS 1"),
    ],
)
async def test_what_at_least_once_forbids_is_refused(
    place: Place, kind: str, options: dict[str, Any], reason: str
) -> None:
    """Of an event. A request is at most once, also by this client, and may have it."""
    seen: list[Any] = []

    @event_pattern(place.job)
    async def job(data: Any) -> None:
        seen.append(data)

    await place.serve(echo, job, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    with pytest.raises(UnsupportedError, match=f"is refused here: .*{reason}.*Nothing was sent"):
        await client.emit(place.job, "refused", options=options)
    assert await client.send("echo", "asked", options=options) == "asked"
    await client.emit(place.job, "sent")
    await eventually(lambda: seen)
    assert seen == ["sent"]


@MQTT
async def test_a_request_is_not_retained(place: Place) -> None:
    """Whoever subscribes later would do it again."""
    await place.serve(echo)
    client = await place.connect()
    with pytest.raises(UnsupportedError, match=r"each service that subscribes later.*Use it with emit"):
        await client.send("echo", 1, options={"retain": True})
    assert await client.send("echo", 1, options={"retain": False, "qos": 1}) == 1


# RabbitMQ


@contextlib.asynccontextmanager
async def queue_of(place: Place, **arguments: Any) -> AsyncIterator[Callable[[], Any]]:
    """A queue of this test's, with arguments of its own; yields what takes the next message out of it."""
    connection = await aiormq.connect(place.url)
    channel = await connection.channel()
    await channel.queue_declare(place.name, durable=True, arguments=arguments)

    try:
        yield lambda: taken(channel, place.name)
    finally:
        await channel.queue_delete(place.name)
        await connection.close()


async def look_again(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds, as soon as it finds anything."""
    async with asyncio.timeout(LIMIT):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.01)


async def taken(channel: Any, queue: str) -> Any:
    """The next message of a queue."""

    async def look() -> Any:
        message = await channel.basic_get(queue, no_ack=True)
        return message if message.delivery_tag is not None else None

    return await look_again(look)


@RABBITMQ
@pytest.mark.parametrize("delivery", ["at-most-once", "at-least-once"])
async def test_priority_decides_the_order(place: Place, delivery: str) -> None:
    """In a queue that has priorities: the higher one first, among equals the order of sending."""
    async with queue_of(place, **{"x-max-priority": 9}) as take:
        client = await place.connect(delivery=delivery)
        for number, priority in enumerate([0, 5, 9, 5]):
            await client.emit("job", number, options={"priority": priority})
        await client.emit("job", 4)
        await eventually_full(place, 5)
        messages = [await take() for _ in range(5)]
    assert [one.header.properties.priority for one in messages] == [9, 5, 5, 0, None]
    assert [one.body[-2:-1] for one in messages] == [b"2", b"1", b"3", b"0", b"4"]


async def eventually_full(place: Place, count: int) -> None:
    """Wait until the queue holds that many."""
    connection = await aiormq.connect(place.url)
    channel = await connection.channel()

    async def full() -> bool:
        return (await channel.queue_declare(place.name, passive=True)).message_count == count

    await look_again(full)
    await connection.close()


@RABBITMQ
async def test_what_expires_is_dropped_by_the_broker(place: Place) -> None:
    """After the seconds that the call says, and nothing else is."""
    async with queue_of(place):
        client = await place.connect()
        await client.emit("job", "short", options={"expiration": 0.2})
        await client.emit("job", "long", options={"expiration": 3600})
        await eventually_full(place, 2)
        await eventually_full(place, 1)
        seen: list[Any] = []

        @event_pattern("job")
        async def job(data: Any) -> None:
            seen.append(data)

        await place.serve(job)
        await client.emit("job", "last")
        await eventually(lambda: len(seen) == 2)
        assert seen == ["long", "last"]


@RABBITMQ
async def test_all_options_arrive_as_properties(place: Place) -> None:
    """As NestJS's record was captured, and the three that the capture has not."""
    captured = cases_of("rmq")["record.options"][0]["properties"]
    options = {"priority": 3, "content_type": "application/json", "persistent": True, "expiration": 5}
    async with queue_of(place) as take:
        client = await place.connect()
        asked = asyncio.create_task(client.send("probe.ctx", {"q": 1}, options=options))
        found = (await take()).header.properties
        asked.cancel()
        await client.emit("job", 1, options={"type": "größer", "app_id": "till", "persistent": False})
        event = (await take()).header.properties
    assert (found.priority, found.content_type) == (captured["priority"], captured["contentType"])
    assert (found.expiration, found.delivery_mode) == (captured["expiration"], captured["deliveryMode"])
    assert (found.correlation_id, found.reply_to is not None) == (found.message_id, True)
    assert (event.message_type, event.app_id, event.delivery_mode) == ("größer", "till", 1)
    assert (event.expiration, event.priority, event.content_type) == (None, None, None)


@RABBITMQ
async def test_options_of_a_request_are_answered_as_ever(place: Place) -> None:
    """Through the queue and through an exchange."""
    await place.serve(echo, exchange=f"{place.name}_x")
    for where in ({}, {"queue": None, "exchange": f"{place.name}_x"}):
        client = await place.connect(**where)
        assert await client.send("echo", 7, options={"priority": 5, "expiration": 60}) == 7
        assert [value async for value in client.stream("echo", 8, options={"type": "t"})] == [8]


@RABBITMQ
@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_failed_event_keeps_its_priority(place: Place, attempts: int) -> None:
    """In the copy that waits, and among the dead letters; the broker drops neither."""

    @event_pattern(place.job, retry=Retry(attempts=attempts, initial=0.05, jitter=0), dead_letter=f"{place.name}.dead")
    async def job(data: Any) -> None:
        raise ValueError("no")

    await place.serve(job, delivery="at-least-once")
    strange = await place.connect()  # at most once, so it may expire; once delivered it does no more
    await strange.emit(place.job, 1, options={"priority": 4, "type": "t", "app_id": "a", "expiration": 3600})
    connection = await aiormq.connect(place.url)
    channel = await connection.channel()
    kept = (await taken(channel, f"{place.name}.dead")).header.properties
    await connection.close()
    assert (kept.priority, kept.message_type, kept.app_id, kept.delivery_mode) == (4, "t", "a", 2)
    assert kept.expiration is None


# MQTT


@contextlib.asynccontextmanager
async def listening(place: Place, topic: str) -> AsyncIterator[asyncio.Queue[aiomqtt.Message]]:
    """What arrives there, at a client of the driver's own that takes QoS 2."""
    arrived: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()
    async with mqtt_client(place) as raw:
        await raw.subscribe(topic, 2)

        async def read() -> None:
            async for message in raw.messages:
                arrived.put_nowait(message)

        task = asyncio.create_task(read())
        try:
            yield arrived
        finally:
            task.cancel()


async def next_of(arrived: asyncio.Queue[aiomqtt.Message]) -> aiomqtt.Message:
    return await asyncio.wait_for(arrived.get(), LIMIT)


@MQTT
async def test_qos_and_retain_arrive(place: Place) -> None:
    """The QoS of each call, at whoever takes all; what is retained comes again to whoever subscribes later."""
    client = await place.connect()
    captured = cases_of("mqtt")["record.event_retain"][0]
    async with listening(place, captured["topic"]) as arrived:
        given = {name: captured["properties"][name] for name in ("qos", "retain")}
        await client.emit(captured["pattern"], captured["data"]["data"], options=given)
        record = await next_of(arrived)
        assert (record.qos, record.retain, record.payload) == (*given.values(), captured["payload"].encode())
    async with listening(place, place.job) as arrived:
        for qos in (0, 1, 2):
            await client.emit(place.job, qos, options={"qos": qos})
            assert (await next_of(arrived)).qos == qos
        await client.emit(place.job, "plain")
        assert (await next_of(arrived)).qos == 0
        for asker in (client, await place.connect(delivery="at-least-once")):
            for qos in (0, 1, 2):
                asked = asyncio.create_task(asker.send(place.job, 1, options={"qos": qos}))
                assert (await next_of(arrived)).qos == qos
                asked.cancel()
    try:
        await client.emit(place.job, "kept", options={"retain": True, "qos": 1})
        await client.emit(place.job, "not kept", options={"retain": False, "qos": 1})
        async with listening(place, place.job) as arrived:
            kept = await next_of(arrived)
            assert (kept.retain, kept.qos, b"kept" in kept.payload, arrived.qsize()) == (True, 1, True, 0)
    finally:
        await forget(place)


async def forget(place: Place) -> None:
    """Have the broker keep nothing there."""
    async with mqtt_client(place) as raw:
        await raw.publish(place.job, b"", qos=1, retain=True)


@MQTT
async def test_a_retained_event_at_least_once_needs_nobody(place: Place) -> None:
    """It is stored, though nobody has ever subscribed; without retain that raises. A service gets it when it comes."""
    seen: list[Any] = []

    @event_pattern(place.job)
    async def job(data: Any) -> None:
        seen.append(data)

    client = await place.connect(delivery="at-least-once")
    with pytest.raises(NoHandlerError, match="It was not stored"):
        await client.emit(place.job, "nobody", options={"qos": 1})
    try:
        await client.emit(place.job, "kept", options={"retain": True})
        await place.serve(job, delivery="at-least-once")
        await eventually(lambda: seen)
        assert seen == ["kept"]
    finally:
        await forget(place)


@MQTT
async def test_options_do_not_change_the_order(place: Place) -> None:
    """An event with options goes behind those that were sent before it."""
    seen: list[Any] = []

    @event_pattern(place.job)
    async def job(data: Any) -> None:
        seen.append(data)

    await place.serve(job)
    client = await place.connect()
    for number in range(100):
        await client.emit(place.job, number, options={"qos": number % 2} if number % 3 else None)
    await eventually(lambda: len(seen) == 100)
    assert seen == list(range(100))
    seen.clear()
    await client.emit(place.job, "x" * 8_000_000)  # takes several turns to leave, and what follows waits for it
    await asyncio.sleep(0)
    await client.emit(place.job, 1)
    await client.emit(place.job, 2, options={"qos": 0})
    await eventually(lambda: len(seen) == 3)
    assert seen[1:] == [1, 2]


@MQTT
@pytest.mark.parametrize("delivery", ["at-most-once", "at-least-once"])
async def test_many_at_once_are_answered(place: Place, delivery: str) -> None:
    """More than the driver lets be unconfirmed at once, each with its own answer."""
    await place.serve(echo)
    client = await place.connect(delivery=delivery)
    asked = [client.send("echo", number, options={"qos": number % 3}) for number in range(150)]
    assert await asyncio.gather(*asked) == list(range(150))
    assert not client._pending


@MQTT
@pytest.mark.parametrize("delivery", ["at-most-once", "at-least-once"])
async def test_a_broker_that_does_not_confirm(place: Place, delivery: str) -> None:
    """Paused, it is a timeout; killed while the call waits, a lost connection. Either may have happened."""
    assert place.broker
    client, patient = await place.connect(delivery=delivery, timeout=0.5), await place.connect(delivery=delivery)
    options = {"qos": 1, "retain": True}
    place.broker.pause()
    try:
        with pytest.raises(RequestTimeout) as caught:
            await client.emit(place.job, 1, options=options)
        waiting = [asyncio.create_task(patient.emit(place.job, n, options=options)) for n in range(30)]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
    finally:
        place.broker.kill()
        await place.broker.restart()
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), LIMIT)
    assert {type(one) for one in ended} == {ConnectionLost}
    assert caught.value.may_have_happened
    await patient.emit(place.job, "again", options=options)
    await forget(place)
