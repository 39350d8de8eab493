"""The transports, each loaded when it is first used, so that importing postoffice loads no driver."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..deadletters import DeadLetters
from ..durable import Durable
from ..errors import UnsupportedError, UsageError
from .base import Transport

__all__ = ["TRANSPORTS", "create", "kind_of"]

TRANSPORTS = {  # URL scheme -> module and class
    "tcp": ("tcp", "TcpTransport"),
    "redis": ("redis", "RedisTransport"),
    "nats": ("nats", "NatsTransport"),
    "amqp": ("rabbitmq", "RabbitTransport"),
    "mqtt": ("mqtt", "MqttTransport"),
    "grpc": ("grpc", "GrpcTransport"),
    "kafka": ("kafka", "KafkaTransport"),
    # the same over TLS
    "tls": ("tcp", "TcpTransport"),
    "rediss": ("redis", "RedisTransport"),
    "nats+tls": ("nats", "NatsTransport"),
    "amqps": ("rabbitmq", "RabbitTransport"),
    "mqtts": ("mqtt", "MqttTransport"),
    "grpcs": ("grpc", "GrpcTransport"),
    "kafka+tls": ("kafka", "KafkaTransport"),
}
DURABLE = {  # the transports that deliver at least once
    "amqp": ("rabbitmq", "RabbitTransport"),
    "amqps": ("rabbitmq", "RabbitTransport"),
    "redis": ("redis_streams", "RedisStreamsTransport"),
    "rediss": ("redis_streams", "RedisStreamsTransport"),
    "nats": ("nats_jetstream", "JetStreamTransport"),
    "nats+tls": ("nats_jetstream", "JetStreamTransport"),
    "kafka": ("kafka_durable", "KafkaDurableTransport"),
    "kafka+tls": ("kafka_durable", "KafkaDurableTransport"),
    "mqtt": ("mqtt_durable", "MqttDurableTransport"),
    "mqtts": ("mqtt_durable", "MqttDurableTransport"),
}
DEAD_LETTERS = {  # and their dead letters
    "amqp": ("rabbitmq_dead", "RabbitDeadLetters"),
    "amqps": ("rabbitmq_dead", "RabbitDeadLetters"),
    "redis": ("redis_dead", "RedisDeadLetters"),
    "rediss": ("redis_dead", "RedisDeadLetters"),
    "nats": ("nats_dead", "JetStreamDeadLetters"),
    "nats+tls": ("nats_dead", "JetStreamDeadLetters"),
    "kafka": ("kafka_dead", "KafkaDeadLetters"),
    "kafka+tls": ("kafka_dead", "KafkaDeadLetters"),
    "mqtt": ("mqtt_dead", "MqttDeadLetters"),
    "mqtts": ("mqtt_dead", "MqttDeadLetters"),
}
DURABLE_NAMES = "RabbitMQ (amqp://), Redis (redis://), NATS (nats://), Kafka (kafka://), MQTT (mqtt://)"
WILDCARDS = (
    "Redis needs wildcards=True; NATS and MQTT have them always; on RabbitMQ give exchange='...', a topic exchange."
)


def kind_of(url: str) -> type[Transport]:
    """The transport that a URL names by its scheme.

    Raises:
        UsageError: a scheme that no transport has.
    """
    scheme = urlsplit(url).scheme
    if scheme not in TRANSPORTS:
        known = ", ".join(f"{name}://" for name in TRANSPORTS)
        raise UsageError(f"no transport for {url!r}: its scheme is {scheme!r}. Known are {known}. Nothing was sent.")
    kind: type[Transport] = _load(*TRANSPORTS[scheme])
    return kind


def durable_kind_of(url: str) -> type[Transport] | None:
    """The transport that delivers at least once at this URL; None where there is none."""
    where = DURABLE.get(urlsplit(url).scheme)
    return _load(*where) if where else None


def dead_letters_of(url: str) -> type[DeadLetters] | None:
    """What reads the dead letters at this URL; None where there are none."""
    where = DEAD_LETTERS.get(urlsplit(url).scheme)
    return _load(*where) if where else None


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f".{module}", __package__), name)


def create(
    url: str,
    *,
    queue: str | None = None,
    exchange: str | None = None,
    group: str | None = None,
    wildcards: bool = False,
    proto: str | Path | None = None,
    durable: Durable | None = None,
    **options: Any,
) -> Transport:
    """A transport for this URL, not yet connected.

    Raises:
        UsageError: an unknown scheme, or a queue missing where messages go to one, or given where none exists.
        UnsupportedError: something that this transport cannot do.
    """
    kind = (durable_kind_of(url) if durable else None) or kind_of(url)
    can = kind.capabilities
    if durable and not can.acks:
        raise UnsupportedError(
            f"{kind.name} cannot deliver at least once: nothing is acknowledged after the work, so what a crash"
            f" interrupts is gone. Use delivery='at-most-once' here; at least once there are {DURABLE_NAMES}."
        )
    if can.queues and not (queue or exchange):
        raise UsageError(f"{kind.name} sends messages to a queue, so say which: queue='the name of the service'.")
    if exchange and not can.exchanges:
        raise UnsupportedError(f"{kind.name} has no exchanges ({exchange!r}). RabbitMQ (amqp://) has.")
    if wildcards and not can.wildcards:
        raise UnsupportedError(f"{kind.name} has no wildcards to switch on. {WILDCARDS}")
    if queue and not can.queues:
        raise UsageError(
            f"{kind.name} has no queues: messages find their handler by pattern. Leave out queue={queue!r}."
        )
    if proto is None and can.methods:
        raise UsageError(f"{kind.name} knows its messages from a .proto file, so say which: proto='hero.proto'.")
    if proto is not None and not can.methods:
        raise UsageError(f"{kind.name} sends JSON and needs no .proto file. Leave out proto={str(proto)!r}.")
    if group and not can.groups:
        raise UnsupportedError(
            f"{kind.name} cannot share messages in a group ({group!r}). NATS (nats://) and MQTT (mqtt://) can;"
            " on RabbitMQ replicas share the queue anyway."
        )
    return kind(
        url, queue=queue, exchange=exchange, group=group, wildcards=wildcards, proto=proto, durable=durable, **options
    )
