"""What a rehearsal does in the words of one broker: where letters wait, how many are dead, and what to clear away.

A desk touches only what belongs to its service, and only by the broker's address, so a restricted account will do.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from classroom.byhand import depth
from classroom.service_handle import ServiceHandle
from postoffice.transports.rabbitmq_queues import delay_queue

__all__ = ["DESKS", "Desk"]

DATABASES = 15  # of Redis, beside the first, which learners use
ACK_WAIT = "2"  # seconds on Redis, so that nobody waits long for what a killed replica held


class Desk(ABC):
    """One broker, as a rehearsal of a service needs it. `await open()` first, `await close()` at the end.

    Attributes:
        variable: what a lab calls the broker. words: options that the rehearsal's copy gets besides.
    """

    variable = ""
    words: tuple[str, ...] = ()

    def __init__(self, service: ServiceHandle) -> None:
        self.service = service

    @staticmethod
    def address(url: str) -> str:
        """Where the copy and its sender meet."""
        return url

    @property
    @abstractmethod
    def sender(self) -> dict[str, Any]:
        """Options of the client that sends to the service."""

    @abstractmethod
    async def open(self) -> None: ...
    @abstractmethod
    async def waiting(self, patterns: Collection[str]) -> int:
        """Letters of these patterns that may still come to the service: now, or at their next attempt."""

    @abstractmethod
    async def dead(self, queue: str) -> int:
        """How many letters a dead-letter queue has; 0 where there is none."""

    @abstractmethod
    async def clear(self, patterns: Collection[str]) -> None:
        """Remove all that is the service's own."""

    @abstractmethod
    async def close(self) -> None: ...


class RabbitDesk(Desk):
    """A queue that bears the service's name, and one for each delay."""

    variable = "rabbit"

    @property
    def sender(self) -> dict[str, Any]:
        return {"queue": self.service.name, "delivery": "at-least-once"}

    async def open(self) -> None:
        self._connection = await aio_pika.connect(self.service.url)

    async def waiting(self, patterns: Collection[str]) -> int:
        return sum([await self.dead(one) for one in (self.service.name, *self._delays())])

    async def dead(self, queue: str) -> int:
        with suppress(ChannelNotFoundEntity):
            async with self._connection.channel() as channel:
                return await depth(channel, queue)
        return 0

    async def clear(self, patterns: Collection[str]) -> None:
        mine = [one for one in self.service.queues if one.startswith(self.service.name)]
        async with self._connection.channel() as channel:
            for queue in (*mine, *self._delays()):
                await channel.queue_delete(queue)

    async def close(self) -> None:
        await self._connection.close()

    def _delays(self) -> list[str]:
        return [delay_queue(self.service.name, delay) for delay in self.service.delays]


class RedisDesk(Desk):
    """A group in each pattern's stream, and streams of its own. What is pending waits: somebody will claim it.

    A database of its own, since a stream is shared by all services of a pattern, the learner's among them.
    """

    variable = "broker"
    words = ("--ack-wait", ACK_WAIT)

    @staticmethod
    def address(url: str) -> str:
        return urlsplit(url)._replace(path=f"/{1 + secrets.randbelow(DATABASES)}").geturl()

    @property
    def sender(self) -> dict[str, Any]:
        return {"delivery": self.service.plan.delivery}  # a service at most once hears only what is published

    async def open(self) -> None:
        self._redis: Any = Redis.from_url(self.service.url, decode_responses=True)
        await self._redis.ping()

    async def waiting(self, patterns: Collection[str]) -> int:
        found = 0
        for pattern in patterns:
            shared, again, later = self._keys(pattern)
            for key in (shared, again):
                with suppress(ResponseError):  # no such stream
                    groups = [one for one in await self._redis.xinfo_groups(key) if one["name"] == self.service.name]
                    found += sum(one["pending"] + (one.get("lag") or 0) for one in groups)
            found += await self._redis.zcard(later)
        return found

    async def dead(self, queue: str) -> int:
        return int(await self._redis.xlen(f"dead:{queue}"))

    async def clear(self, patterns: Collection[str]) -> None:
        dead = [f"dead:{queue}" for queue in self.service.queues if queue.startswith(self.service.name)]
        await self._redis.delete(*dead, *(key for pattern in patterns for key in self._keys(pattern)))

    async def close(self) -> None:
        await self._redis.aclose()

    def _keys(self, pattern: str) -> tuple[str, str, str]:
        name = self.service.name
        return f"events:{pattern}", f"again:{name}:{pattern}", f"later:{name}:{pattern}"


DESKS: dict[str, type[Desk]] = {"rabbitmq": RabbitDesk, "redis": RedisDesk}
