"""Kafka: a topic per route, replies through `<topic>.reply`; kafka_records.py says what a record holds.

Guarantee: at most once; at least once is kafka_durable.py's. A message is committed as read before its handler runs, so
a crash of the service loses what was under way and repeats nothing; an event whose handler raises is logged and not
tried again (NestJS retries it, and blocks the partition meanwhile). A record that is sent again by a retry is written
once (an idempotent producer). Kafka keeps messages: a service that comes back takes what came while it was away, except
before its very first start.

A service reads as the group `<group>-server`, and its name is the group unless another is given: of the replicas of a
group one gets a message, each group gets it once. No more replicas work than a topic has partitions (one, by default).
A client belongs to no group: it reads one partition of each reply topic itself, from the end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError, SaslAuthenticationFailed

from ..errors import ConnectError, PatternError
from ..options import Options
from .base import Capabilities, Deliver, reason_of
from .broker import BrokerTransport
from .kafka_delivery import TOPIC, KafkaDelivery
from .kafka_driver import Membership, NestRoundRobin, committed, gone, options, reach, stop
from .kafka_outbox import Outbox
from .kafka_records import (
    CORRELATION_ID,
    REPLY_PARTITION,
    REPLY_TOPIC,
    Record,
    reply_packet,
    sent_record,
)
from .logins import login_of

__all__ = ["KafkaTransport", "check_topic"]

REPLY = ".reply"
SESSION = 6_000  # ms of silence until a replica counts as gone; the least that a broker allows by default
POLL = 200  # ms between two looks at whether to go on reading
FETCH_WAIT = 100  # ms that the broker holds a client's fetch: so long a new reply topic has to wait at most
MAX_RECORDS = 500  # handed to handlers between two commits
RETRY = 0.2  # seconds between two looks at whether a broker that has gone is there again
JOIN_TIMEOUT = 30.0  # seconds; a replica that was killed holds the group up until its session ends


class KafkaTransport(BrokerTransport):
    """`kafka://[user:password@]host:port`; `kafka+tls://` over TLS. A user means SASL PLAIN."""

    name = "Kafka"
    default_port = 9092
    capabilities = Capabilities(headers=True, groups=True, grouped=True, texts=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.outbox = Outbox(self._lose)
        self._consumer: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._deliver: Deliver | None = None
        self._routes: list[str] = []
        self._joined = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._leaving = False
        self._preparing = asyncio.Lock()
        self._reply_partitions: dict[str, bytes] = {}  # of the routes whose replies are listened to

    async def _open(self) -> None:
        self._reply_partitions.clear()
        await reach(self)
        await self.outbox.open(options(self))
        if self._deliver is None:
            self._consumer = AIOKafkaConsumer(
                **options(self), enable_auto_commit=False, fetch_max_wait_ms=FETCH_WAIT, auto_offset_reset="latest"
            )
            await self._consumer.start()
            self._reader = asyncio.create_task(self._guarded(self._read_replies()), name="postoffice Kafka replies")
            self._watcher = asyncio.create_task(self._watch(), name="postoffice Kafka watcher")
        elif not self._leaving:
            self._reader = asyncio.create_task(self._guarded(self._read_messages()), name="postoffice Kafka messages")

    def _refuses(self, error: Exception) -> bool:
        return isinstance(error, SaslAuthenticationFailed)

    def why_not(self, error: BaseException | None) -> str:
        """The driver does not tell why a broker that listens does not answer it."""
        silent = isinstance(error, KafkaConnectionError) and login_of(self.url)[0] is None
        hint = "; it may want a user and a password: kafka://user:password@host:port" if silent else ""
        return super().why_not(error) + hint

    async def _guarded(self, reading: Coroutine[Any, Any, None]) -> None:
        try:
            await reading
        except Exception as error:
            await self._up.wait()
            self._lose(error)

    async def _watch(self) -> None:
        """The driver connects again by itself and tells nobody: those who wait for a reply are told here."""
        while True:
            self._tell_lost(await gone(self))
            while True:
                try:
                    await reach(self)
                    break
                except (OSError, KafkaError):
                    await asyncio.sleep(RETRY)

    async def _shut(self) -> None:
        tasks = [*filter(None, (self._reader, self._watcher))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._consumer is not None:
            await stop(self._consumer, self._consumer._client)
        await self.outbox.close()

    async def _flush(self) -> None:
        await self.outbox.flush()

    def _give_up(self) -> None:
        """The driver does that itself."""

    # as a client

    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        check_topic(route)
        record = sent_record(packet, headers)
        if self._up.is_set() and route in self._reply_partitions:
            return self.outbox.put(route, self._addressed(record, route, request_id))
        return self._request_when_listening(route, record, request_id)

    def _addressed(self, record: Record, route: str, request_id: str) -> Record:
        """The record with where its reply is to go."""
        to = [(CORRELATION_ID, request_id.encode()), (REPLY_TOPIC, (route + REPLY).encode())]
        return record._replace(
            headers=[*record.headers, *to, (REPLY_PARTITION, self._reply_partitions[route])]
        ).checked()

    async def _request_when_listening(self, route: str, record: Record, request_id: str) -> None:
        """The first request of a route waits until its replies are listened to."""
        await self._ready()
        try:
            async with self._preparing:
                heard = route in self._reply_partitions or await self._listen(route)
        except KafkaError as error:
            raise ConnectError(
                f"the reply topic {route + REPLY!r} cannot be used ({reason_of(error)}). Nothing was sent."
                " Does the broker make topics by itself (auto.create.topics.enable)?"
            ) from error
        if heard:
            self.outbox.add(route, self._addressed(record, route, request_id))
        elif self.replies is not None:
            self.replies.on_nobody(request_id, "there is no such topic, so no service has ever subscribed to it")

    async def _listen(self, route: str) -> bool:
        """Read a partition of the route's reply topic from its end. False when the route's own topic does not exist."""
        if route not in await self.outbox.topics():
            return False
        partitions = await self.outbox.partitions(route + REPLY)
        new = TopicPartition(route + REPLY, random.choice(partitions))
        ends = await self._consumer.end_offsets([new])
        # `assign` forgets how far the others were read; nothing below suspends, so no reply is skipped or read twice
        places = {one: await self._consumer.position(one) for one in self._consumer.assignment()} | ends
        self._consumer.assign(list(places))
        for one, offset in places.items():
            self._consumer.seek(one, offset)
        self._reply_partitions[route] = str(new.partition).encode()
        return True

    async def _read_replies(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=POLL)).values():
                for record in records:
                    self._reply_received(record)

    def _reply_received(self, record: Any) -> None:
        headers = {name: value or b"" for name, value in record.headers}
        if CORRELATION_ID in headers and self.replies is not None:
            packet = reply_packet(record.value, headers)
            self.replies.on_reply(packet, headers[CORRELATION_ID].decode("utf-8", "replace"))

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        check_topic(route)
        record = sent_record(packet, headers)
        return self.outbox.put(route, record) if self._up.is_set() else self._publish_when_up(route, record)

    async def _publish_when_up(self, route: str, record: Record) -> None:
        await self._ready()
        self.outbox.add(route, record)

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._routes = list(routes)
        for route in self._routes:
            check_topic(route)
        self._deliver = deliver
        self._leaving = False
        self._joined.clear()
        await self.connect()
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                await self._joined.wait()
        except TimeoutError as error:
            raise ConnectError(
                f"the group {self.group}-server could not be joined within {JOIN_TIMEOUT:g} s at {self.public_url}."
                " Do its topics exist, or does the broker make them by itself (auto.create.topics.enable)?"
            ) from error

    async def _read_messages(self) -> None:
        """Read, commit, and only then deliver: what is delivered once is never read again, by whichever replica."""
        group = Membership()
        consumer = self._consumer = AIOKafkaConsumer(
            **options(self),
            group_id=f"{self.group}-server",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            partition_assignment_strategy=(NestRoundRobin,),
            session_timeout_ms=SESSION,
            heartbeat_interval_ms=SESSION // 3,
        )
        consumer.subscribe(self._routes, listener=group)
        await consumer.start()
        while not self._leaving:
            await self._reading.wait()
            if group.changed:
                group.changed = False
                await self._commit_places(consumer)
            read = await consumer.getmany(timeout_ms=POLL, max_records=MAX_RECORDS)
            if read and await committed(consumer, {one: records[-1].offset + 1 for one, records in read.items()}):
                for records in read.values():
                    for record in records:
                        self._delivered(record)

    def _delivered(self, record: Any) -> None:
        assert self._deliver is not None
        self._deliver(KafkaDelivery(self.outbox, record))

    async def _commit_places(self, consumer: Any) -> None:
        """Write down where reading starts: else what comes before the first message is handled would be passed over
        by the replica that takes the partition over."""
        try:
            places = {one: await consumer.position(one) for one in consumer.assignment()}
        except IllegalStateError:
            return  # they have been taken away again
        if not places or await committed(consumer, places):
            self._joined.set()

    async def unsubscribe(self) -> None:
        self._leaving = True
        self._reading.set()
        if self._reader is not None:
            await asyncio.wait([self._reader])  # not cancelled: what it has committed, it delivers
        if self._consumer is not None:
            await stop(self._consumer, self._consumer._client)

    def pause(self) -> None:
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()


def check_topic(route: str) -> None:
    if not TOPIC.fullmatch(route) or route in (".", ".."):
        raise PatternError(
            f"{route!r} cannot be a Kafka topic: those have 1 to 243 letters, digits, '.', '_' and '-',"
            " so a pattern that is an object is none. Nothing was sent. Use a text such as 'order.placed'."
        )
