"""Kafka, at least once: an offset is committed when everything before it is finished.

Guarantee: `emit` returns when the broker has stored the event (from every replica of its that is in sync). A service
commits an event after its handlers; a crash before means that it is read again, at most `prefetch` events of each
replica. It reads a topic from its beginning when its group is new there, so what was emitted before its first start is
handled too. An event that failed is written once more before it counts as finished: to a topic per delay, whose
partitions are paused until the first event in it is due, or to a topic of dead letters. These topics belong to
the group, so that no other service on the same topics gets such an event again.

What is acknowledged counts as finished; the commit that says so follows at once, together with others.
Kafka has one offset for a partition: an event that takes long holds up the commit of those behind it, so no more than
`prefetch` of them go past it. It does not count deliveries: an event that kills its service is read again for ever.
When replicas come or go, partitions are handed over once what is under way has finished, within HANDOVER seconds; what
takes longer may be done twice. Requests are as at most once: committed before their handler runs, and from the end of a
topic that is new. What waits for a retry is lost where the topic's retention (the broker's default) is shorter than the
service is away; dead letters are kept until they are settled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from ..options import Options
from .base import Capabilities, Deliver
from .kafka import FETCH_WAIT, POLL, SESSION, KafkaTransport, check_topic
from .kafka_delivery import KafkaDurableDelivery
from .kafka_driver import NestRoundRobin, committed, options
from .kafka_offsets import Place
from .kafka_records import Record, sent_record
from .kafka_topics import delays_of, make, requeue_topic, retry_topic

__all__ = ["KafkaDurableTransport"]

HANDOVER = 4.0  # seconds that a rebalance waits for what is under way: less than SESSION, which is its limit
UNLIMITED = 86_400_000  # ms between two reads: a handler may take long, and a replica that is gone sends no heartbeats


class KafkaDurableTransport(KafkaTransport):
    """`kafka://...` with delivery="at-least-once"."""

    capabilities = Capabilities(acks=True, headers=True, groups=True, grouped=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        assert self.durable is not None
        self.owner = self.durable.service
        self.places: dict[TopicPartition, Place] = {}
        self.finished = asyncio.Event()  # there is something to commit
        self._changed = asyncio.Event()  # there may be room for more, or nothing under way any more
        self._delays: dict[str, float] = {}  # of the topics where failed events wait
        self._committing = asyncio.Lock()
        self._committer: asyncio.Task[None] | None = None

    # as a client

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None]:
        check_topic(route)
        return self._store(route, sent_record(packet, headers))

    async def _store(self, route: str, record: Record) -> None:
        await self._ready()
        await self.outbox.store(route, record)

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        assert self.durable is not None
        self._delays = {retry_topic(self.owner, delay): delay for delay in self.durable.delays}
        for topic in (*self._delays, requeue_topic(self.owner), *self.durable.dead):
            check_topic(topic)
        self.places.clear()  # of the start before this one: its handlers are over, finished or not
        await super().subscribe(routes, deliver)

    async def _read_messages(self) -> None:
        """Read as long as there is room for more; a record that is not due yet is left where it is."""
        await self._make_topics()
        consumer = self._consumer = AIOKafkaConsumer(
            **options(self),
            group_id=f"{self.group}-server",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT,
            partition_assignment_strategy=(NestRoundRobin,),
            session_timeout_ms=SESSION,
            heartbeat_interval_ms=SESSION // 3,
            max_poll_interval_ms=UNLIMITED,
        )
        topics = [*self._routes, *self._delays, requeue_topic(self.owner)]
        consumer.subscribe(topics, listener=_Handover(self))
        await consumer.start()
        self._committer = asyncio.create_task(self._keep_committing(), name="postoffice Kafka commits")
        while not self._leaving:
            await self._reading.wait()
            if (room := self.prefetch - self._held()) <= 0:
                await self._change()
                continue
            for partition, records in (await consumer.getmany(timeout_ms=POLL, max_records=room)).items():
                self._take(partition, records)

    async def _make_topics(self) -> None:
        """Those that are missing; also read those where a version of this service before left events waiting."""
        assert self.durable is not None
        there = await self.outbox.topics()
        self._delays |= delays_of(self.owner, there)
        routes, copies, letters = (
            [one for one in wanted if one not in there]
            for wanted in (self._routes, [*self._delays, requeue_topic(self.owner)], self.durable.dead)
        )
        await make(options(self), routes, copies, letters)

    def _held(self, but_finished: bool = False) -> int:
        """How many messages are read and not committed; `but_finished`: whose handler is still at work."""
        return sum(not (done and but_finished) for place in self.places.values() for done in place.held.values())

    async def _change(self) -> None:
        """Wait until something was finished or committed; a pause between looks is not needed."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL / 1000):  # whether the service is leaving is looked at now and then
                await self._changed.wait()

    def _take(self, partition: TopicPartition, records: list[Any]) -> None:
        assert self._deliver is not None
        if partition not in self.places:
            return  # it is being taken over: that ends by seeking to where it is read on, so these come again
        delay = self._delays.get(partition.topic)
        for record in records:
            place = self.places[partition]
            if record.offset < place.next:  # the topic was deleted and made anew
                place = self.places[partition] = Place(record.offset)
            if delay is not None and (wait := min(delay, record.timestamp / 1000 + delay - time.time())) > 0:
                self._hold(partition, record.offset, wait)
                return
            place.take(record.offset)
            self._deliver(KafkaDurableDelivery(self, record, place))

    def _hold(self, partition: TopicPartition, offset: int, wait: float) -> None:
        """Read this partition on in `wait` seconds, from this record. Everything behind it is due later."""
        consumer = self._consumer
        consumer.seek(partition, offset)
        consumer.pause(partition)

        def resume() -> None:
            if consumer is self._consumer and partition in consumer.assignment():
                consumer.resume(partition)

        asyncio.get_running_loop().call_later(wait, resume)

    # commits

    async def _keep_committing(self) -> None:
        while True:
            await self.finished.wait()
            self.finished.clear()
            self._changed.set()
            await self.commit()

    async def commit(self) -> None:
        """Commit what is finished. What could not be committed may be read, and done, again."""
        async with self._committing:
            ready = {one: place for one, place in self.places.items() if place.finished > place.committed}
            offsets = {one: place.finished for one, place in ready.items()}
            with contextlib.suppress(KafkaError):  # the consumer was closed; what passes, the driver tries again
                if offsets and await committed(self._consumer, offsets):
                    for one, place in ready.items():
                        place.commit(offsets[one])
            self._changed.set()

    async def handed_over(self) -> None:
        """A rebalance begins: let what is under way finish, and commit it, so that no other replica does it again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER):
                while self._held(but_finished=True):
                    await self._change()
        await self.commit()

    async def taken_over(self, partitions: Iterable[TopicPartition]) -> None:
        """A rebalance is over. What nobody else has had meanwhile is read on, what is new from the last commit."""
        before, self.places = self.places, {}
        for partition in partitions:
            offset = await self._consumer.committed(partition)
            place = before.get(partition)
            if place is None or place.committed != offset:
                place = Place(await self._beginning(partition) if offset is None else offset)
            self._consumer.seek(partition, place.next)
            self.places[partition] = place
        self._joined.set()
        self.finished.set()

    async def _beginning(self, partition: TopicPartition) -> int:
        """Where a group reads first: all events that are there, but no requests, whose callers are gone. This is
        committed: else what comes before the first commit might be passed over by another replica."""
        assert self.durable is not None
        is_new = partition.topic in self._routes and partition.topic not in self.durable.events
        look = self._consumer.end_offsets if is_new else self._consumer.beginning_offsets
        offset: int = (await look([partition]))[partition]
        await committed(self._consumer, {partition: offset})
        return offset

    async def unsubscribe(self) -> None:
        """Read no more. The group is left when the connection closes: until then, what finishes is committed."""
        self._leaving = True
        self._reading.set()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def _flush(self) -> None:
        await super()._flush()
        if self._deliver is not None:
            await self.commit()

    async def _shut(self) -> None:
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
        await super()._shut()


class _Handover(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type information
    """The driver tells when the partitions of a group are about to be shared out anew, and when they are."""

    def __init__(self, reader: KafkaDurableTransport) -> None:
        self._reader = reader

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._reader.handed_over()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._reader.taken_over(assigned)
