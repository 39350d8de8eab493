"""The topics of a service that delivers at least once: those where failed events wait, and those of dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from .kafka_records import MAX_BYTES

__all__ = ["FOR_EVER", "delays_of", "make", "requeue_topic", "retry_topic"]

ROOM = {"max.message.bytes": str(2 * MAX_BYTES)}  # a copy is larger than its event: it carries what is known of it
FOR_EVER = {"cleanup.policy": "compact", **ROOM}  # each letter has a key of its own: it stays until it is settled


def retry_topic(group: str, delay: float) -> str:
    """Where events of this group wait `delay` seconds."""
    return f"{group}.retry.{round(delay * 1000)}ms"


def requeue_topic(group: str) -> str:
    """Where dead letters of this group are sent back to: those of other groups on the same topics do not get them."""
    return f"{group}.requeue"


def delays_of(group: str, topics: Iterable[str]) -> dict[str, float]:
    """The topics among these where events of this group wait, and how long; also those of a version before."""
    name = re.compile(rf"{re.escape(group)}\.retry\.(\d+)ms")
    return {topic: int(found[1]) / 1000 for topic in topics if (found := name.fullmatch(topic))}


async def make(options: dict[str, Any], plain: Iterable[str], copies: Iterable[str], letters: Iterable[str]) -> None:
    """Make topics, with as many partitions as the broker gives by default; dead letters need no more than one.

    Raises:
        KafkaError: the broker refuses one.
    """
    wanted = [_topic(one, -1, {}) for one in plain]
    wanted += [_topic(one, -1, ROOM) for one in copies] + [_topic(one, 1, FOR_EVER) for one in letters]
    if not wanted:
        return
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        answer = await admin.create_topics(wanted)
    finally:
        await admin.close()
    for topic, code, *reason in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{topic!r}: {reason[0] if reason else 'it could not be made'}")


def _topic(name: str, partitions: int, settings: dict[str, str]) -> NewTopic:
    return NewTopic(name, partitions, -1, {}, settings)
