"""A record as it reaches a service, and its replies."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from .. import messages
from ..durable import HISTORY, History
from .base import Delivery
from .kafka_offsets import Place
from .kafka_outbox import Outbox
from .kafka_records import (
    CORRELATION_ID,
    REPLY_PARTITION,
    REPLY_TOPIC,
    Record,
    as_last,
    dead_record,
    reply_record,
    to_json,
    with_text,
)
from .kafka_topics import requeue_topic, retry_topic

if TYPE_CHECKING:
    from .kafka_durable import KafkaDurableTransport

__all__ = ["TOPIC", "KafkaDelivery", "KafkaDurableDelivery"]

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,243}")  # Kafka allows 249 characters; `.reply` needs six
END = b"{" + messages.END_FIELDS + b"}"  # the end of a stream, without a value


class KafkaDelivery(Delivery):
    """A value of a stream is held for one turn of the event loop: where the stream ends with it, it is sent as the
    last one, as NestJS does. An end that comes later is a record of its own, of which NestJS's client makes a null."""

    __slots__ = ("_correlation_id", "_held", "_outbox", "_partition", "_reply_topic", "_value", "is_request")
    reply_has_id = False

    def __init__(self, outbox: Outbox, record: Any) -> None:
        headers = {name: value or b"" for name, value in record.headers}
        self._outbox = outbox
        self._held: Record | None = None
        self._value = record.value or b""
        self._correlation_id = headers.get(CORRELATION_ID, b"")
        self._reply_topic = headers.get(REPLY_TOPIC, b"").decode("utf-8", "replace")
        partition = headers.get(REPLY_PARTITION, b"")
        self._partition = int(partition) if partition.isdigit() and len(partition) < 10 else None
        identity = self._correlation_id.decode("utf-8", "replace") or None
        self.is_request = CORRELATION_ID in headers and TOPIC.fullmatch(self._reply_topic) is not None
        body = b'{"data":' + to_json(record.value)
        body += b',"id":' + messages.encode(identity) + b"}" if self.is_request else b"}"
        super().__init__(body, record.topic, with_text(headers, record.key), correlation_id=identity)

    @property
    def raw(self) -> bytes:
        return self._value

    def reply(self, packet: bytes) -> None:
        if packet == END and self._held is not None:
            self._held = as_last(self._held)
            self._send_held()
            return
        record = reply_record(packet, self._correlation_id, self._partition)
        self._send_held()
        if messages.read_reply(packet).last:
            self._outbox.add(self._reply_topic, record)
        else:
            self._held = record
            asyncio.get_running_loop().call_soon(self._send_held)

    def _send_held(self) -> None:
        if self._held is not None:
            self._outbox.add(self._reply_topic, self._held)
            self._held = None


class KafkaDurableDelivery(KafkaDelivery):
    """At least once: it is finished in its place of a partition, and its copies go to topics of its group."""

    __slots__ = ("_partition_read", "_place", "_reader", "_record")

    def __init__(self, reader: KafkaDurableTransport, record: Any, place: Place) -> None:
        super().__init__(reader.outbox, record)
        self._reader = reader
        self._record = record
        self._place = place
        self._partition_read = TopicPartition(record.topic, record.partition)
        self.message_id = self.message_id or f"{record.topic}-{record.partition}-{record.offset}"

    async def ack(self) -> None:
        self._place.finish(self._record.offset)
        if self.is_request:
            await self._reader.commit()
        else:
            self._reader.finished.set()

    async def retry(self, after: float, history: History) -> None:
        kept = [(name, value) for name, value in self._record.headers if name != HISTORY]
        headers = [*kept, (HISTORY, history.header().encode())]
        topic = retry_topic(self._reader.owner, after)
        await self._reader.outbox.store(topic, Record(self._record.value, headers, self._record.key))

    async def dead_letter(self, queue: str, history: History) -> None:
        await self._reader.outbox.store(queue, dead_record(self._record, history))

    @property
    def taken_back(self) -> bool:
        return self._reader.places.get(self._partition_read) is not self._place

    @property
    def source(self) -> str:
        return requeue_topic(self._reader.owner)
