"""Does a broker answer? Asked in its own protocol, and answered with what it is: `Answer("Redis", "8.0.2")`.

A probe raises one of `NOT_READY` while the broker does not answer, and leaves no connection behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from classroom.brokers.errors import BrokerError

PATIENCE = 2.0  # seconds for one probe; a broker that is up answers in milliseconds


class Answer(NamedTuple):
    """What answered: "Redis" or "Valkey", and so on, and its version ("" when it does not tell)."""

    product: str
    version: str


class NotReady(Exception):
    """Something answered, and not as the broker would."""


NOT_READY = (NotReady, OSError, TimeoutError, EOFError)


async def probe(kind: str, url: str) -> Answer:
    """Ask once, for at most `PATIENCE` seconds. Raises one of `NOT_READY`, or BrokerError for a URL that is none."""
    async with asyncio.timeout(PATIENCE):
        return await _PROBES[kind](url)


async def _redis(url: str) -> Answer:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    try:
        async with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            await client.ping()
            told = await client.info("server")
    except RedisError as error:
        raise NotReady(str(error)) from error
    if "valkey_version" in told:
        return Answer("Valkey", str(told["valkey_version"]))
    return Answer("Redis", str(told["redis_version"]))


async def _nats(url: str) -> Answer:
    import nats
    from nats.errors import Error

    async def ignore(_: Exception) -> None:
        """The default logs each refused connection with a traceback."""

    try:
        client = await nats.connect(
            url, connect_timeout=1, max_reconnect_attempts=1, reconnect_time_wait=0.01, error_cb=ignore
        )
        version = client.connected_server_version  # connect() has waited for a PONG
        await client.close()
    except Error as error:
        raise NotReady(str(error)) from error
    return Answer("NATS", f"{version.major}.{version.minor}.{version.patch}")


async def _rabbitmq(url: str) -> Answer:
    import aiormq
    from aiormq.exceptions import AMQPError

    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port or 5672)
    writer.close()  # it listens: aiormq logs an error where nobody does
    try:
        connection = await aiormq.connect(url)
    except AMQPError as error:
        raise NotReady(str(error)) from error
    try:
        await _reply_comes(await connection.channel(publisher_confirms=False))
        told = connection.server_properties or {}
    except AMQPError as error:
        raise NotReady(str(error)) from error
    finally:
        await connection.close()
    return Answer("RabbitMQ", str(told.get("version", "")))


async def _reply_comes(channel: Any) -> None:
    """A request to ourselves: RabbitMQ 4 takes connections some moments before it brings replies, and drops these."""
    from pamqp.commands import Basic

    arrived = asyncio.Event()

    async def on_reply(message: Any) -> None:
        arrived.set()

    await channel.basic_consume("amq.rabbitmq.reply-to", on_reply, no_ack=True)
    queue = (await channel.queue_declare(exclusive=True)).queue
    await channel.basic_publish(b"?", routing_key=queue, properties=Basic.Properties(reply_to="amq.rabbitmq.reply-to"))
    reply_to = (await channel.basic_get(queue, no_ack=True)).header.properties.reply_to
    if reply_to:
        await channel.basic_publish(b"!", routing_key=reply_to)
    try:
        await asyncio.wait_for(arrived.wait(), 0.2)
    except TimeoutError:
        raise NotReady("it takes connections, and brings no replies yet") from None


async def _mosquitto(url: str) -> Answer:
    """MQTT 3.1.1: CONNECT, wait for CONNACK, then read the version where Mosquitto keeps it, retained."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 1883)
    try:
        writer.write(_mqtt_connect(parts.username, parts.password))
        kind, body = await _mqtt_packet(reader)
        if (kind, body[1:]) != (0x20, b"\x00"):
            raise NotReady(f"CONNACK refused the connection: {body.hex()}")
        writer.write(_mqtt_frame(0x82, struct.pack("!H", 1), _mqtt_text("$SYS/broker/version"), b"\x00"))
        version = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # a broker may not tell
                while kind != 0x30 and kind != 0x31:
                    kind, body = await _mqtt_packet(reader)
                version = (re.search(rb"\d+\.\d+(\.\d+)?", body) or [b""])[0].decode()
        writer.write(b"\xe0\x00")  # DISCONNECT
    finally:
        writer.close()
    return Answer("Mosquitto", version)


async def _kafka(url: str) -> Answer:
    """A metadata request, and who coordinates groups: before that, none can be joined. It does not tell its version."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 9092
    _, writer = await asyncio.open_connection(host, port)
    writer.close()  # it listens: aiokafka logs an error where nobody does
    admin = AIOKafkaAdminClient(bootstrap_servers=f"{host}:{port}")
    try:
        await admin.start()
        await admin.find_coordinator("readiness")
    except KafkaError as error:
        raise NotReady(str(error)) from error
    finally:
        await admin.close()
    return Answer("Kafka", "")


def _mqtt_connect(username: str | None, password: str | None) -> bytes:
    flags, payload = 0x02, [_mqtt_text("")]  # a clean session, an id that the broker chooses
    if username is not None:
        flags, payload = flags | 0x80, [*payload, _mqtt_text(unquote(username))]
    if password is not None:
        flags, payload = flags | 0x40, [*payload, _mqtt_text(unquote(password))]
    keep_alive = 10  # seconds
    return _mqtt_frame(0x10, _mqtt_text("MQTT"), struct.pack("!BBH", 4, flags, keep_alive), *payload)


def _mqtt_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _mqtt_frame(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) > 127:
        raise BrokerError("the user name and password in the address are too long for the readiness probe")
    return bytes((kind, len(body))) + body


async def _mqtt_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, length = await reader.readexactly(2)
    if length > 127:
        raise NotReady("a longer packet than MQTT answers with")
    return kind, await reader.readexactly(length)


_PROBES: dict[str, Callable[[str], Awaitable[Answer]]] = {
    "redis": _redis,
    "nats": _nats,
    "rabbitmq": _rabbitmq,
    "mosquitto": _mosquitto,
    "kafka": _kafka,
}
