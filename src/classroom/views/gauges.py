"""How much waits in a broker, as the broker itself tells; what it does not tell is None.

A gauge keeps one connection of its own, past the link, and asks a few questions a second. It takes no message and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["GAUGES", "LIMIT", "MOST", "Depth", "Gauge"]

MOST = 40  # queues that are shown
LIMIT = 2.0  # seconds for one question


@dataclass(frozen=True)
class Depth:
    """One queue, or what stands for one: on Redis and NATS a stream as one group sees it, on Kafka a topic's.

    `waiting`: not handed out yet. `handed`: handed out and not acknowledged. `readers`: who takes from it.
    `arrived`: all that ever came, for a rate.
    """

    name: str
    waiting: int | None = None
    handed: int | None = None
    readers: int | None = None
    arrived: int | None = None


class Gauge(Protocol):
    """Reads one broker. `note` says what it cannot tell."""

    note: str

    def __init__(self, url: str) -> None: ...
    async def open(self) -> None: ...
    async def read(self, names: Iterable[str]) -> list[Depth]: ...
    async def close(self) -> None: ...


class RabbitGauge:
    """Passive declares: they tell what is ready, and how many consumers there are."""

    note = "RabbitMQ tells clients what waits and who reads; what is handed out and rates, only by its management page."

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._channel: Any = None

    async def open(self) -> None:
        import aiormq

        self._connection = await aiormq.connect(self.url)

    async def read(self, names: Iterable[str]) -> list[Depth]:
        from aiormq.exceptions import ChannelNotFoundEntity

        found = []
        for name in names:
            if self._channel is None:
                self._channel = await self._connection.channel(publisher_confirms=False)
            try:
                told = await self._channel.queue_declare(name, passive=True)
            except ChannelNotFoundEntity:  # it closes the channel
                self._channel = None
                continue
            found.append(Depth(name, waiting=told.message_count, readers=told.consumer_count))
        return found

    async def close(self) -> None:
        await self._connection.close()


class RedisGauge:
    """Streams with their groups, and channels with their subscribers."""

    note = "A channel of publish and subscribe keeps nothing, so nothing can wait in it."

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {"socket_timeout": LIMIT, "socket_connect_timeout": LIMIT, "decode_responses": True}
        self._redis: Any = Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), **options)

    async def read(self, names: Iterable[str]) -> list[Depth]:
        streams: list[str] = [name async for name in self._redis.scan_iter(count=1000, _type="stream")]
        found = [one for name in sorted(streams)[:MOST] for one in await self._stream(name)]
        channels = sorted(await self._redis.pubsub_channels())[:MOST]
        subscribers = await self._redis.pubsub_numsub(*channels)
        return found + [Depth(f"channel {name}", readers=int(count)) for name, count in subscribers]

    async def _stream(self, name: str) -> list[Depth]:
        about: Any = await self._redis.xinfo_stream(name)
        groups: Any = await self._redis.xinfo_groups(name)
        if not groups:
            return [Depth(name, waiting=about["length"], arrived=about.get("entries-added"))]
        return [
            Depth(
                f"{name}, {one['name']}", one.get("lag"), one["pending"], one["consumers"], about.get("entries-added")
            )
            for one in groups
        ]

    async def close(self) -> None:
        await self._redis.aclose()


class NatsGauge:
    """JetStream's streams, as each consumer sees them."""

    note = "Subjects without a stream keep nothing, so nothing can wait in them."

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        import nats

        async def quiet(error: Exception) -> None:
            """What goes wrong is raised where it is asked."""

        self._nats = await nats.connect(
            self.url, allow_reconnect=False, connect_timeout=LIMIT, error_cb=quiet, max_reconnect_attempts=0
        )

    async def read(self, names: Iterable[str]) -> list[Depth]:
        manager = self._nats.jsm(timeout=LIMIT)
        found = []
        for stream in sorted(await manager.streams_info(), key=lambda one: str(one.config.name))[:MOST]:
            name, state = str(stream.config.name), stream.state
            consumers = await manager.consumers_info(name) if state.consumer_count else []
            found += [
                Depth(f"{name}, {one.name}", one.num_pending, one.num_ack_pending, one.num_waiting, state.last_seq)
                for one in consumers
            ] or [Depth(name, waiting=state.messages, arrived=state.last_seq)]
        return found

    async def close(self) -> None:
        await self._nats.close()


class KafkaGauge:
    """Topics, as each group's committed offsets see them."""

    note = "What waits is what the group has not committed: records that are being handled count in."

    def __init__(self, url: str) -> None:
        self.address = url.partition("://")[2]

    async def open(self) -> None:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.admin import AIOKafkaAdminClient

        self._admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=int(LIMIT * 1000))
        self._reader = AIOKafkaConsumer(bootstrap_servers=self.address, request_timeout_ms=int(LIMIT * 1000))
        await self._admin.start()
        await self._reader.start()

    async def read(self, names: Iterable[str]) -> list[Depth]:
        from aiokafka import TopicPartition

        topics = sorted(name for name in await self._admin.list_topics() if not name.startswith("__"))[:MOST]
        about = await self._admin.describe_topics(topics) if topics else []
        parts = [TopicPartition(one["topic"], part["partition"]) for one in about for part in one["partitions"]]
        ends = await self._reader.end_offsets(parts) if parts else {}
        totals = {topic: sum(end for part, end in ends.items() if part.topic == topic) for topic in topics}
        found, read = [], set()
        for group, *_ in await self._admin.list_consumer_groups():
            offsets = await self._admin.list_consumer_group_offsets(group)
            for topic in sorted({part.topic for part in offsets} & totals.keys()):
                done = sum(max(0, one.offset) for part, one in offsets.items() if part.topic == topic)
                found.append(Depth(f"{topic}, {group}", waiting=totals[topic] - done, arrived=totals[topic]))
                read.add(topic)
        return found + [Depth(one, waiting=totals[one], arrived=totals[one]) for one in topics if one not in read]

    async def close(self) -> None:
        await self._admin.close()
        await self._reader.stop()


class MqttGauge:
    """What Mosquitto says of itself under $SYS: sums over all topics, told anew every ten seconds or so."""

    note = "MQTT has no queues to look at: Mosquitto tells sums of all topics, every ten seconds."
    TOLD = "$SYS/broker/"

    def __init__(self, url: str) -> None:
        self.url = url
        self._told: dict[str, int] = {}

    async def open(self) -> None:
        import asyncio
        from urllib.parse import urlsplit

        import aiomqtt

        where = urlsplit(self.url)
        self._client = aiomqtt.Client(where.hostname or "127.0.0.1", where.port or 1883, timeout=LIMIT)
        await self._client.__aenter__()
        await self._client.subscribe(f"{self.TOLD}#")
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self._client.messages:
            text = message.payload.decode() if isinstance(message.payload, bytes) else ""
            if text.isdigit():
                self._told[str(message.topic).removeprefix(self.TOLD)] = int(text)

    async def read(self, names: Iterable[str]) -> list[Depth]:
        if self._listener.done():
            self._listener.result()
        told = self._told
        waiting, received = told.get("store/messages/count"), told.get("messages/received")
        return [Depth("all topics", waiting, told.get("messages/inflight"), told.get("clients/connected"), received)]

    async def close(self) -> None:
        self._listener.cancel()
        await self._client.__aexit__(None, None, None)


GAUGES: dict[str, type[Gauge]] = {
    "rabbitmq": RabbitGauge,
    "redis": RedisGauge,
    "nats": NatsGauge,
    "kafka": KafkaGauge,
    "mosquitto": MqttGauge,
}
