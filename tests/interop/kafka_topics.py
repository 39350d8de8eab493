"""Kafka's topics, made before anyone starts: a NestJS service ends when one that it subscribes to is missing."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from postoffice.handlers import collect

from .handlers import Office
from .peers import Place

NEST_ONLY = ["parcel.by-hand", "parcel.weighing"]  # of service.mjs; the findings ask for them
PARTITIONS = {"counted": 2}  # as many as there are replicas to share it
UNHANDLED = "nobody.here"


async def kafka_place(place: Place) -> Place:
    """Make the topics of every handler and of the replies; the place then names those that are answered."""
    handlers = collect(Office())
    asked = sorted({one.route for one in handlers} | {UNHANDLED})
    topics = {one.route for one in handlers} | {*NEST_ONLY, *(f"{one}.reply" for one in asked)}
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(place.url).netloc)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS.get(name, 1), 1) for name in sorted(topics)])
    except TopicAlreadyExistsError:
        pass
    finally:
        await admin.close()
    return replace(place, topics=asked, group="office")
