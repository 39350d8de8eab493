"""Faults of real brokers, of each kind by both engines: a link before them, kill and pause, and a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import letters
import nats
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from classroom_help import Kernel
from contract_help import Place, eventually
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from serving import problem

from classroom.brokers import Broker, BrokerError, NoDisk, NotOurs, start_broker
from classroom.brokers.catalogue import KINDS
from classroom.brokers.probes import NOT_READY, probe
from postoffice import Client, PostOfficeError, RequestTimeout, event_pattern, message_pattern

ENGINES = ["process", pytest.param("container", marks=pytest.mark.containers)]
# the link is the same before both engines, and that both kill and pause is tested with the brokers
BY_PROCESS = pytest.mark.parametrize("engine", ["process"], indirect=True, scope="module")
SLOW = ("rabbitmq", "kafka")  # to start: one restart of these shows what two would
LIMIT = 30.0  # seconds that any wait of these tests may take


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=list(KINDS))
def broker(request: pytest.FixtureRequest, engine: str) -> Iterator[Broker]:
    """One of each kind, behind a link and on a small disk."""
    kind = request.param
    if why := problem(kind, engine):
        pytest.skip(why)
    size = "128M" if kind == "kafka" else "64M"
    try:
        broker = asyncio.run(start_broker(kind, engine=engine, name=f"broken {kind}", link=True, disk=size))
    except NoDisk as error:
        pytest.skip(str(error))
    yield broker
    asyncio.run(broker.stop())


@contextlib.asynccontextmanager
async def at_work(broker: Broker) -> AsyncIterator[Client]:
    """A service that echoes, and a client of it; both go through the link."""
    name = f"faults_{secrets.token_hex(4)}"

    @message_pattern(name)
    async def echo(data):
        return data

    @event_pattern(f"{name}.event")
    async def event(data):
        pass

    place = Place(broker.kind, broker, name)
    try:
        await place.serve(echo, event, grace=0.5)
        client = await place.connect(timeout=LIMIT)
        client.pattern = name
        assert await client.send(name, "works") == "works"
        yield client
    finally:
        await place.close()


async def works(client: Client) -> None:
    """Wait until the same client gets an answer from the same service again."""
    end = asyncio.get_running_loop().time() + LIMIT
    while True:
        try:
            assert await client.send(client.pattern, "again", timeout=1) == "again"
            return
        except PostOfficeError:
            assert asyncio.get_running_loop().time() < end, "the client does not work again"
            await asyncio.sleep(0.02)


async def answers(broker: Broker, url: str) -> bool:
    try:
        async with asyncio.timeout(1):
            await probe(broker.kind, url)
    except NOT_READY:
        return False
    return True


async def test_cut_and_heal(broker: Broker) -> None:
    """Nobody gets through, Kafka's clients included; past the link all is well. Healed, both sides go on."""
    async with at_work(broker) as client:
        async with broker.link.cut():
            with pytest.raises(RequestTimeout):
                await client.send(client.pattern, "lost?", timeout=0.5)
            assert not await answers(broker, broker.url)
            assert await answers(broker, broker.direct_url)
        await works(client)
        assert (await broker.link.state())["connections"] >= 2


@BY_PROCESS
async def test_resets_and_slices(broker: Broker) -> None:
    """Connections that are reset are opened again; a packet in many pieces is a packet."""
    async with at_work(broker) as client:
        async with broker.link.reset_peer():
            await asyncio.sleep(0.1)
        await works(client)
        async with broker.link.slicer(7, size_variation=6):
            assert await client.send(client.pattern, "x" * 500) == "x" * 500


@BY_PROCESS
async def test_latency_is_seen(broker: Broker) -> None:
    """A call takes four ways through the link: to the broker, to the service, and back again."""
    loop = asyncio.get_running_loop()
    async with at_work(broker) as client, broker.link.latency(0.05):
        begin = loop.time()
        await client.send(client.pattern, 1)
        assert 0.2 <= loop.time() - begin < LIMIT


@BY_PROCESS
async def test_down_and_paused(broker: Broker) -> None:
    """Killed, ended and paused, it comes back by itself at the same address, through the same link."""
    url = broker.url
    async with at_work(broker) as client:
        async with broker.down():
            assert not broker.alive
            assert broker.state == "killed"
        await works(client)
        async with broker.paused():
            assert not await answers(broker, broker.direct_url)
            assert broker.state == "paused"
        await works(client)
        if broker.kind not in SLOW:
            with contextlib.suppress(ZeroDivisionError):
                async with broker.down(clean=True):
                    assert (broker.alive, broker.state) == (False, "ended")
                    raise ZeroDivisionError
            await works(client)
    assert (broker.url, broker.state) == (url, "running")


async def test_a_full_disk(broker: Broker) -> None:
    """What each broker does then; there is room again, it goes on, and what it had confirmed before is there."""
    await FULL[broker.kind](broker)
    assert broker.state == "running"


async def redis_full(broker: Broker) -> None:
    """With an append-only file: writes are refused with an error, reads go on."""
    async with Redis.from_url(broker.url) as client:
        await client.config_set("appendonly", "yes")
        await client.set("before", "kept")

        async def rewritten() -> bool:
            return not (await client.info("persistence"))["aof_rewrite_in_progress"]

        await until(rewritten)

        async def refused(size: int) -> bool:
            try:
                await client.set("during", bytes(size))
            except ResponseError as error:
                return "AOF" in str(error)
            return False

        async with broker.disk_full():
            await until(lambda: refused(10_000))
            assert await client.get("before") == b"kept"

        async def accepted() -> bool:
            return not await refused(1)

        await until(accepted)
        await client.config_set("appendonly", "no")


async def nats_full(broker: Broker) -> None:
    """A stream that could not write confirms nothing more, until the server is restarted."""
    client = await nats.connect(broker.url)
    stream = client.jetstream()
    try:
        await stream.add_stream(name="full", subjects=["full"])
        await stream.publish("full", b"kept")
        async with broker.disk_full():
            for _ in range(2):
                with pytest.raises(Exception, match=r"timeout|no response|insufficient|err_code"):
                    await stream.publish("full", bytes(100_000), timeout=0.5)
        await until(lambda: stored(stream))
        assert (await stream.get_msg("full", 1)).data == b"kept"
    finally:
        await client.close()


async def stored(stream: nats.js.JetStreamContext) -> bool:
    try:
        await stream.publish("full", b"after", timeout=1)
    except Exception:  # the client is connecting again
        return False
    return True


async def rabbitmq_full(broker: Broker) -> None:
    """Below its limit of free space, publishers are blocked: nothing is confirmed, and nothing confirmed is lost."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("full", durable=True)
        letter = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)

        async def blocked() -> bool:
            try:
                await channel.default_exchange.publish(letter, "full", timeout=1)
            except TimeoutError:
                return True
            nonlocal confirmed
            confirmed += 1
            return False

        confirmed = 0
        await blocked()
        async with broker.disk_full():
            await until(blocked)

        async def gone_through() -> bool:
            return not await blocked()

        await until(gone_through)
        assert confirmed >= 2
        assert (await channel.declare_queue(queue.name, durable=True)).declaration_result.message_count >= confirmed


async def kafka_full(broker: Broker) -> None:
    """Its server ends; with room again it is started, and has what it had confirmed."""
    await letters.post("kafka", broker.url)
    async with broker.disk_full():
        producer = AIOKafkaProducer(bootstrap_servers=urlsplit(broker.url).netloc, request_timeout_ms=1000)
        await producer.start()
        with pytest.raises((KafkaError, TimeoutError)):
            await asyncio.wait_for(producer.send_and_wait("letters", bytes(500_000)), 1)
        await eventually(lambda: not broker.alive, "the end of its server")
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), 1)
    assert await letters.collect("kafka", broker.url) == letters.LETTER


async def mosquitto_full(broker: Broker) -> None:
    """It writes at its end only, so it confirms what it then cannot write: a message is lost, and no error is seen."""
    await letters.post("mosquitto", broker.url)
    await broker.restart()
    assert await letters.collect("mosquitto", broker.url) == letters.LETTER
    async with broker.disk_full():
        await letters.post("mosquitto", broker.url)  # returns when it is acknowledged
        await broker.terminate()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(letters.collect("mosquitto", broker.url), 1)


FULL = {
    "redis": redis_full,
    "nats": nats_full,
    "rabbitmq": rabbitmq_full,
    "kafka": kafka_full,
    "mosquitto": mosquitto_full,
}


async def until(look) -> None:
    """Poll a coroutine function until it is true."""
    async with asyncio.timeout(LIMIT):
        while True:
            if await look():
                return
            await asyncio.sleep(0.05)


async def test_without_a_link_and_a_disk_it_says_how_to_have_them() -> None:
    """A fault that needs what is not there is an error, not a silence."""
    async with await start_broker("redis", engine="process", name="plain") as broker:
        assert broker.direct_url == broker.url
        with pytest.raises(BrokerError, match=r'its network is whole: await start_broker\("redis", link=True\)'):
            broker.link.cut()
        with pytest.raises(NoDisk, match=r'await start_broker\("redis", disk="64M"\)'):
            broker.disk_full()
        with pytest.raises(ValueError, match=r"33,554,432 bytes at least; got '1M' \(1,048,576 bytes\)"):
            await start_broker("redis", disk="1M")


async def test_a_broker_that_someone_else_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link can be put before it; Kafka's clients would go past it, so there it is refused."""
    async with await start_broker("redis", engine="process", name="theirs") as theirs:
        monkeypatch.setenv("CLASSROOM_REDIS_URL", theirs.url)
        async with await start_broker("redis", link=True) as ours:
            assert ours.direct_url == theirs.url != ours.url
            assert await answers(ours, ours.url)
            async with ours.link.cut():
                assert not await answers(ours, ours.url)
            with pytest.raises(NotOurs):
                await ours.down(clean=True)
        with pytest.raises(NoDisk):
            await start_broker("redis", disk="64M")
    monkeypatch.setenv("CLASSROOM_KAFKA_URL", "kafka://127.0.0.1:9092")
    with pytest.raises(NotOurs, match="so they would go past the link"):
        await start_broker("kafka", link=True)


def test_nothing_is_left_of_a_kernel_that_dies(engine: str, tmp_path: Path) -> None:
    """In the middle of faults: neither a process nor a folder, and the disk goes with the last process."""
    if why := problem("redis", engine):
        pytest.skip(why)
    code = f"""
import asyncio
from classroom import start_broker
async def main():
    broker = await start_broker("redis", engine="{engine}", link=True, disk="64M")
    await broker.link.cut()
    await broker.disk_full()
    print("begun", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""
    kernel = Kernel(code, tmp_path / "kernel")
    while (line := kernel.line()) != "begun":
        assert line, "it ended"
    kernel.kill()
    kernel.nothing_is_left()
