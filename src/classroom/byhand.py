"""RabbitMQ by hand: the few lines that its lessons use again and again, over the driver aio-pika.

from classroom.byhand import depth, fresh, give_back, take
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractQueue

__all__ = ["Given", "depth", "fresh", "give_back", "take"]

LIMIT = 10.0  # seconds to wait for a letter that should come


async def fresh(channel: AbstractChannel, name: str, arguments: Mapping[str, Any] | None = None) -> AbstractQueue:
    """Declare a durable queue, and empty it if it was there: so a cell may be run twice."""
    queue = await channel.declare_queue(name, durable=True, arguments={**arguments} if arguments else None)
    await queue.purge()
    return queue


async def depth(channel: AbstractChannel, name: str) -> int:
    """How many letters wait in a queue, not counting those that are handed out. It must be there."""
    queue = await channel.declare_queue(name, passive=True)  # passive: ask, do not make
    return queue.declaration_result.message_count or 0


async def take(queue: AbstractQueue, count: int) -> None:
    """Take and acknowledge letters, and print when each came. Raises TimeoutError when none comes for 10 seconds."""
    began = time.perf_counter()
    async with queue.iterator(timeout=LIMIT) as letters:
        for _ in range(count):
            letter = await anext(letters)
            await letter.ack()
            print(f"{letter.body.decode():8} came after {time.perf_counter() - began:.1f} s")


@dataclass(frozen=True)
class Given:
    """How often a letter came, in how many seconds, and its headers at last; None if it comes no more."""

    times: int
    seconds: float
    headers: Mapping[str, Any] | None

    def __repr__(self) -> str:
        end = f"still there, with headers {dict(self.headers)}" if self.headers is not None else "comes no more"
        return f"delivered {self.times:,} times in {self.seconds:.1f} s, {end}"


async def give_back(queue: AbstractQueue, most: int, seconds: float) -> Given:
    """Take a letter and give it back, again and again: `most` times, or for `seconds`, or until it comes no more."""
    began, times = time.perf_counter(), 0
    headers: Mapping[str, Any] | None = {}
    while times < most and time.perf_counter() - began < seconds:
        letter = await queue.get(fail=False)
        if letter is None:
            headers = None
            break
        times, headers = times + 1, letter.headers
        await letter.nack(requeue=True)
    return Given(times, time.perf_counter() - began, headers)
