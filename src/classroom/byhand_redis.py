"""Redis by hand: the few lines that its lesson uses again and again, over the driver redis-py.

from classroom.byhand_redis import fill_cache, heard, listening, pending, read, season, survivors, write
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Broken

from classroom.brokers import Broker
from classroom.ledger import ledger

__all__ = ["Heard", "fill_cache", "heard", "listening", "pending", "read", "season", "survivors", "write"]

SHOWN, SHORT = 4, 76  # messages, and characters of each, that are shown


@dataclass(frozen=True)
class Heard:
    """What a subscriber got, as (channel, text), in order; and how often it was cut off on the way."""

    messages: tuple[tuple[str, str], ...]
    cuts: int

    def __repr__(self) -> str:
        count, more = len(self.messages), len(self.messages) - SHOWN
        head = f"{count:,} message{'s'[: count != 1]} came"
        head += f", then the connection was cut off ({self.cuts}x)" if self.cuts else ""
        lines = [f"  {channel}: {_short(text)}" for channel, text in self.messages[:SHOWN]]
        return "\n".join([head, *lines, *([f"  … and {more:,} more"] if more > 0 else [])])


@asynccontextmanager
async def listening(redis: Any, *channels: str) -> AsyncIterator[Any]:
    """A subscription of redis-py to channels, or to patterns with a *; it stands when the block begins."""
    async with redis.pubsub() as subscriber:
        await subscriber.psubscribe(*channels)
        for _ in channels:
            await subscriber.get_message(timeout=10)
        yield subscriber


async def heard(subscriber: Any, silence: float = 0.5) -> Heard:
    """Take what a subscription of redis-py has, until nothing comes for `silence` seconds.

    Where Redis has closed the connection, it goes on: the driver connects and subscribes again.
    """
    messages: list[tuple[str, str]] = []
    cuts = 0
    while True:
        try:
            message = await subscriber.get_message(timeout=silence)
        except Broken:
            cuts += 1
            continue
        if message is None:
            return Heard(tuple(messages), cuts)
        if message["type"] in ("message", "pmessage"):
            messages.append((message["channel"], message["data"]))


async def read(
    redis: Any, stream: str, group: str, who: str, count: int, wait: float = 0
) -> dict[str, Mapping[str, str]]:
    """XREADGROUP with `>`: hand up to `count` new entries to a reader of a group; id -> fields.

    Where there are none, it waits for them, `wait` seconds at most.
    """
    answer = await redis.xreadgroup(group, who, {stream: ">"}, count=count, block=round(1000 * wait) or None)
    streams = answer.values() if isinstance(answer, Mapping) else [listed for _, listed in answer or ()]
    found: dict[str, Mapping[str, str]] = {}
    for listed in streams:  # the two versions of the protocol nest them differently
        found |= dict(listed[0] if listed and isinstance(listed[0], list) else listed)
    return found


async def pending(redis: Any, stream: str, group: str) -> str:
    """XPENDING: each pending entry, with who has it and how often it was delivered."""
    rows = await redis.xpending_range(stream, group, "-", "+", 100)
    told = [f"{one['message_id']} ({one['consumer']}, delivered {one['times_delivered']}x)" for one in rows]
    return ", ".join(told) or "none"


async def write(redis: Any, stream: str, number: int) -> float:
    """Append so many entries to an empty stream, one after the other, each acknowledged; the seconds it took."""
    await redis.delete(stream)
    began = time.perf_counter()
    for n in range(number):
        await redis.xadd(stream, {"n": n})
    return time.perf_counter() - began


async def survivors(server: Broker, *, clean: bool = False, fsync: str = "", number: int = 1000) -> str:
    """Store entries, end the server by SIGKILL (with `clean`, by SIGTERM), start it again, and count.

    `fsync` sets `appendfsync` before that.
    """
    async with Redis.from_url(server.url) as redis:
        if fsync:
            await redis.config_set("appendfsync", fsync)
        took = await write(redis, "diary", number)
    async with server.down(clean=clean):
        pass  # started again at the end
    async with Redis.from_url(server.url) as redis:
        return f"{number:,} acknowledged in {took:.1f} s, then it ended: {await redis.xlen('diary'):,} are left"


async def season(redis: Any, name: str, spread: float, seconds: float = 2.5) -> None:
    """A hundred keys that live a second, less a random part of it up to `spread`; what is missing is looked up again.

    Each look-up is a call to the ledger, of the kind `name`.
    """

    keys, end = [f"{name}:{n}" for n in range(100)], time.monotonic() + seconds
    await redis.delete(*keys)
    while time.monotonic() < end:
        known = await redis.mget(keys)
        missing = [key for key, value in zip(keys, known, strict=True) if value is None]
        await asyncio.gather(*(ledger.record(name, key) for key in missing))
        pipeline = redis.pipeline(transaction=False)
        for key in missing:
            pipeline.set(key, "1", px=round(1000 * (1 - spread * random.random())))
        await pipeline.execute()
        await asyncio.sleep(0.05)


async def fill_cache(redis: Any, prices: int, room: int) -> int:
    """Give Redis `room` bytes more than it uses, have it make room by LRU, and set prices; how many are left."""
    await redis.config_set("maxmemory", 0)
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    await redis.config_set("maxmemory", used + room)
    await asyncio.sleep(1.1)  # LRU counts in seconds
    pipeline = redis.pipeline(transaction=False)
    for n in range(prices):
        pipeline.set(f"price:{n}", "x" * 2000, ex=60)
    await pipeline.execute()
    return sum([1 async for _ in redis.scan_iter("price:*", count=1000)])


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"
