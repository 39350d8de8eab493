"""What is broken: a transport as it is set up. Its name is the row of the table, and of expected.toml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CONFIGS", "PREFETCH", "REPLICAS", "Config"]

PREFETCH = 16
REPLICAS = 2


@dataclass(frozen=True)
class Config:
    """One set-up.

    Attributes:
        name: of the row. broker: its kind; None for TCP, which has none. settings: how the broker is started.
        delivery: of the service and of its sender. options: of `postoffice run`.
        counts: whether deliveries are counted, so that a crash loop ends in the dead letters.
        patience: seconds without any progress until what has not come counts as lost.
    """

    name: str
    broker: str | None
    delivery: Literal["at-least-once", "at-most-once"]
    settings: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    replicas: int = REPLICAS
    counts: bool = False
    patience: float = 8.0

    @property
    def waits(self) -> float:
        """Seconds without progress until what has not come counts as lost; at most once, nothing comes later."""
        return self.patience if self.durable else min(self.patience, 3.0)

    @property
    def durable(self) -> bool:
        return self.delivery == "at-least-once"

    def arguments(self, name: str) -> list[str]:
        """Of `postoffice run`."""
        found = ["--delivery", self.delivery, *self.options]
        if self.durable:
            found += ["--prefetch", str(PREFETCH), "--ack-wait", "1"]
        if self.replicas > 1 and self.broker in ("nats", "mosquitto"):
            found += ["--group", name]
        return found


def _always(name: str, broker: str, **more: Any) -> Config:
    return Config(name, broker, "at-least-once", **more)


CONFIGS = [
    _always("RabbitMQ classic queue", "rabbitmq"),
    _always("RabbitMQ quorum queue", "rabbitmq", options=("--quorum",), counts=True),
    _always("Redis Streams, AOF always", "redis", settings={"sync": "always"}, counts=True),
    _always("Redis Streams, default snapshots", "redis", counts=True),
    _always("JetStream, sync always", "nats", settings={"sync": "always"}, counts=True),
    _always("JetStream, default sync", "nats", counts=True),
    _always("Kafka", "kafka", replicas=1, patience=30.0),
    _always("MQTT QoS 1, default snapshots", "mosquitto", replicas=1),
    Config("RabbitMQ at most once", "rabbitmq", "at-most-once"),
    Config("Redis pub/sub", "redis", "at-most-once", replicas=1),
    Config("NATS core", "nats", "at-most-once"),
    Config("Kafka at most once", "kafka", "at-most-once", replicas=1, patience=30.0),
    Config("MQTT at most once", "mosquitto", "at-most-once", replicas=1),
    Config("TCP", None, "at-most-once", replicas=1),
]
