"""What NestJS does where the book chapter says otherwise, or says nothing: NestJS with itself, no line of ours between.

docs/from-nestjs.md has the list. Each finding here is a claim about NestJS 12, so a new version may turn one red.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from classroom.brokers import NoBroker, start_broker
from postoffice import Service

from .handlers import Attempts
from .node import Node, NoNode, find_node, install
from .peers import NestClient, NestService, Pair, Place
from .replicas import MANUAL, started, waiting
from .wires import WIRES

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]  # RabbitMQ starts anew for each
LIMIT = 1.0  # seconds that a call waits for what does not come


@pytest.fixture(scope="session", name="node")
def nodejs() -> Node:
    """Node.js, with NestJS 12 at hand."""
    try:
        node = find_node()
        install("nest12", node)
    except NoNode as error:
        pytest.skip(str(error))
    return node


@pytest.fixture(name="packages")
def nest12(node: Node) -> Path:
    """The folder of NestJS 12."""
    return install("nest12", node)


@pytest.fixture(name="url")
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A broker of this test's own, of the kind that the test is parametrised with."""
    kind = request.param
    try:
        broker = await start_broker(kind, name=f"findings-{kind}")
    except NoBroker as error:
        pytest.skip(str(error).splitlines()[0])
    async with broker:
        yield broker.url


on_rabbitmq = pytest.mark.parametrize("url", ["rabbitmq"], indirect=True)


async def test_an_event_sent_to_a_message_handler_runs_it(node: Node, packages: Path) -> None:
    """The chapter: "the handler will never fire". It runs; only the reply has nowhere to go."""
    service = NestService(Place("tcp", "tcp://127.0.0.1:0"), node, packages)
    place = Place("tcp", await service.start())
    client = NestClient(place, node, packages)
    try:
        async with started(client):
            pair = Pair(place, WIRES["tcp"], client, service)
            await pair.emit("noted", 5)
            assert await pair.seen(1) == [["noted", 5]]
    finally:
        await service.stop()


@pytest.mark.parametrize(("url", "kept"), [("redis", False), ("nats", False), ("rabbitmq", True)], indirect=["url"])
async def test_an_event_while_the_service_is_away(url: str, kept: bool, node: Node, packages: Path) -> None:
    """Redis Streams and JetStream may keep messages, but NestJS uses neither: what nobody hears is gone."""
    name = "rabbitmq" if kept else url.partition(":")[0]
    place = Place(name, url, queue="office" if kept else "")
    client, service = NestClient(place, node, packages), NestService(place, node, packages)
    pair = Pair(place, WIRES[name], client, service)
    async with started(client):
        await pair.emit("noted", "while away")
        async with started(service):
            await pair.emit("noted", "while here")
            expected = [["noted", "while away"], ["noted", "while here"]]
            assert await pair.seen(2 if kept else 1) == (expected if kept else expected[1:])


@on_rabbitmq
async def test_rabbitmq_as_nest_uses_it_is_at_most_once(url: str, node: Node, packages: Path) -> None:
    """The chapter's table says at least once. NestJS's default takes messages without acknowledgement."""
    place = Place("rabbitmq", url, queue="office")
    client, first, second = (one(place, node, packages) for one in (NestClient, NestService, NestService))
    async with started(client):
        async with started(first):
            pair = Pair(place, WIRES["rabbitmq"], client, first)
            await pair.emit("parcel.weighing", {"n": 1, "ms": 60_000})
            assert await pair.seen(1) == [["began", 1]]
            first.kill()
        async with started(second):
            pair = Pair(place, WIRES["rabbitmq"], client, second)
            await pair.emit("noted", "after it")
            assert await pair.seen(1) == [["noted", "after it"]], "the interrupted event came again"


@on_rabbitmq
async def test_an_event_that_fails_is_neither_retried_nor_rejected(url: str, node: Node, packages: Path) -> None:
    """With acknowledgement by hand, an error leaves its message open; as many as the prefetch freeze the queue."""
    place = Place("rabbitmq", url, queue="office")
    service, client = NestService(place, node, packages, MANUAL), NestClient(place, node, packages)
    pair, attempts = Pair(place, WIRES["rabbitmq"], client, service), Attempts()
    async with started(client):
        async with started(service):
            for n in range(MANUAL["prefetchCount"]):
                await pair.emit("parcel.failing", n)
            await pair.seen(MANUAL["prefetchCount"])
            assert (await pair.call("echo", 1, limit=LIMIT)).end == "timeout"
            assert await service.seen() == [["failing", 0], ["failing", 1]]
            assert await waiting(place) == 1, "the request that nobody takes"
        async with Service(attempts, url=url, name=place.queue, delivery="at-least-once"):
            await pair.emit("parcel.by-hand", "the queue moves again")
            await attempts.came.wait()
    assert attempts.seen == [["attempt 1", "the queue moves again"]]


@on_rabbitmq
async def test_an_unsorted_object_is_unroutable_with_wildcards(url: str, node: Node, packages: Path) -> None:
    """NestJS binds by the sorted text of a pattern, and publishes by the unsorted one."""
    wild = {"wildcards": True}
    place = Place("rabbitmq", url, queue="wild")
    service, client = NestService(place, node, packages, wild), NestClient(place, node, packages, wild)
    pair = Pair(place, WIRES["rabbitmq"], client, service)
    async with started(service, client):
        assert (await pair.call({"cmd": "sum"}, [1, 2])).values == [3]
        unsorted = {"z": {"b": 2, "a": [1, "two"]}, "cmd_b": True, "cmd": "nested"}
        assert (await pair.call(unsorted, 1, limit=LIMIT)).end == "timeout"


@pytest.mark.parametrize("url", ["redis"], indirect=True)
async def test_a_caller_of_nobody_waits_for_ever(url: str, node: Node, packages: Path) -> None:
    """NestJS has no timeout of its own; Redis knows that nobody listens, and NestJS does not ask."""
    place = Place("redis", url)
    client = NestClient(place, node, packages)
    async with started(client):
        pair = Pair(place, WIRES["redis"], client, NestService(place, node, packages))
        assert (await pair.call("nobody.here", 1, limit=3 * LIMIT)).end == "timeout"


@pytest.mark.parametrize("url", ["kafka"], indirect=True)
async def test_a_kafka_service_ends_where_a_topic_is_missing(url: str, node: Node, packages: Path) -> None:
    """The broker would make the topic; NestJS does not wait for it, and ends with an error at its first start."""
    service = NestService(Place("kafka", url, group="office", text_only=True, topics=["echo"]), node, packages)
    with pytest.raises(RuntimeError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        await service.start()
