"""Messages captured from NestJS, the service they were sent to, and raw peers that play either side."""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import aiormq
import nats
import redis.asyncio as redis
from contract_help import LIMIT, Place
from pamqp.commands import Basic

from postoffice import Context, RpcError, event_pattern, message_pattern

FOLDER = Path(__file__).parents[1] / "vectors"
FILES = {
    "tcp": "tcp",
    "redis": "redis",
    "nats": "nats",
    "nats-queue": "nats",
    "rmq": "rabbitmq",
    "mqtt": "mqtt",
    "mqtt5": "mqtt",
}


def load(name: str) -> dict[str, Any]:
    """A file of captured messages."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def cases_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """The captured messages of a file, by the name of their case, in wire order."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for case in load(name)["cases"]:
        cases.setdefault(case["name"], []).append(case)
    return cases


def bytes_of(case: dict[str, Any]) -> bytes:
    """The exact bytes of a captured payload."""
    return base64.b64decode(case["payload_base64"]) if "payload_base64" in case else case["payload"].encode()


def packet_of(case: dict[str, Any]) -> dict[str, Any]:
    """The packet in a captured payload; on TCP, what follows the length."""
    text = bytes_of(case).decode()
    return dict(json.loads(text.partition("#")[2] if "framing" in case else text))


async def next_frame(reader: asyncio.StreamReader) -> str:
    """The text of a TCP frame, whose length counts UTF-16 units."""
    length = int((await reader.readuntil(b"#"))[:-1])
    text, decoder = "", codecs.getincrementaldecoder("utf-8")()
    while len(text.encode("utf-16-le")) < 2 * length:
        text += decoder.decode(await reader.readexactly(1))
    return text


def one_shape(packets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stream's end may come with its last value or after it. Both are legal; here they become the former."""
    if len(packets) > 1 and "isDisposed" in packets[-1] and not packets[-1].keys() & {"response", "err"}:
        return [*packets[:-2], packets[-2] | packets[-1]]
    return packets


class Probe:
    """The service that NestJS served while its messages were captured, in postoffice."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def note(self, handler: str, data: Any, **more: Any) -> None:
        self.events.append({"handler": handler, "data": data, **more})

    @message_pattern({"cmd": "sum"})
    async def sum(self, data):
        return sum(data)

    @message_pattern({"op": {"name": "mul", "v": 2}, "service": "math"})
    async def twice(self, data):
        return data * 2

    @message_pattern(42)
    async def number(self, data):
        return {"num": data}

    @message_pattern("probe.echo")
    async def echo(self, data):
        return data

    @message_pattern("probe.error.rpc.string")
    async def rpc_string(self):
        raise RpcError("boom")

    @message_pattern("probe.error.rpc.object")
    async def rpc_object(self):
        raise RpcError({"code": 42, "message": "custom", "details": ["a", "b"]})

    @message_pattern("probe.error.plain")
    async def plain(self):
        raise ValueError("secret detail")

    @message_pattern("probe.error.async")
    async def late_error(self):
        await asyncio.sleep(0.01)
        raise RpcError("late boom")

    @message_pattern("probe.stream.sync")
    async def stream_sync(self):
        for value in (1, 2, 3):
            yield value

    @message_pattern("probe.stream.async")
    async def stream_async(self):
        for value in (1, 2, 3):
            yield value
            await asyncio.sleep(0.01)

    @message_pattern("probe.stream.error")
    async def stream_error(self):
        yield 1
        raise RpcError("mid-stream")

    @message_pattern("probe.stream.empty")
    @message_pattern("probe.ret.undefined")  # Python has no undefined: an answer without a value is an empty stream
    async def empty(self):
        for nothing in ():
            yield nothing

    @message_pattern("probe.ret.null")
    async def null(self):
        return None

    @message_pattern("probe.ret.promise")
    async def promise(self, data):
        await asyncio.sleep(0)
        return {"got": data}

    @message_pattern("probe.slow")
    async def slow(self, data):
        await asyncio.sleep(data["ms"] / 1000)
        return "late"

    @message_pattern("probe.events.take")
    async def take(self):
        taken, self.events = self.events, []
        return {"events": taken}

    @event_pattern({"evt": "created"})
    async def created(self, data):
        self.note("object", data)

    @event_pattern("probe.evt.string")
    async def string(self, data):
        self.note("string", data)

    @event_pattern("probe.evt.double")
    async def double_1(self, data):
        self.note("double-1", data)

    @event_pattern("probe.evt.double")
    async def double_2(self, data):
        self.note("double-2", data)

    @event_pattern("probe.evt.error")
    async def broken(self, data):
        self.note("error", data)
        raise ValueError("event handler failed")


class NatsProbe(Probe):
    """With the handlers that only NATS had."""

    @message_pattern("wild.*")
    async def wild(self, data, ctx: Context):
        return {"wild": data, "on": ctx.pattern}

    @event_pattern("wevt.>")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)


class MqttProbe(Probe):
    """With the handlers that only MQTT had."""

    @message_pattern("wild/+")
    async def wild(self, data, ctx: Context):
        return {"wild": data, "on": ctx.pattern}

    @event_pattern("wevt/#")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)


class Caller:
    """A NestJS client's bytes, sent by the transport's own means; what comes back, packet by packet."""

    def __init__(self, send: Any, replies: asyncio.Queue[dict[str, Any]]) -> None:
        self._send = send
        self._replies = replies

    async def ask(self, case: dict[str, Any], answered: bool) -> list[dict[str, Any]]:
        """Send a captured message and, where NestJS answered it, take the packets up to the last one."""
        await self._send(case)
        packets: list[dict[str, Any]] = []
        async with asyncio.timeout(LIMIT):
            while answered and not (packets and packets[-1].keys() & {"isDisposed", "err", "headers"}):
                packets.append(await self._replies.get())
        return packets

    @property
    def unexpected(self) -> list[dict[str, Any]]:
        """What came beyond that."""
        return [self._replies.get_nowait() for _ in range(self._replies.qsize())]


@asynccontextmanager
async def raw_caller(place: Place) -> AsyncIterator[Caller]:
    """The other side of our service."""
    replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    opened = {"tcp": _tcp, "redis": _redis, "nats": _nats, "rabbitmq": _rabbit, "mqtt": _mqtt}
    async with opened[place.kind](place, replies) as send:
        yield Caller(send, replies)


@asynccontextmanager
async def _tcp(place: Place, replies: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[Any]:
    host, port = place.url.removeprefix("tcp://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def read() -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                replies.put_nowait(json.loads(await next_frame(reader)))

    async def send(case: dict[str, Any]) -> None:
        writer.write(bytes_of(case))

    task = asyncio.create_task(read())
    yield send
    task.cancel()
    writer.close()


@asynccontextmanager
async def _redis(place: Place, replies: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[Any]:
    async with redis.Redis.from_url(place.url) as connection, connection.pubsub() as listening:
        await listening.psubscribe("*.reply")

        async def read() -> None:
            async for message in listening.listen():
                if message["type"] == "pmessage":
                    replies.put_nowait(json.loads(message["data"]) | {"channel": message["channel"].decode()})

        async def send(case: dict[str, Any]) -> None:
            await connection.publish(case["channel"], bytes_of(case))

        task = asyncio.create_task(read())
        yield send
        task.cancel()


@asynccontextmanager
async def _nats(place: Place, replies: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[Any]:
    connection = await nats.connect(place.url)

    async def read(message: Any) -> None:
        replies.put_nowait(json.loads(message.data) if message.data else {"headers": message.headers["Status"]})

    inbox = connection.new_inbox()
    await connection.subscribe(inbox, cb=read)

    async def send(case: dict[str, Any]) -> None:
        wants = bool(case.get("reply") or case.get("reply_subject"))
        await connection.publish(case["subject"], bytes_of(case), reply=inbox if wants else "")
        await connection.flush()

    yield send
    await connection.close()


@asynccontextmanager
async def _rabbit(place: Place, replies: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[Any]:
    connection = await aiormq.connect(place.url)
    channel = await connection.channel(publisher_confirms=False)
    queue = (await channel.queue_declare(exclusive=True)).queue

    async def read(message: Any) -> None:
        properties = message.header.properties
        assert properties.headers == {}
        assert properties.delivery_mode is None
        replies.put_nowait(json.loads(message.body) | {"correlationId": properties.correlation_id})

    await channel.basic_consume(queue, read, no_ack=True)

    async def send(case: dict[str, Any]) -> None:
        given = case["properties"]
        await channel.basic_publish(
            bytes_of(case),
            routing_key=place.name,
            properties=Basic.Properties(
                headers=given.get("headers"),
                delivery_mode=given.get("deliveryMode"),
                correlation_id=given.get("correlationId"),
                reply_to=queue if given.get("replyTo") else None,
            ),
        )

    yield send
    await connection.close()


def mqtt_client(place: Place) -> aiomqtt.Client:
    """A client of the driver's own."""
    return aiomqtt.Client("127.0.0.1", int(place.url.rpartition(":")[2]))


@asynccontextmanager
async def _mqtt(place: Place, replies: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[Any]:
    async with mqtt_client(place) as connection:
        await connection.subscribe([("+/reply", 0), ("+/+/reply", 0)])

        async def read() -> None:
            async for message in connection.messages:
                replies.put_nowait(json.loads(bytes(message.payload)) | {"topic": message.topic.value})

        async def send(case: dict[str, Any]) -> None:
            await connection.publish(case["topic"], bytes_of(case))

        task = asyncio.create_task(read())
        yield send
        task.cancel()


@dataclass
class Arrived:
    """A message of our client, as a NestJS service would find it."""

    packet: dict[str, Any]
    address: str | None  # the channel, subject or topic
    can_answer: bool
    reply: Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def raw_service(place: Place, addresses: set[str]) -> AsyncIterator[asyncio.Queue[Arrived]]:
    """The other side of our client: what it sends, and a way to answer with captured bytes."""
    arrived: asyncio.Queue[Arrived] = asyncio.Queue()
    opened = {
        "tcp": _tcp_service,
        "redis": _redis_service,
        "nats": _nats_service,
        "rabbitmq": _rabbit_service,
        "mqtt": _mqtt_service,
    }
    async with opened[place.kind](place, addresses, arrived):
        yield arrived


@asynccontextmanager
async def _tcp_service(place: Place, addresses: set[str], arrived: asyncio.Queue[Arrived]) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def reply(packet: bytes) -> None:
            writer.write(b"%d#%b" % (len(packet.decode().encode("utf-16-le")) // 2, packet))

        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                arrived.put_nowait(Arrived(json.loads(await next_frame(reader)), None, True, reply))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place.url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield
    server.close()


@asynccontextmanager
async def _redis_service(place: Place, addresses: set[str], arrived: asyncio.Queue[Arrived]) -> AsyncIterator[None]:
    async with redis.Redis.from_url(place.url) as connection, connection.pubsub() as listening:
        await listening.subscribe(*addresses)

        async def read() -> None:
            async for message in listening.listen():
                if message["type"] == "message":
                    channel = message["channel"].decode()

                    async def reply(packet: bytes, channel: str = channel) -> None:
                        assert await connection.publish(f"{channel}.reply", packet) == 1, "it does not listen"

                    arrived.put_nowait(Arrived(json.loads(message["data"]), channel, True, reply))

        task = asyncio.create_task(read())
        yield
        task.cancel()


@asynccontextmanager
async def _nats_service(place: Place, addresses: set[str], arrived: asyncio.Queue[Arrived]) -> AsyncIterator[None]:
    connection = await nats.connect(place.url)

    async def read(message: Any) -> None:
        arrived.put_nowait(Arrived(json.loads(message.data), message.subject, bool(message.reply), message.respond))

    for subject in addresses:
        await connection.subscribe(subject, cb=read)
    await connection.flush()
    yield
    await connection.close()


@asynccontextmanager
async def _mqtt_service(place: Place, addresses: set[str], arrived: asyncio.Queue[Arrived]) -> AsyncIterator[None]:
    async with mqtt_client(place) as connection:
        await connection.subscribe([(address, 0) for address in sorted(addresses)])

        async def read() -> None:
            async for message in connection.messages:
                topic = message.topic.value

                async def reply(packet: bytes, topic: str = topic) -> None:
                    await connection.publish(f"{topic}/reply", packet)

                arrived.put_nowait(Arrived(json.loads(bytes(message.payload)), topic, True, reply))

        task = asyncio.create_task(read())
        yield
        task.cancel()


@asynccontextmanager
async def _rabbit_service(place: Place, addresses: set[str], arrived: asyncio.Queue[Arrived]) -> AsyncIterator[None]:
    connection = await aiormq.connect(place.url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.queue_declare(place.name, durable=True)

    async def read(message: Any) -> None:
        given = message.header.properties
        packet = json.loads(message.body)
        assert (given.headers, given.delivery_mode, given.content_type) == ({}, 1, None)
        assert given.correlation_id == packet.get("id")

        async def reply(packet: bytes) -> None:
            properties = Basic.Properties(headers={}, correlation_id=given.correlation_id)
            await channel.basic_publish(packet, routing_key=given.reply_to, properties=properties)

        arrived.put_nowait(Arrived(packet, None, bool(given.reply_to), reply))

    await channel.basic_consume(place.name, read, no_ack=True)
    yield
    await connection.close()
