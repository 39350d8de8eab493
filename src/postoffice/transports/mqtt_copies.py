"""Failed events in the broker's keeping: each a retained message in a topic of its own.

MQTT has no queue that one can wait in, or look into. What it has is the retained message: the broker keeps the last one
of each topic, gives it to whoever subscribes, and forgets it when an empty one follows. A copy holds what is known of
the event on its first line, and the event behind it.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from .. import messages
from ..durable import History
from .mqtt_session import Pairs
from .mqtt_topics import OURS

__all__ = ["Copy", "dead_topic", "dead_topics", "headers_in", "read_copy", "retry_topic"]

BUCKETS = "0123456789abcdef"  # dead letters are read in parts: Mosquitto drops what goes beyond a thousand at once


class _Head(msgspec.Struct):
    due: float
    history: History


class Copy(NamedTuple):
    """An event that failed. due: unix time of its next attempt. pairs: its user properties."""

    history: History
    body: bytes
    pairs: Pairs
    due: float = 0.0

    @property
    def wait(self) -> float:
        """Seconds until it is due."""
        return self.due - time.time()

    def packed(self) -> bytes:
        """As it is kept."""
        return messages.encode(_Head(self.due, self.history)) + b"\n" + self.body


def read_copy(packed: bytes, pairs: Pairs) -> Copy | None:
    """What `packed` made; None of anything else."""
    line, _, body = packed.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_Head)
    except msgspec.DecodeError:
        return None
    return Copy(head.history, body, pairs, head.due)


def retry_topic(service: str, replica: int) -> str:
    """Under it lie the copies that a replica handles."""
    return f"{OURS}retry/{quote(service, safe='')}/{replica}"


def dead_topic(queue: str) -> str:
    """A new topic for a dead letter."""
    token = secrets.token_hex(10)
    return f"{OURS}dead/{quote(queue, safe='')}/{token[0]}/{token}"


def dead_topics(queue: str) -> list[str]:
    """What one subscribes to for all letters of a queue."""
    return [f"{OURS}dead/{quote(queue, safe='')}/{one}/+" for one in BUCKETS]


def headers_in(body: bytes) -> dict[str, Any]:
    """The headers that travel in a packet."""
    try:
        return messages.metadata(messages.read_packet(body))
    except msgspec.DecodeError:  # it is none
        return {}
