"""A cell of the guarantee matrix, and what was seen in it: what is tried, and what became of each event, in a word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from classroom.checks.runs import Run
from postoffice.service import DeliveryMode

__all__ = ["Cell", "Fault", "Seen", "Word"]

Fault = Literal["away", "killed", "slow", "replicas"]
Word = Literal["refused", "none", "lost", "twice", "all"]


@dataclass(frozen=True)
class Cell:
    """What is tried: a transport, what its service and its sender promise, and the fault.

    Attributes:
        transport: "tcp", "redis", "nats", "rabbitmq", "mqtt" or "kafka".
        fault: "away": the service was there once, and is stopped while the events are sent. "killed": it dies between
            its work and its acknowledgement, with its hands full. "slow": it reads nothing while large events are
            sent. "replicas": there are two of it, in no group.
        sender: None: as the service.
    """

    transport: str
    fault: Fault
    service: DeliveryMode = "at-most-once"
    sender: DeliveryMode | None = None

    def __post_init__(self) -> None:
        if self.fault not in get_args(Fault):
            raise ValueError(f"{self.fault!r} is no fault of the matrix: {', '.join(get_args(Fault))}")
        if self.transport == "tcp" and self.fault in ("slow", "replicas"):
            raise ValueError(f"{self.fault!r} needs a broker: over TCP a slow reader holds up its sender, and is alone")

    @property
    def name(self) -> str:
        """As people read it: "redis, at least once, sent at most once"."""
        said = f"{self.transport}, {self.service.replace('-', ' ')}"
        sender = self.sender or self.service
        return said if sender == self.service else f"{said}, sent {sender.replace('-', ' ')}"


@dataclass(frozen=True)
class Seen:
    """What became of the events of one cell.

    Attributes:
        run: all of it, for the checkers of `classroom.checks`.
        disturbed: what else happened than the fault, as on a machine that is too busy; "" where nothing did.
    """

    cell: Cell
    run: Run
    disturbed: str = ""

    @property
    def counts(self) -> Counter[int | str]:
        """How often each event was handled."""
        return Counter(one.id for one in self.run.done)

    @property
    def sent(self) -> int:
        """Events that the sender tried to send."""
        return len(self.run.attempted)

    @property
    def refused(self) -> int:
        """Events of which it was told: not sent."""
        return len(self.run.refused)

    @property
    def handled(self) -> int:
        """Events that were handled, however often."""
        return len(self.counts)

    @property
    def twice(self) -> int:
        """Events that were handled more than once."""
        return sum(times > 1 for times in self.counts.values())

    @property
    def word(self) -> Word:
        """The cell in a word.

        "refused": the sender was told of each that it was not sent. "none": none was handled. "lost": some were not.
        "twice": all were handled, some more than once. "all": all were, each once.
        """
        if self.refused == self.sent:
            return "refused"
        if not self.handled:
            return "none"
        return "lost" if self.handled < self.sent else "twice" if self.twice else "all"

    def __repr__(self) -> str:
        twice = f", {self.twice:,} of them more than once" if self.twice else ""
        refused = f", {self.refused:,} refused" if self.refused else ""
        return f"{self.cell.name}: {self.handled:,} of {self.sent:,} handled{twice}{refused}: {self.word}"
