"""One message that a broker keeps over a clean restart: `post` it, then `collect` it; with each broker's own client."""

import asyncio
import struct
from urllib.parse import urlsplit

import aio_pika
import nats
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from classroom.brokers.probes import _mqtt_connect, _mqtt_frame, _mqtt_packet, _mqtt_text

LETTER = b"keep me"


async def post(kind: str, url: str) -> None:
    """Leave the letter; returns when the broker has confirmed it."""
    if kind == "redis":
        async with Redis.from_url(url) as client:
            await client.set("letter", LETTER)
    elif kind == "nats":
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="letters", subjects=["letters"])
        await client.jetstream().publish("letters", LETTER)
        await client.close()
    elif kind == "rabbitmq":
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            await channel.declare_queue("letters", durable=True)
            message = aio_pika.Message(LETTER, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, "letters")
    elif kind == "kafka":
        async with AIOKafkaProducer(bootstrap_servers=urlsplit(url).netloc, acks="all") as producer:
            await producer.send_and_wait("letters", LETTER)
    else:
        await _mqtt(url, _mqtt_frame(0x33, _mqtt_text("letters"), struct.pack("!H", 1), LETTER), 0x40)  # retained


async def collect(kind: str, url: str) -> bytes:
    """The letter. Raises whatever the client raises when there is none."""
    if kind == "redis":
        async with Redis.from_url(url) as client:
            return await client.get("letter")
    if kind == "nats":
        client = await nats.connect(url)
        message = await client.jetstream().get_last_msg("letters", "letters")
        await client.close()
        return message.data
    if kind == "rabbitmq":
        async with await aio_pika.connect(url) as connection:
            queue = await (await connection.channel()).get_queue("letters")
            return (await queue.get(timeout=5)).body
    if kind == "kafka":
        servers = urlsplit(url).netloc
        async with AIOKafkaConsumer("letters", bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
            return (await asyncio.wait_for(consumer.getone(), 10)).value
    body = await _mqtt(url, _mqtt_frame(0x82, struct.pack("!H", 1), _mqtt_text("letters"), b"\x00"), 0x31)
    return body.removeprefix(_mqtt_text("letters"))


async def _mqtt(url: str, packet: bytes, answer: int) -> bytes:
    """Send one packet on a new connection, and wait for the packet of a kind."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        writer.write(_mqtt_connect(None, None) + packet)
        while (got := await _mqtt_packet(reader))[0] != answer:
            pass
        writer.close()
        return got[1]
