"""RabbitMQ by hand: the few lines that its lessons use again and again, over the driver aio-pika.

from classroom.byhand import depth, fresh, give_back, take, work
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractQueue

__all__ = ["Given", "Worked", "depth", "fresh", "give_back", "take", "work"]

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


@dataclass(frozen=True)
class Worked:
    """How often each letter was taken, and how often it was handled; bodies in the order in which they came."""

    taken: Counter[str]
    done: Counter[str]

    def __repr__(self) -> str:
        lines = [f"{body:12} taken {times:,} times, handled {self.done[body]:,}" for body, times in self.taken.items()]
        return "\n".join([*lines, f"handled in all: {self.done.total():,}"])


async def work(queue: AbstractQueue, handle: Callable[[bytes], object], seconds: float) -> Worked:
    """Take one letter at a time: acknowledge it when `handle` has returned, give it back when `handle` raises.

    It ends after `seconds`, or when nothing waits.
    """
    end, taken, done = time.perf_counter() + seconds, Counter[str](), Counter[str]()
    while time.perf_counter() < end and (letter := await queue.get(fail=False)) is not None:
        body = letter.body.decode()
        taken[body] += 1
        try:
            handle(letter.body)
        except Exception:
            await letter.nack(requeue=True)
        else:
            await letter.ack()
            done[body] += 1
    return Worked(taken, done)
