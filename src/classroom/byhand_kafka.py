"""Kafka by hand: the few lines that its field guide uses again and again, over the driver aiokafka.

from classroom.byhand_kafka import Group, held, lag, make_topic, shown
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

__all__ = ["Group", "held", "lag", "make_topic", "shown"]

LIMIT = 30.0  # seconds until a group has shared its partitions out
POLL = 0.05  # seconds between two looks at it
SESSION = 6_000  # ms of silence until a member counts as gone; the least that a broker allows by default

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each step of a rebalance as a warning


async def make_topic(address: str, name: str, partitions: int) -> None:
    """A topic with so many partitions; one that is there stays, with what is in it."""
    async with _admin(address) as admin:
        if name not in await admin.list_topics():
            await admin.create_topics([NewTopic(name, partitions, 1)])


async def held(address: str, topic: str) -> int:
    """How many records a topic holds, in all its partitions."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=address) as reader:
        places = [TopicPartition(topic, one) for one in reader.partitions_for_topic(topic)]
        begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    return sum(ends[one] - begins[one] for one in places)


def shown(record: ConsumerRecord) -> str:
    """A record in a line: where it lies, and what it says."""
    key = (record.key or b"-").decode()
    return f"partition {record.partition}, offset {record.offset}: {key:4} {(record.value or b'').decode()}"


async def lag(address: str, group: str, topic: str) -> str:
    """Of each partition: how far the group has read, how many records there are, and the difference, its lag."""
    async with _admin(address) as admin, AIOKafkaConsumer(bootstrap_servers=address) as reader:
        committed = await admin.list_consumer_group_offsets(group)
        ends = await reader.end_offsets([one for one in committed if one.topic == topic])
    places = {one: committed[one].offset for one in sorted(ends)}
    rows = [f"{one.partition:9}  {at:9}  {ends[one]:3}  {ends[one] - at:3}" for one, at in places.items()]
    return "\n".join(["partition  committed  end  lag", *rows])


class Group:
    """A consumer group whose members are consumers of this process; all leave at the end of its `async with`."""

    def __init__(self, address: str, topic: str, name: str) -> None:
        self.address, self.topic, self.name = address, topic, name
        self._members: list[AIOKafkaConsumer] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def join(self, member: str) -> str:
        """One more consumer. Returns, when the group has shared out, who has which partitions. Raises TimeoutError."""
        consumer = AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.address,
            group_id=self.name,
            client_id=member,
            enable_auto_commit=False,
            session_timeout_ms=SESSION,
            heartbeat_interval_ms=SESSION // 20,  # with these a member learns that the group changes
        )
        self._members.append(await self._stack.enter_async_context(consumer))
        async with asyncio.timeout(LIMIT), _admin(self.address) as admin:
            while (shares := await self._shares(admin)) is None:  # noqa: ASYNC110 (the other end is the broker)
                await asyncio.sleep(POLL)
        return ", ".join(f"{name}: {partitions or 'nothing'}" for name, partitions in sorted(shares.items()))

    async def _shares(self, admin: Any) -> dict[str, list[int]] | None:
        """Each member's partitions, as the broker tells; None while they are being shared out anew."""
        (answer,) = await admin.describe_consumer_groups([self.name])
        (group,) = answer.groups
        state, members = group[2], group[5]
        if state != "Stable" or len(members) != len(self._members):
            return None
        return {one[1]: _partitions(one[4]) for one in members}


def _partitions(assignment: bytes) -> list[int]:
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return sorted(partition for _, partitions in decoded.assignment for partition in partitions)


@asynccontextmanager
async def _admin(address: str) -> AsyncIterator[Any]:
    """The driver's client for all that is not reading or writing."""
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
