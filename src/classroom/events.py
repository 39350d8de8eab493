"""What happened to a message, and where: the events of one run, and the life of one message.

Checkers show a life when something is wrong (`classroom.checks.invariants`); a timeline draws the same events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

__all__ = ["Event", "Life"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        at: when, in unix seconds, by the clock of the process where it happened. Where only the order is known, -inf
            stands for before all the others and inf for after them.
        process: who did it: a service with its replica or pid ("payments 4711"), a client, a broker, the ledger.
        what: the kind of event in a word or two, e.g. "acknowledged", "handled", "retried", "killed".
        message: the id of the message, as text; "" for what concerns no single message, such as a crash.
        detail: whatever else helps, e.g. "attempt 2".
    """

    at: float
    process: str
    what: str
    message: str
    detail: str = ""


class Life(Sequence[Event]):
    """All events of one message, in order of time; events at the same time keep the order in which they were given.

    An event whose time is not known is given that of its neighbour, so that it can be drawn; as text it has a "?".
    """

    def __init__(self, message: object, events: Iterable[Event]) -> None:
        self.message = str(message)
        mine = sorted((one for one in events if one.message in (self.message, "")), key=lambda one: one.at)
        self._timed = [math.isfinite(one.at) for one in mine]
        times = [one.at for one in mine if math.isfinite(one.at)] or [0.0]
        self.events = tuple(replace(one, at=min(max(one.at, times[0]), times[-1])) for one in mine)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Life) and (self.message, self.events) == (other.message, other.events)

    def __hash__(self) -> int:
        return hash((self.message, self.events))

    def lines(self) -> Iterator[str]:
        """The life as text: seconds since its first event, then who, what and the detail in columns."""
        if not self.events:
            yield f"message {self.message}: nothing was seen of it"
            return
        yield f"message {self.message}:"
        who = max(len(one.process) for one in self.events)
        what = max(len(one.what) for one in self.events)
        for time, process, happened, detail in self.table():
            yield f"  {time:>11}  {process:<{who}}  {happened:<{what}}  {detail}".rstrip()

    def table(self) -> Iterator[tuple[str, str, str, str]]:
        """A row for each event: seconds since the first one, who, what, and the detail."""
        for one, timed in zip(self.events, self._timed, strict=True):
            time = f"{one.at - self.events[0].at:+.3f} s" if timed else "?"
            yield time, one.process, one.what, one.detail

    def __repr__(self) -> str:
        return "\n".join(self.lines())
