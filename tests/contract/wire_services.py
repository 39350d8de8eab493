"""A NestJS service's side of each transport, by the transport's own means."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiormq
import nats
import redis.asyncio as redis
from contract_help import Place
from pamqp.commands import Basic
from wire_help import mqtt_client, next_frame


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
    if addresses:  # of an exchange; without, all goes to the queue
        await channel.exchange_declare(place.name, exchange_type="topic", durable=True)
    for key in addresses:
        await channel.queue_bind(place.name, place.name, key)

    async def read(message: Any) -> None:
        given = message.header.properties
        packet = json.loads(message.body)
        assert (given.headers, given.delivery_mode, given.content_type) == ({}, 1, None)
        assert given.correlation_id == packet.get("id")

        async def reply(packet: bytes) -> None:
            properties = Basic.Properties(headers={}, correlation_id=given.correlation_id)
            await channel.basic_publish(packet, routing_key=given.reply_to, properties=properties)

        key = message.routing_key if message.exchange else None
        arrived.put_nowait(Arrived(packet, key, bool(given.reply_to), reply))

    await channel.basic_consume(place.name, read, no_ack=True)
    yield
    await connection.close()
