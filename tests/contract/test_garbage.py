"""What is no packet, from somebody who speaks to the broker or the port directly: logged, and the service goes on."""

import asyncio

import aiomqtt
import aiormq
import nats
import pytest
import redis.asyncio as redis
from contract_help import Place, eventually

from postoffice import event_pattern, message_pattern
from postoffice.transports import durable_kind_of

GARBAGE = [
    b"",
    b"no json",
    b'"text"',
    b"5",
    b"[1]",
    b"null",
    b"{}",
    b'{"id":1}',
    b'{"pattern":"echo","id":"x","data":',
    b"\xff\xfe\x00",
    b'{"pattern":"echo","data":"\xff","id":"x"}',
    b'{"pattern":{"a":[[[[[[[[1]]]]]]]]},"data":1,"id":[1]}',
    b'{"pattern":"echo","data":' + b"[" * 50_000 + b"]" * 50_000 + b',"id":1}',
    b'{"pattern":"' + b"x" * 100_000 + b'","data":1,"id":1}',
    b'{"pattern":"echo","data":1,"id":{"deep":' + b"[" * 500 + b"]" * 500 + b"}}",
]


class Office:
    def __init__(self) -> None:
        self.events: list[object] = []

    @message_pattern("echo")
    async def echo(self, data):
        return data

    @event_pattern("event")
    async def event(self, data):
        self.events.append(data)


async def throw(place: Place, bodies: list[bytes]) -> None:
    """Send bodies as they are, by the transport's own means: a connection each on TCP, else where handlers listen."""
    if place.kind == "tcp":
        host, port = place.url.removeprefix("tcp://").split(":")
        for body in bodies:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"%d#%b" % (len(body.decode("utf-8", "replace")), body))
            await writer.drain()
            writer.close()
    elif place.kind == "redis":
        async with redis.Redis.from_url(place.url) as connection:
            for body in bodies:
                for channel in ("echo", "event"):
                    await connection.publish(channel, body)
    elif place.kind == "nats":
        connection = await nats.connect(place.url)
        for body in bodies:
            for subject in ("echo", "event"):
                await connection.publish(subject, body, reply="nobody.there")
        await connection.close()
    elif place.kind == "mqtt":
        async with aiomqtt.Client("127.0.0.1", int(place.url.rpartition(":")[2])) as connection:
            for body in bodies:
                for topic in ("echo", "event"):
                    await connection.publish(topic, body)
    else:
        connection = await aiormq.connect(place.url)
        channel = await connection.channel()
        for body in bodies:
            await channel.basic_publish(body, routing_key=place.name)
        await connection.close()


@pytest.mark.parametrize("delivery", ["at-most-once", "at-least-once"])
async def test_garbage_does_a_service_no_harm(
    place: Place, delivery: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """Not one of these stops it, and at least once not one comes back for ever."""
    if delivery == "at-least-once" and durable_kind_of(place.url) is None:
        pytest.skip(f"{place.kind} cannot deliver at least once")
    office = Office()
    await place.serve(office, delivery=delivery)
    client = await place.connect()
    await throw(place, GARBAGE)
    assert await client.send("echo", "well") == "well"
    await client.emit("event", "last")
    await eventually(lambda: "last" in office.events)
    if place.kind in ("tcp", "rabbitmq"):
        await eventually(lambda: "no JSON" in caplog.text)
    assert "Fatal error" not in caplog.text
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("kind", ["redis", "nats", "mqtt"])
async def test_foreign_messages_are_events_whose_data_is_the_whole_payload(place: Place) -> None:
    """As in NestJS: whoever publishes plain text or JSON to the channel reaches the event's handlers."""
    office = Office()
    await place.serve(office)
    await throw(place, [b'{"foo":1}', b"5", b'"text"'] + [b"plain text"] * (place.kind != "nats"))
    expected = [{"foo": 1}, 5, "text"] + ["plain text"] * (place.kind != "nats")
    await eventually(lambda: office.events == expected, f"{expected} in {office.events}")


async def test_garbage_as_a_reply_does_a_client_no_harm(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What is no reply, or one that nobody waits for, is dropped; the client's next call is answered."""
    await place.serve(Office())
    client = await place.connect()
    for body in [*GARBAGE, b'{"id":"stranger","response":1,"isDisposed":true}', b'{"err":"\xff","id":"x"}']:
        client._pending.on_reply(body)
        client._pending.on_reply(body, "stranger")
    assert await client.send("echo", 1) == 1
    assert "a reply that is no JSON was dropped" in caplog.text
