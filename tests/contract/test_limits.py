"""What a transport does not carry is refused before it is sent, with both numbers."""

from pathlib import Path

import pytest
import redis.asyncio as redis
from broker_help import add_lines, own_broker
from contract_help import Place

from postoffice import (
    Client,
    ConnectionLost,
    PatternError,
    PayloadError,
    RpcError,
    Service,
    UnsupportedError,
    UsageError,
    message_pattern,
)
from postoffice.service import DeliveryMode
from postoffice.transports import durable_kind_of, framing, rabbitmq


@message_pattern("echo")
async def echo(data):
    return data


@message_pattern("large")
async def large(data):
    return "x" * data


@pytest.mark.parametrize(("kind", "limit"), [("tcp", 100_000), ("nats", 1_048_576)])
async def test_a_message_that_is_too_large_is_refused(
    place: Place, kind: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request or an event raises; a reply becomes an error for its caller. The connection goes on."""
    monkeypatch.setattr(framing, "MAX_FRAME", limit)
    await place.serve(echo, large)
    client = await place.connect()
    unit = "characters" if kind == "tcp" else "bytes"
    for use in (client.send("echo", "x" * limit), client.emit("echo", "x" * limit)):
        with pytest.raises(PayloadError, match=rf"of 1[0-9,]+ {unit} exceeds .* {limit:,}.*Nothing was sent") as caught:
            await use
        assert not caught.value.may_have_happened
    with pytest.raises(RpcError, match="Internal server error"):
        await client.send("large", limit)
    assert await client.send("large", 3) == "xxx"


@pytest.mark.parametrize("kind", ["redis"])
async def test_what_redis_cannot_bring_to_its_subscribers_is_refused(place: Place) -> None:
    """It would end the connection of each of them; how much that is, the server is asked."""
    limit = 1_048_576
    async with redis.Redis.from_url(place.url) as server:
        before = await server.config_get("client-output-buffer-limit")
        await server.config_set("client-output-buffer-limit", f"pubsub {limit} 0 0")
        try:
            await place.serve(echo, large)
            client = await place.connect()
        finally:
            await server.config_set("client-output-buffer-limit", before["client-output-buffer-limit"])
    for use in (client.send("echo", "x" * limit), client.emit("echo", "x" * limit)):
        with pytest.raises(PayloadError, match=rf"of 1[0-9,]+ bytes exceeds .* pubsub of {limit:,}.*Nothing was sent"):
            await use
    with pytest.raises(RpcError, match="Internal server error"):
        await client.send("large", limit)
    assert await client.send("large", 3) == "xxx"


@pytest.mark.parametrize("delivery", ["at-most-once", "at-least-once"])
@pytest.mark.parametrize("addressed", ["queue", "exchange"])
@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_what_rabbitmq_does_not_take_is_refused(
    place: Place, delivery: DeliveryMode, addressed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the limit that a server of its version has; here a small one in its place."""
    limit = 100_000
    monkeypatch.setattr(rabbitmq, "default_limit", lambda properties: limit)
    at = {"queue": None, "exchange": place.name} if addressed == "exchange" else {}
    await place.serve(echo, large, **({"exchange": place.name} if at else {}))
    client = await place.connect(delivery=delivery, **at)
    for use in (client.send("echo", "x" * limit), client.emit("echo", "x" * limit)):
        with pytest.raises(PayloadError, match=r"of 1[0-9,]+ bytes exceeds .* max_message_size of 100,000.*Nothing"):
            await use
    with pytest.raises(RpcError, match="Internal server error"):
        await client.send("large", limit)
    assert await client.send("large", 3) == "xxx"


async def test_the_limit_that_a_rabbitmq_names_is_remembered() -> None:
    """A server that takes less than its kind does by default: the first message costs the channel, no other does."""

    def configured(folder: Path) -> list[str]:
        add_lines(folder / "rabbitmq.conf", "max_message_size = 50000")
        return []

    async with own_broker("rabbitmq", configured) as port:
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        async with Service(echo, url=url, name="echo"), await Client.connect(url, queue="echo") as client:
            with pytest.raises(ConnectionLost):
                await client.send("echo", "x" * 60_000)
            assert await client.send("echo", "y" * 40_000) == "y" * 40_000
            with pytest.raises(PayloadError, match=r"of 60,0.. bytes exceeds .* max_message_size of 50,000"):
                await client.send("echo", "x" * 60_000)


async def test_data_that_is_no_json_is_refused(place: Place) -> None:
    """Before anything is sent; the client goes on."""
    await place.serve(echo)
    client = await place.connect()
    for use in (client.send("echo", object()), client.emit("echo", {1j}), anext(client.stream("echo", object()))):
        with pytest.raises(PayloadError, match="cannot be written as JSON"):
            await use
    for use in (client.send(None, 1), client.emit(True, 1)):
        with pytest.raises(PatternError, match="Nothing was sent"):
            await use
    assert await client.send("echo", 1) == 1
    assert not client._pending


async def test_a_reply_that_is_no_json_is_an_error_for_its_caller(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """So is the object of an RpcError that cannot be written."""

    @message_pattern("odd")
    async def odd():
        return object()

    @message_pattern("odd.error")
    async def odd_error():
        raise RpcError({"code": object()})

    await place.serve(odd, odd_error, echo)
    client = await place.connect()
    for pattern in ("odd", "odd.error"):
        with pytest.raises(RpcError, match="Internal server error"):
            await client.send(pattern)
    assert "has no form in JSON" in caplog.text
    assert await client.send("echo", 1) == 1


@pytest.mark.parametrize("kind", ["nats"])
@pytest.mark.parametrize("pattern", ["two words", "", ".a", "a.", "a..b", {"cmd": "two words"}, "a\nPUB x 0"])
async def test_a_pattern_that_cannot_be_a_subject_is_refused(place: Place, pattern: object) -> None:
    """White space ends a NATS subject, so it could smuggle a command: refused in a client and in a service."""
    client = await place.connect()
    for use in (client.send(pattern), client.emit(pattern)):
        with pytest.raises(PatternError, match="cannot be a NATS subject"):
            await use

    @message_pattern(pattern)
    async def never():
        pass

    with pytest.raises(PatternError, match="cannot be a NATS subject"):
        await place.serve(never)


@pytest.mark.parametrize("kind", ["redis", "rabbitmq", "tcp"])
async def test_any_text_can_be_a_pattern_elsewhere(place: Place) -> None:
    """Blanks, line ends, nothing at all, what looks like a command."""
    patterns = ["two words", "", "a..b", "x\r\nPUBLISH a b\r\n", "é🚀", {"cmd": "two words"}, "*", "{bad"]
    handlers = []
    for number, pattern in enumerate(patterns):

        async def handle(data, number=number):
            return [number, data]

        handlers.append(message_pattern(pattern)(_one_parameter(handle)))
    await place.serve(*handlers)
    client = await place.connect()
    for number, pattern in enumerate(patterns):
        assert await client.send(pattern, 1) == [number, 1]


def _one_parameter(function):
    async def handle(data):
        return await function(data)

    return handle


async def test_what_a_transport_cannot_do_is_said_at_once(place: Place) -> None:
    """With the name of one that can."""
    name = {"tcp": "TCP", "redis": "Redis", "nats": "NATS", "rabbitmq": "RabbitMQ", "mqtt": "MQTT"}[place.kind]
    if durable_kind_of(place.url) is None:
        with pytest.raises(UnsupportedError, match=rf"{name} cannot deliver at least once.*RabbitMQ \(amqp://\)"):
            await place.serve(echo, delivery="at-least-once")
        with pytest.raises(UnsupportedError, match=r"cannot deliver at least once.*RabbitMQ"):
            await Client.connect(place.url, delivery="at-least-once")
    if place.kind != "rabbitmq":
        with pytest.raises(UsageError, match=f"{name} has no queues.*Leave out queue='q'"):
            await Client.connect(place.url, queue="q")
    else:
        with pytest.raises(UsageError, match="say which: queue='the name of the service'"):
            await Client.connect(place.url)
        with pytest.raises(UsageError, match=r"it needs one: Service\(\.\.\., name='users'\)"):
            Service(echo, url=place.url)
    if place.kind not in ("nats", "mqtt"):
        with pytest.raises(UnsupportedError, match=rf"{name} cannot share messages in a group \('g'\)\. NATS"):
            await place.serve(echo, group="g")
