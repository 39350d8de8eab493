"""What Kafka alone does, against its real broker; what it shares with the others is tested with them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka import AIOKafkaProducer
from contract_help import Place, eventually
from kafka_help import Caller, Office

from postoffice import (
    NoHandlerError,
    PatternError,
    PayloadError,
    RpcError,
    message_pattern,
)


async def test_a_text_that_is_the_json_of_a_list_is_that_list(caller: Caller) -> None:
    """As with NestJS: a value is taken for JSON by its first character."""
    assert await caller.send("echo", "[1]") == [1]


async def test_a_type_makes_of_a_text_what_it_asks_for(place: Place) -> None:
    """A number that went is a number again; a text that is none is refused, and text stays text."""
    types = {
        "int": int,
        "float": float,
        "bool": bool,
        "str": str,
        "object": dict,
        "either": int | str,
        "none": int | None,
    }

    def handler(name: str, wanted: object) -> object:
        async def handle(data):
            return [type(data).__name__, data]

        handle.__annotations__["data"] = wanted
        return message_pattern(f"{place.name}.{name}")(handle)

    await place.serve(*(handler(name, wanted) for name, wanted in types.items()))
    client = await place.connect()
    good = [("int", 7), ("float", 1.5), ("float", 1e300), ("bool", True), ("str", "7"), ("object", {"a": "7"}),
            ("either", "7"), ("none", None), ("none", -3)]  # fmt: skip
    for name, data in good:
        assert await client.send(f"{place.name}.{name}", data) == [type(data).__name__, data]
    for name, data in [("int", "x"), ("int", 1.5), ("int", ""), ("bool", "True"), ("object", "7"), ("int", '"7"')]:
        with pytest.raises(RpcError, match=r"invalid payload: Expected .*got `str`"):
            await client.send(f"{place.name}.{name}", data)


async def test_a_large_message_arrives_whole_and_a_larger_one_is_refused(caller: Caller) -> None:
    """Both ways, with both numbers; what a handler answers too large is an error for its caller."""
    text = "0123456789é🚀" * 40_000
    assert await caller.send("echo", text) == text
    with pytest.raises(PayloadError, match=r"a record of [\d,]+ bytes exceeds the 1,048,576 that Kafka takes"):
        await caller.send("echo", "a" * 1_048_576)
    with pytest.raises(PayloadError, match="exceeds"):
        await caller.emit("event", "a" * 1_048_576)
    with pytest.raises(RpcError, match="Internal server error"):
        await caller.send("huge")


async def test_headers_travel_as_headers(caller: Caller) -> None:
    """The sender's own, and the record's key; not those of the protocol."""
    headers = {"x-trace": "é", "kafka_messageKey": "order 7"}
    pattern, seen, identity, transport, raw = await caller.send("context", 7.0, headers=headers)
    assert (pattern, seen, transport, raw) == (f"{caller.prefix}.context", headers, "Kafka", "7")
    assert identity
    assert (await caller.send("context"))[1] == {}


async def test_events(caller: Caller, office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """In order; one whose handler raises is logged, and not tried again."""
    await caller.emit("event", "bad")
    for number in range(100):
        await caller.emit("event", {"n": number})
    await eventually(lambda: len(office.events) == 101)
    assert office.events == ["bad", *({"n": number} for number in range(100))]
    assert caplog.text.count("ValueError: no such thing") == 1
    assert await caller.send("event", "asked") is None  # a request to an event handler is answered with an end


async def test_nobody(caller: Caller) -> None:
    """A topic that does not exist: told at once, nothing made. Patterns that are no topics: refused."""
    for _ in range(2):
        with pytest.raises(NoHandlerError, match=r"no such topic.*Nothing was done"):
            await asyncio.wait_for(caller.send("nope", timeout=1000), 10)
    for pattern in ({"cmd": "sum"}, "", "a b", "..", "a" * 244):
        with pytest.raises(PatternError, match="cannot be a Kafka topic"):
            await caller.client.send(pattern, 1)
        with pytest.raises(PatternError, match="cannot be a Kafka topic"):
            await caller.client.emit(pattern, 1)


async def test_a_new_route_loses_no_reply_of_another(caller: Caller, office: Office) -> None:
    """The reading of replies moves on to more topics while answers are on their way."""
    slow = [asyncio.create_task(caller.send("slow", str(0.01 * n))) for n in range(60)]
    await eventually(lambda: office.begun > 0)
    for name in ("echo", "context", "count"):
        await caller.send(name, {"n": 1})
    assert await asyncio.gather(*slow) == [str(0.01 * n) for n in range(60)]


async def test_stopping_finishes_what_is_under_way(place: Place) -> None:
    """The caller gets its answer; then a message waits for the next start of the service, and is answered by it."""
    office = Office(place.name)
    service = await place.serve(*office.handlers)
    caller = Caller(await place.connect(), place.name)
    under_way = asyncio.create_task(caller.send("slow", "0.3"))
    await eventually(lambda: office.begun)
    await service.stop()
    assert await under_way == "0.3"
    waiting = asyncio.create_task(caller.send("echo", "kept"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await place.serve(*office.handlers)
    assert await waiting == "kept"


async def test_garbage_is_logged_or_taken_as_text(
    place: Place, caller: Caller, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in a value or a header, the service goes on."""
    caplog.set_level(logging.ERROR)
    producer = AIOKafkaProducer(bootstrap_servers=place.url.removeprefix("kafka://"))
    await producer.start()
    headers = [
        [("kafka_correlationId", b"\xff"), ("kafka_replyTopic", b"no topic\xff"), ("kafka_replyPartition", b"x")],
        [("kafka_correlationId", b""), ("kafka_replyTopic", b""), ("kafka_replyPartition", b"99999999999")],
        [("kafka_correlationId", b"1"), ("kafka_replyTopic", f"{place.name}.echo.reply".encode())],
        [("kafka_correlationId", None), ("kafka_replyTopic", None), ("\U0001f680", None), ("", b"")],
    ]
    for value in (b"", b"\xff\xfe", b"{", b"\0\1", b"[" * 50_000):
        for one in [*headers, []]:
            await producer.send_and_wait(f"{place.name}.echo", value, headers=one)
            await producer.send_and_wait(f"{place.name}.echo.reply", value, headers=one)
    await producer.stop()
    assert await caller.answered("on") == "on"


def test_what_kafka_cannot_do_is_said(place: Place) -> None:
    """A pattern that is no topic; a name of a service that makes none."""
    from postoffice import Service

    with pytest.raises(PatternError, match=r"'a shop\.requeue' cannot be a Kafka topic"):
        asyncio.run(Service(*Office("x").handlers, url=place.url, name="a shop", delivery="at-least-once").start())
    with pytest.raises(PatternError, match="cannot be a Kafka topic"):
        asyncio.run(Service(message_pattern({"cmd": "sum"})(_sum), url=place.url).start())


async def _sum(data: list[int]) -> int:
    return sum(data)
