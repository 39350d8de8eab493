"""The transports that both sides speak, and how they differ where NestJS itself makes them differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> Any:
    """What a value is after Kafka's encoding: text, except for objects and arrays."""
    if isinstance(value, str | dict | list | None):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}".replace("e+", "e+") if isinstance(value, float) and value > 1e20 else str(value)


@dataclass(frozen=True)
class Wire:
    """A transport.

    Attributes:
        broker: what `start_broker` is asked for; None where there is none.
        objects: patterns may be objects. arrives: what a value is when it has travelled.
        we_know_nobody, nest_knows_nobody: whether a request that nobody handles fails at once.
        headers: the name of what carries text beside the data ("" for none).
        shares: replicas share by "queue" or by "group"; "" where each gets all.
        wild: a handler's pattern with a wildcard, and an event that it takes. nest_wire: options of the two sides.
        one_value_per_stream: an answer without a value comes as null. nest: the lock file of the NestJS.
        nest_has_headers: NestJS passes on what travels beside the data.
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
    one_value_per_stream: bool = False
    nest_wire: dict[str, Any] = field(default_factory=dict)
    nest: str = "nest12"
    nest_has_headers: bool = True

    @property
    def title(self) -> str:
        return self.name if self.nest == "nest12" else f"{self.name}, 11"


WIRES = {
    one.name: one
    for one in [
        Wire("tcp", None, headers="metadata"),
        Wire("redis", "redis", nest_knows_nobody=False, headers="metadata"),
        Wire("nats", "nats", shares="group", wild=("area.*.open", "area.north.open")),
        Wire("rabbitmq", "rabbitmq", shares="queue"),
    ]
}

ELEVEN = [  # NestJS before 12 knows no metadata, and drives NATS by another package
    replace(WIRES["tcp"], nest="nest11", nest_has_headers=False),
    replace(WIRES["redis"], nest="nest11", nest_has_headers=False),
    replace(WIRES["nats"], nest="nest11"),
]
