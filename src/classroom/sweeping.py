"""Take out of a broker what a service of ours left there: its queues, streams and keys."""

from __future__ import annotations

import aio_pika
import nats
import redis.asyncio

from classroom.service_handle import ServiceHandle
from postoffice.transports.rabbitmq_queues import delay_queue

__all__ = ["sweep"]


async def sweep(transport: str, service: ServiceHandle) -> None:
    """Remove all that bears the name of a service which has ended. On MQTT and Kafka nothing is removed.

    Raises OSError, or the driver's error, where the broker does not answer.
    """
    if transport == "rabbitmq":
        await _queues(service)
    elif transport == "redis":
        await _keys(service)
    elif transport == "nats":
        await _streams(service)


async def _queues(service: ServiceHandle) -> None:
    async with await aio_pika.connect(service.url) as connection:
        channel = await connection.channel()
        for queue in (*service.queues, *(delay_queue(service.name, delay) for delay in service.delays)):
            await channel.queue_delete(queue)


async def _keys(service: ServiceHandle) -> None:
    async with redis.asyncio.Redis.from_url(service.url) as store:
        async for key in store.scan_iter(match=f"*{service.name}*"):
            await store.delete(key)


async def _streams(service: ServiceHandle) -> None:
    connection = await nats.connect(service.url)
    try:
        manager = connection.jsm()
        for stream in await manager.streams_info():
            name = stream.config.name or ""
            if any(service.name in one for one in (name, *(stream.config.subjects or ()))):
                await manager.delete_stream(name)
                continue
            for consumer in await manager.consumers_info(name):
                if service.name in consumer.name:
                    await manager.delete_consumer(name, consumer.name)
    finally:
        await connection.close()
