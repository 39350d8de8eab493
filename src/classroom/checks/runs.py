"""What was recorded of a run, for the checkers (invariants.py)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from classroom.events import Event, Life
from classroom.ledger.rows import Row

__all__ = ["Handling", "Id", "Run", "handlings"]

Id = int | str


@dataclass(frozen=True, slots=True)
class Handling:
    """One delivery of a message to a handler, as the handler's process recorded it.

    `end` is "handled" (the work was done), "failed" (the handler raised), or "begun" (no end was seen: a crash).
    """

    id: Id
    at: float
    process: str
    attempt: int = 1
    end: Literal["handled", "failed", "begun"] = "handled"


@dataclass(frozen=True)
class Run:
    """What is known of a run. A part that could not be read is None, never empty: what needs it is then unknown.

    Attributes:
        attempted: the ids of the messages that were sent, in order; a mapping gives the time of each, too.
        acknowledged: those the sender has the promise of, as its transport defines it; may be a mapping, too.
        handled: every delivery to a handler.
        unknown: ids whose sending ended in a timeout or a lost connection: they may have been taken or not.
        refused: ids whose sending failed for certain: nothing was sent.
        dead_lettered: the ids in the dead-letter queue; one that is there twice is named twice. Empty, not None, where
            there is no such queue.
        ledger: the ledger's rows.
        replies: what callers were answered, as (idempotency key, answer).
        crashes: how many times a process or the broker was ended while messages were under way.
        in_flight: how many messages could be handed out and not yet acknowledged, in all consumers together.
        limit: how many deliveries a message may have.
        poison: the ids that can never be handled.
        order_keys: id -> key; messages of one key are to be handled in the order of sending. An id that is not in it
            has no order; None: all are of one key.
        events: whatever else was seen, for the life of a message.
    """

    attempted: Collection[Id]
    acknowledged: Collection[Id] | None = None
    handled: Sequence[Handling] | None = None
    unknown: Collection[Id] = ()
    refused: Collection[Id] = ()
    dead_lettered: Sequence[Id] | None = None
    ledger: Sequence[Row] | None = None
    replies: Sequence[tuple[str, Any]] | None = None
    crashes: int | None = None
    in_flight: int = 1
    limit: int | None = None
    poison: Collection[Id] | None = None
    order_keys: Mapping[Id, Hashable] | None = None
    events: Sequence[Event] = ()

    @property
    def done(self) -> list[Handling]:
        """The deliveries whose work was done; of a run whose handlings could not be read, none."""
        return [one for one in self.handled or () if one.end == "handled"]

    def life(self, messages: Iterable[Id], note: Callable[[Id], str] = lambda _: "") -> Life | None:
        """The shortest life among some messages: the smallest counterexample. `note` gives a last line for it."""
        wanted = {str(one): one for one in messages}
        if not wanted:
            return None
        seen: dict[str, list[Event]] = {one: [] for one in wanted}
        common = []
        for event in self._events():
            if event.message in seen:
                seen[event.message].append(event)
            elif not event.message:
                common.append(event)
        message = min(seen, key=lambda one: (len(seen[one]), len(one), one))
        last = note(wanted[message])
        verdict = [Event(math.inf, "the checker", last, message)] if last else []
        return Life(message, [*seen[message], *common, *verdict])

    def _events(self) -> Iterator[Event]:
        yield from _sent(self.attempted, "attempted")
        for ids, what in ((self.acknowledged, "acknowledged"), (self.refused, "refused"), (self.unknown, "timed out")):
            yield from _sent(ids or (), what)
        for one in self.handled or ():
            yield Event(one.at, one.process, one.end, str(one.id), f"attempt {one.attempt}")
        for row in self.ledger or ():
            detail = f"row {row.number}, key {row.key}" if row.key else f"row {row.number}"
            yield Event(row.done, "the ledger", f"{row.kind}: {row.outcome}", str(row.id), f"{detail}, by {row.by}")
        for ident in self.dead_lettered or ():
            yield Event(math.inf, "the broker", "in the dead-letter queue", str(ident))
        yield from self.events


def _sent(ids: Collection[Id], what: str) -> Iterator[Event]:
    times = ids if isinstance(ids, Mapping) else {}
    return (Event(times.get(one, -math.inf), "the sender", what, str(one)) for one in ids)


def handlings(rows: Iterable[Row]) -> list[Handling]:
    """Each call that reached the ledger as a delivery of the message with its id; the second one is attempt 2.

    For services whose handler does nothing but one call: the call came, so the handler ran.
    """
    attempts: Counter[Id] = Counter()
    found = []
    for row in rows:
        attempts[row.id] += 1
        end: Literal["handled", "failed"] = "failed" if row.outcome in ("failed", "conflict") else "handled"
        found.append(Handling(row.id, row.at, row.by, attempts[row.id], end))
    return found
