"""Kafka against its real broker: the contract of the other transports, and what Kafka alone does.

Its topics are text only and its numbers arrive as text, so these tests have handlers of their own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from contract_help import LIMIT, Place, eventually

from classroom.brokers import Broker, NoBroker, start_broker
from postoffice import (
    Client,
    ConnectError,
    Context,
    NoHandlerError,
    PatternError,
    PayloadError,
    PostOfficeError,
    RequestTimeout,
    RpcError,
    UnsupportedError,
    event_pattern,
    message_pattern,
)

MODULE = """
import asyncio
from postoffice import event_pattern, message_pattern

@message_pattern("{prefix}.echo")
async def echo(data):
    return data

@event_pattern("{prefix}.counted")
async def counted(data):
    print("begun", data["n"], flush=True)
    await asyncio.sleep(0.05)
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Apache Kafka, for all tests here."""
    try:
        broker = asyncio.run(start_broker("kafka", name="contract kafka"))
    except NoBroker as error:
        pytest.skip(f"there is no Kafka here: {error}")
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture
async def place(broker: Broker) -> AsyncIterator[Place]:
    """Where a test serves and calls, in topics of its own."""
    here = Place("kafka", broker, f"test-{secrets.token_hex(4)}")
    yield here
    await here.close()


class Office:
    """Handlers whose patterns begin with the test's own prefix; what they saw is kept."""

    def __init__(self, prefix: str) -> None:
        self.events: list[Any] = []
        self.begun = 0
        for name, mark in self.patterns.items():
            bound = getattr(self, name)

            async def handler(data: Any, ctx: Context, bound: Any = bound) -> Any:
                return await bound(data, ctx)

            handler.__name__ = name
            setattr(self, f"handle_{name}", mark(f"{prefix}.{name}")(handler))

        @message_pattern(f"{prefix}.count")
        async def count(data: dict[str, int]) -> AsyncIterator[int]:
            for number in range(data["n"]):
                yield number
            if data.get("fails"):
                raise RpcError("half-way")

        self.handlers = [count, *(getattr(self, f"handle_{name}") for name in self.patterns)]

    patterns = {  # noqa: RUF012 - read only
        "echo": message_pattern,
        "slow": message_pattern,
        "boom": message_pattern,
        "context": message_pattern,
        "huge": message_pattern,
        "event": event_pattern,
    }

    async def echo(self, data: Any, ctx: Context) -> Any:
        return data

    async def slow(self, data: Any, ctx: Context) -> Any:
        self.begun += 1
        await asyncio.sleep(float(data))
        return data

    async def boom(self, data: Any, ctx: Context) -> Any:
        if data == "leak":
            raise ValueError("the password is swordfish")
        raise RpcError(data)

    async def context(self, data: Any, ctx: Context) -> Any:
        return [ctx.pattern, dict(ctx.headers), ctx.correlation_id, ctx.transport, ctx.raw.decode()]

    async def huge(self, data: Any, ctx: Context) -> Any:
        return "a" * 2_000_000

    async def event(self, data: Any, ctx: Context) -> None:
        self.events.append(data)
        if data == "bad":
            raise ValueError("no such thing")


class Caller:
    """A client whose patterns begin with the prefix."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client, self.prefix = client, prefix

    async def send(self, name: str, data: Any = None, **options: Any) -> Any:
        return await self.client.send(f"{self.prefix}.{name}", data, **options)

    async def emit(self, name: str, data: Any = None) -> None:
        await self.client.emit(f"{self.prefix}.{name}", data)

    async def answered(self, value: Any) -> Any:
        """The answer to an echo, as soon as there is one again."""
        end = asyncio.get_running_loop().time() + 2 * LIMIT
        while True:
            try:
                return await self.send("echo", value, timeout=1)
            except PostOfficeError:
                assert asyncio.get_running_loop().time() < end, "the client does not work again"
                await asyncio.sleep(0.02)


@pytest.fixture
async def office(place: Place) -> Office:
    """A service that has started."""
    office = Office(place.name)
    await place.serve(*office.handlers)
    return office


@pytest.fixture
async def caller(place: Place, office: Office) -> Caller:
    return Caller(await place.connect(), place.name)


@pytest.mark.parametrize(
    ("sent", "received"),
    [("text", "text"), ("", ""), ("é🚀 \x00 \"\\\n", "é🚀 \x00 \"\\\n"), ([], []), ({}, {}), (None, None),
     (True, "true"), (0, "0"), (1.5, "1.5"), ([1, "two", None, {"é": [2.5]}], [1, "two", None, {"é": [2.5]}]),
     ("[1]", [1])],
)  # fmt: skip
async def test_shapes(caller: Caller, sent: object, received: object) -> None:
    """Objects, lists and text as they went; numbers and booleans as text."""
    assert await caller.send("echo", sent) == received


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


async def test_errors(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """A text or an object reaches the caller; of anything else only that it failed."""
    for raised, received in [("no", {"status": "error", "message": "no"}), ({"code": 404}, {"code": 404})]:
        with pytest.raises(RpcError) as caught:
            await caller.send("boom", raised)
        assert caught.value.error == received
    with pytest.raises(RpcError, match="Internal server error"):
        await caller.send("boom", "leak")
    assert "swordfish" in caplog.text


async def test_streams(caller: Caller) -> None:
    """Value by value, without an extra None at the end; `send` takes the last; an error ends it."""
    for n in (0, 1, 3, 500):
        values = [value async for value in caller.client.stream(f"{caller.prefix}.count", {"n": n})]
        assert values == [str(number) for number in range(n)]
        assert await caller.send("count", {"n": n}) == (str(n - 1) if n else None)
    stream = caller.client.stream(f"{caller.prefix}.count", {"n": 2, "fails": 1})
    assert [await anext(stream), await anext(stream)] == ["0", "1"]
    with pytest.raises(RpcError, match="half-way"):
        await anext(stream)


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


async def test_a_burst_from_two_clients(caller: Caller, place: Place) -> None:
    """They may share a partition of the reply topic: each gets its own answers."""
    other = Caller(await place.connect(), place.name)
    calls = [client.send("echo", {"n": n, "of": who}) for n in range(200) for who, client in enumerate((caller, other))]
    assert await asyncio.gather(*calls) == [{"n": n, "of": who} for n in range(200) for who in range(2)]
    slow = asyncio.create_task(caller.send("slow", "0.5"))
    assert await caller.send("echo", "quick") == "quick"
    assert not slow.done()
    assert await slow == "0.5"


async def test_a_new_route_loses_no_reply_of_another(caller: Caller, office: Office) -> None:
    """The reading of replies moves on to more topics while answers are on their way."""
    slow = [asyncio.create_task(caller.send("slow", str(0.01 * n))) for n in range(60)]
    await eventually(lambda: office.begun > 0)
    for name in ("echo", "context", "count"):
        await caller.send(name, {"n": 1})
    assert await asyncio.gather(*slow) == [str(0.01 * n) for n in range(60)]


async def test_timeouts(caller: Caller) -> None:
    """A late answer is dropped; the next call gets its own."""
    with pytest.raises(RequestTimeout):
        await caller.send("slow", "0.3", timeout=0.1)
    assert await caller.send("slow", "0.4") == "0.4"


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


async def partitions(place: Place, topic: str, count: int) -> None:
    """Give a topic more partitions; a service that starts afterwards knows them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.url.removeprefix("kafka://"))
    await admin.start()
    try:
        answer = await admin.create_partitions({topic: NewPartitions(count)})
        assert all(error[1] == 0 for error in answer.topic_errors), answer
    finally:
        await admin.close()


async def test_replicas_share_and_groups_each_get_all(place: Place) -> None:
    """Replicas of one name: each message once, both at work. Another group gets every message too."""
    first = await place.serve(*Office(place.name).handlers)
    await first.stop()  # its topics are there now
    await partitions(place, f"{place.name}.event", 4)
    one, two, other = (Office(place.name) for _ in range(3))
    await place.serve(*one.handlers)
    await place.serve(*two.handlers)
    await place.serve(*other.handlers, group=f"{place.name}-audit")
    client = await place.connect()
    for number in range(200):
        await client.emit(f"{place.name}.event", {"n": number}, headers={"kafka_messageKey": str(number)})
    await eventually(lambda: len(one.events) + len(two.events) == 200 and len(other.events) == 200)
    assert sorted(event["n"] for event in one.events + two.events) == list(range(200))
    assert one.events
    assert two.events


async def test_a_killed_replica_repeats_nothing(place: Place, tmp_path: Path) -> None:
    """SIGKILL in the middle of 400 events: the other takes over, and what was begun is not begun again."""
    module = MODULE.format(prefix=place.name)
    first = await place.run(module, tmp_path)
    client = await place.connect()
    for number in range(200):
        await client.emit(f"{place.name}.counted", {"n": number})
    await eventually(lambda: "begun" in first.log)
    first.signal(signal.SIGKILL)
    await first.ended()
    second = await place.run(module, tmp_path)
    for number in range(200, 400):
        await client.emit(f"{place.name}.counted", {"n": number})
    begun = lambda process: [line for line in process.log.splitlines() if line.startswith("begun")]  # noqa: E731
    await eventually(lambda: "begun 399" in second.log and "begun 200" in second.log)
    both = begun(first) + begun(second)
    assert len(both) == len(set(both))
    assert {f"begun {number}" for number in range(200, 400)} <= set(both)


async def test_a_broker_killed_in_mid_request(place: Place, office: Office, caller: Caller) -> None:
    """Requests end in an answer or at their limit; the same client and the same service go on after the restart."""
    assert place.broker
    assert await caller.send("echo", "before") == "before"
    limited = asyncio.create_task(caller.send("slow", "0.5", timeout=1))
    patient = asyncio.create_task(caller.send("slow", "0.5", timeout=1000))
    await eventually(lambda: office.begun == 2)
    place.broker.kill()
    with pytest.raises(RequestTimeout) as caught:
        await limited
    assert caught.value.may_have_happened
    with pytest.raises(ConnectError, match="no Kafka broker could be reached"):
        await Client.connect(place.url)
    await place.broker.restart()
    assert await asyncio.wait_for(patient, 2 * LIMIT) == "0.5"  # its answer waited for the broker
    assert await caller.answered("back") == "back"
    await caller.emit("event", "again")
    await eventually(lambda: office.events == ["again"])


async def test_load_while_the_broker_dies(place: Place, caller: Caller, office: Office) -> None:
    """Every call ends, no event is handled twice."""
    assert place.broker
    outcomes: list[object] = []
    stop = False

    async def calling() -> None:
        while not stop:
            try:
                outcomes.append(await caller.send("echo", "x", timeout=1))
            except PostOfficeError as error:
                outcomes.append(type(error))

    callers = [asyncio.create_task(calling()) for _ in range(50)]
    for number in range(100):
        await caller.emit("event", {"n": number})
    await eventually(lambda: len(outcomes) > 200)
    place.broker.kill()
    await eventually(lambda: RequestTimeout in outcomes)
    await place.broker.restart()
    before = outcomes.count("x")
    await eventually(lambda: outcomes.count("x") > before + 200, "answers after the restart", 2 * LIMIT)
    stop = True
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*callers)
    assert set(outcomes) <= {"x", RequestTimeout}
    assert not caller.client._pending
    numbers = [event["n"] for event in office.events]
    assert len(numbers) == len(set(numbers))


async def test_a_paused_broker_holds_nobody(place: Place) -> None:
    """Calls end at their limit; client and service close in seconds and leave no task behind."""
    assert place.broker
    before = asyncio.all_tasks()
    office = Office(place.name)
    service = await place.serve(*office.handlers)
    client = await place.connect()
    assert await client.send(f"{place.name}.echo", "up") == "up"
    place.broker.pause()
    try:
        with pytest.raises(RequestTimeout):
            await client.send(f"{place.name}.echo", "down", timeout=0.5)
        async with asyncio.timeout(LIMIT):
            await client.close()
            await service.stop()
    finally:
        await place.broker.resume()
    assert asyncio.all_tasks() <= before


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
    """At least once is refused, and the error names what can."""
    from postoffice import Service

    with pytest.raises(UnsupportedError, match=r"Kafka cannot deliver at least once.*RabbitMQ"):
        Service(*Office("x").handlers, url=place.url, delivery="at-least-once")
    with pytest.raises(PatternError, match="cannot be a Kafka topic"):
        asyncio.run(Service(message_pattern({"cmd": "sum"})(_sum), url=place.url).start())


async def _sum(data: list[int]) -> int:
    return sum(data)
