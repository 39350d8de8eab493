"""A NestJS client's side of each transport, by the transport's own means."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiormq
import nats
import redis.asyncio as redis
from contract_help import LIMIT, Place
from pamqp.commands import Basic
from wire_help import bytes_of, mqtt_client, next_frame


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
        exchange = place.name if case.get("exchange") else ""  # the capture's had a name of its own
        await channel.basic_publish(
            bytes_of(case),
            exchange=exchange,
            routing_key=case["routing_key"] if exchange else place.name,
            properties=Basic.Properties(
                headers=given.get("headers"),
                delivery_mode=given.get("deliveryMode"),
                correlation_id=given.get("correlationId"),
                reply_to=queue if given.get("replyTo") else None,
            ),
        )

    yield send
    await connection.close()


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
