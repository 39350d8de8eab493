"""What is sent to Kafka: gathered into batches, and where it matters awaited until the broker has stored it."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced
from aiokafka.partitioner import DefaultPartitioner

from ..errors import ConnectError, ConnectionLost
from .base import log, reason_of
from .broker import Batcher
from .kafka_driver import stop
from .kafka_records import Record

__all__ = ["Outbox"]

BATCH_BYTES = 131_072  # what goes into one request to a partition
DELIVERY = 30_000  # ms until what the broker did not take is given up: it may be started again in that time

Stored: TypeAlias = "asyncio.Future[None]"
Item: TypeAlias = "tuple[Record, Stored | None]"  # a record, and who waits until it is stored


class Outbox:
    """A producer that writes each record once, and to a topic in the order in which they were put.

    Args:
        lose: told when the producer can send nothing any more.
    """

    def __init__(self, lose: Callable[[BaseException], None]) -> None:
        self._lose = lose
        self._producer: Any = None
        self._batchers: dict[str, Batcher[Item]] = {}  # by topic, so that one that does not answer holds up no other
        self._unconfirmed: set[Stored] = set()

    async def open(self, options: dict[str, Any]) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            **options, enable_idempotence=True, max_batch_size=BATCH_BYTES, request_timeout_ms=DELIVERY
        )
        await self._producer.start()

    async def close(self) -> None:
        """Give up what is waiting, and disconnect."""
        for batcher in self._batchers.values():
            batcher.cancel()
        for stored in list(self._unconfirmed):
            _confirm(stored, ConnectionError("the connection was closed"))
        if self._producer is not None:
            await stop(self._producer, self._producer.client)

    async def flush(self) -> None:
        """Wait until the broker has everything."""
        await asyncio.gather(*(batcher.drain() for batcher in self._batchers.values()))
        await self._producer.flush()

    async def topics(self) -> set[str]:
        """Those that exist now; looking makes none."""
        found: set[str] = (await self._producer.client.fetch_all_metadata()).topics()
        return found

    async def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic, which the broker makes when it has none. Raises KafkaError when it does not."""
        return sorted(await self._producer.partitions_for(topic))

    def put(self, topic: str, record: Record) -> Awaitable[None] | None:
        """Send with the next batch for this topic. Returns something to await while too much is waiting already."""
        return self._batcher(topic).put((record, None))

    def add(self, topic: str, record: Record) -> None:
        """Send with the next batch for this topic, however much is waiting."""
        self._batcher(topic).add((record, None))

    async def store(self, topic: str, record: Record) -> None:
        """Send with the next batch for this topic, and wait until the broker has stored it.

        Raises:
            ConnectError: the broker refused it. ConnectionLost: it may be stored or not.
        """
        stored: Stored = asyncio.get_running_loop().create_future()
        self._unconfirmed.add(stored)
        stored.add_done_callback(self._unconfirmed.discard)
        self._batcher(topic).add((record, stored))
        try:
            await stored
        except KafkaError as error:
            if not error.retriable:
                raise ConnectError(
                    f"Kafka refused a record for the topic {topic!r} ({reason_of(error)}). It was not stored."
                ) from error
            raise ConnectionLost(_unknown(topic, error)) from error
        except OSError as error:
            raise ConnectionLost(_unknown(topic, error)) from error

    def _batcher(self, topic: str) -> Batcher[Item]:
        if topic not in self._batchers:
            self._batchers[topic] = Batcher(functools.partial(self._send_all, topic))
        return self._batchers[topic]

    async def _send_all(self, topic: str, items: list[Item]) -> None:
        try:
            partitions = await self.partitions(topic)
            anywhere = random.choice(partitions)
            by_partition: dict[int, list[Item]] = defaultdict(list)
            for item in items:
                key, wanted = item[0].key, item[0].partition
                chosen = anywhere if key is None else DefaultPartitioner()(key, partitions, partitions)
                by_partition[wanted if wanted in partitions else chosen].append(item)
            for partition, ours in by_partition.items():
                await self._send_to(topic, partition, ours)
        except Exception as error:
            for _, stored in items:
                _confirm(stored, error)
            raise

    async def _send_to(self, topic: str, partition: int, items: list[Item]) -> None:
        """In batches: `producer.send` takes no record without key and value, which is what NestJS's errors are."""
        batch, inside = self._producer.create_batch(), list[Stored]()
        for record, stored in items:
            if not _added(batch, record):  # it is full
                await self._send(batch, topic, partition, inside)
                batch, inside = self._producer.create_batch(), []
                _added(batch, record)
            if stored is not None:
                inside.append(stored)
        await self._send(batch, topic, partition, inside)

    async def _send(self, batch: Any, topic: str, partition: int, inside: list[Stored]) -> None:
        batch.close()
        sent = await self._producer.send_batch(batch, topic, partition=partition)
        sent.add_done_callback(functools.partial(self._sent, topic, inside))

    def _sent(self, topic: str, inside: list[Stored], sent: asyncio.Future[Any]) -> None:
        error = ConnectionError("closed before the broker took them") if sent.cancelled() else sent.exception()
        for stored in inside:
            _confirm(stored, error)
        if error is not None:
            log.warning("messages for the topic %s may be lost: %s", topic, reason_of(error))
        if isinstance(error, OutOfOrderSequenceNumber | ProducerFenced):  # this producer sends nothing any more
            self._lose(error)


def _confirm(stored: Stored | None, error: BaseException | None) -> None:
    if stored is None or stored.done():
        return
    if error is None:
        stored.set_result(None)
    else:
        stored.set_exception(error)


def _unknown(topic: str, error: BaseException) -> str:
    return (
        f"Kafka did not confirm a record for the topic {topic!r} ({reason_of(error)}). It may be stored or not:"
        " sending it again may store it twice."
    )


def _added(batch: Any, record: Record) -> bool:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is not None
