"""RabbitMQ's queues as we declare them, and routing keys: words between dots, and what a binding's wildcards match."""

from __future__ import annotations

import re
from typing import Any

from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from ..durable import Durable
from ..errors import PatternError

__all__ = ["checked_key", "delay_arguments", "delay_queue", "exists", "matcher", "queue_arguments"]

MAX_KEY = 255  # bytes of a routing key, as AMQP limits it


def checked_key(route: str) -> str:
    """A route as a routing key. Raises PatternError where it is too long for one."""
    if (size := len(route.encode())) > MAX_KEY:
        raise PatternError(f"a pattern of {size} bytes exceeds the {MAX_KEY} that AMQP has room for. Nothing was sent.")
    return route


def matcher(binding: str) -> re.Pattern[str]:
    """What a binding key matches: `*` is one word between dots, `#` at the end is any number of them."""
    words = [r"[^.]+" if word == "*" else re.escape(word) for word in binding.removesuffix("#").split(".")]
    pattern = r"\.".join(words)
    if binding.endswith(".#"):
        pattern = pattern.removesuffix(r"\.") + r"(\..*)?"
    elif binding == "#":
        pattern = ".*"
    return re.compile(pattern + r"\Z", re.DOTALL)


def queue_arguments(service: Durable | None) -> dict[str, Any]:
    """How a service's queue is declared: plain, as a NestJS client declares it too, or as a quorum queue.

    The quorum queue's own limit is a second net: a message over it is dead-lettered by the broker itself.
    """
    if service is None or not service.quorum:
        return {}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": service.limit,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{service.service}.dead",
    }


def delay_queue(queue: str, delay: float) -> str:
    """The name of the queue in which events of `queue` wait `delay` seconds."""
    return f"{queue}.retry.{round(delay * 1000)}ms"


def delay_arguments(queue: str, delay: float) -> dict[str, Any]:
    """A limit of time for the whole queue: with one a message, a long one at the head would hold up the others."""
    return {
        "x-message-ttl": round(delay * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }


async def exists(connection: AbstractConnection, queue: str) -> bool:
    """Whether the broker has this queue, whatever its arguments."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return False  # and the channel is closed
    await channel.close()
    return True
