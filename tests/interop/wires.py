"""The transports that both sides speak, and how they differ where NestJS itself makes them differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    """What a value is after Kafka's encoding: text, except for objects and arrays."""
    return value if isinstance(value, str | dict | list | None) else json.dumps(value)


@dataclass(frozen=True)
class Wire:
    """A transport.

    Attributes:
        broker: what `start_broker` is asked for; None where there is none.
        objects: patterns may be objects. arrives: what a value is when it has travelled.
        we_know_nobody, nest_knows_nobody: whether a request that nobody handles fails at once.
        headers: the name of what carries text beside the data ("" for none).
        shares: replicas share by "queue" or by "group"; "" where each gets all.
        wild: a handler's pattern with a wildcard, and an event that it takes.
        variant: what is special, with its options of our side (`ours`) and of NestJS's (`nest_wire`).
        null_ends_streams: an answer without a value comes as null, and so may the end of a stream.
        nest: the lock file of the NestJS.
        nest_puts_headers, nest_reads_headers: what travels beside the data can be given to a NestJS client, and is
            shown to the handlers of a NestJS service.
        nest_sorts: NestJS sends to the sorted text of a pattern.
        nest_loses_bursts: of many requests at once, the replies of some reach no one.
    """

    name: str
    broker: str | None
    objects: bool = True
    arrives: Callable[[Any], Any] = _same
    we_know_nobody: bool = True
    nest_knows_nobody: bool = True
    headers: str = "headers"
    shares: str = ""
    wild: tuple[str, str] = ("", "")
    null_ends_streams: bool = False
    variant: str = ""
    ours: dict[str, Any] = field(default_factory=dict)
    nest_wire: dict[str, Any] = field(default_factory=dict)
    nest: str = "nest12"
    nest_puts_headers: bool = True
    nest_reads_headers: bool = True
    nest_sorts: bool = True
    nest_loses_bursts: bool = False

    @property
    def title(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name


WILD = ("area.*.open", "area.north.open")
TCP = Wire("tcp", None, headers="metadata")
REDIS = Wire("redis", "redis", nest_knows_nobody=False, headers="metadata")
NATS = Wire("nats", "nats", shares="group", wild=WILD)
RABBITMQ = Wire("rabbitmq", "rabbitmq", shares="queue")
MQTT = Wire(
    "mqtt",
    "mosquitto",
    we_know_nobody=False,
    nest_knows_nobody=False,
    headers="metadata",
    shares="group",
    wild=("area/+/open", "area/north/open"),
    nest_reads_headers=False,
    nest_loses_bursts=True,
)
KAFKA = Wire(
    "kafka",
    "kafka",
    objects=False,
    arrives=_text,
    nest_knows_nobody=False,
    shares="group",
    null_ends_streams=True,
)

WIRES = {
    one.title: one
    for one in [
        TCP,
        REDIS,
        replace(REDIS, variant="wildcards", ours={"wildcards": True}, nest_wire={"wildcards": True}, wild=WILD),
        NATS,
        RABBITMQ,
        MQTT,
        KAFKA,
        Wire("grpc", None),
        replace(
            RABBITMQ,
            variant="exchange",
            ours={"exchange": "letters"},
            nest_wire={"wildcards": True, "exchange": "letters"},
            nest_knows_nobody=False,
            nest_sorts=False,
            wild=WILD,
        ),
        # NestJS before 12 knows no metadata, and drives NATS by another package
        replace(TCP, variant="11", nest="nest11", nest_puts_headers=False, nest_reads_headers=False),
        replace(REDIS, variant="11", nest="nest11", nest_puts_headers=False, nest_reads_headers=False),
        replace(NATS, variant="11", nest="nest11"),
    ]
}
