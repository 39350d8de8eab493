"""An event store: what happened is kept, in order, and never changed; every state is computed from it.

    store = EventStore(Database("orders.db"))
    await store.append("order-7", [New("placed", {"total": 10})], expected=0)
    order = await store.load("order-7", apply, initial=None)

A *stream* is the events of one thing; its *version* is the number of its events. Whoever appends says which version it
has read (`expected`), and gets a VersionConflict when another one was quicker: read again, decide again. Every event
also has a *position* in the one order of all streams.

Guarantee: an append is all or nothing and survives kill -9; versions have no gaps and no two events share one.
Positions are in the order of commits, since SQLite has one writer at a time, so a reader that went up to a position
has missed nothing before it. A projection's rows and its checkpoint are one transaction: each event counts once.
Where it ends: one file on one machine. An effect outside the file (a mail) is not undone with the transaction and is
repeated by a replay: keep effects out of projections.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import messages
from .database import Database
from .errors import PostOfficeError

__all__ = ["Event", "EventStore", "New", "VersionConflict"]

BATCH = 500  # events read, or projected, in one transaction
State = TypeVar("State")


class VersionConflict(PostOfficeError):
    """Another one has appended to the stream since it was read. Nothing was written."""


@dataclass(frozen=True, slots=True)
class New:
    """An event to append: its type, its data (JSON), and what else should be known of it (a correlation id, say)."""

    type: str
    data: Any = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is kept: `version` in its stream, from 1; `position` among all; `at` in unix seconds."""

    position: int
    stream: str
    version: int
    type: str
    data: Any
    meta: dict[str, Any]
    at: float


class EventStore:
    """Events in a SQLite file (tables events, snapshots, checkpoints)."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.tables(*_TABLES)

    def __repr__(self) -> str:
        return f"<EventStore in {self._db.path}>"

    async def append(self, stream: str, events: Sequence[New], *, expected: int) -> int:
        """Append, if the stream's version is still `expected` (0: it has no events yet). Returns its new version.

        Raises:
            VersionConflict: another one was quicker. PayloadError: data that is no JSON. Nothing was written then.
        """
        return await self._db.run(lambda tx: self.append_in(tx, stream, events, expected=expected))

    def append_in(self, tx: sqlite3.Connection, stream: str, events: Sequence[New], *, expected: int) -> int:
        """The same within a transaction of yours, beside other rows (an outbox, say)."""
        [found] = tx.execute("SELECT coalesce(max(version), 0) FROM events WHERE stream = ?", (stream,)).fetchone()
        if found != expected:
            raise VersionConflict(
                f"the stream {stream!r} is at version {found}, and version {expected} was expected: another one has"
                " appended meanwhile. Nothing was written. Read it again, decide again, append again."
            )
        for version, event in enumerate(events, found + 1):
            values = (
                stream,
                version,
                event.type,
                messages.encode(event.data),
                messages.encode(event.meta),
                time.time(),
            )
            tx.execute("INSERT INTO events (stream, version, type, data, meta, at) VALUES (?, ?, ?, ?, ?, ?)", values)
        return int(found) + len(events)

    async def read(self, stream: str, *, after: int = 0) -> list[Event]:
        """The events of a stream, in order; only those after a version."""
        query = f"{_SELECT} WHERE stream = ? AND version > ? ORDER BY version"
        return await self._db.run(lambda tx: [_event(row) for row in tx.execute(query, (stream, after))])

    async def replay(self, *, after: int = 0) -> AsyncIterator[Event]:
        """Every event of every stream, in the order of positions; only those after a position. Ends at the last one."""
        while events := await self._db.run(lambda tx: _after(tx, after)):  # noqa: B023 - awaited at once
            for event in events:
                yield event
            after = events[-1].position

    async def load(self, stream: str, apply: Callable[[State, Event], State], initial: State) -> tuple[State, int]:
        """A stream's state, from its snapshot if there is one, and its version (the `expected` of the next append)."""
        state, version = await self._snapshot(stream)
        state = initial if version == 0 else state
        for event in await self.read(stream, after=version):
            state, version = apply(state, event), event.version
        return state, version

    async def snapshot(self, stream: str, state: Any, version: int) -> None:
        """Keep the state at a version, so that `load` need not start at the first event. State is JSON.

        It is only a shortcut: `forget_snapshots` when `apply` changes, and all is computed anew.
        """
        text = messages.encode(state)
        query = """INSERT INTO snapshots VALUES (?, ?, ?) ON CONFLICT (stream)
            DO UPDATE SET version = excluded.version, state = excluded.state WHERE excluded.version > version"""
        await self._db.run(lambda tx: tx.execute(query, (stream, version, text)))

    async def forget_snapshots(self) -> None:
        """Drop every snapshot."""
        await self._db.run(lambda tx: tx.execute("DELETE FROM snapshots"))

    async def _snapshot(self, stream: str) -> tuple[Any, int]:
        query = "SELECT state, version FROM snapshots WHERE stream = ?"
        row = await self._db.run(lambda tx: tx.execute(query, (stream,)).fetchone())
        return (None, 0) if row is None else (messages.decode(row[0]), row[1])

    async def project(self, name: str, apply: Callable[[sqlite3.Connection, Event], None]) -> int:
        """Bring a projection up to date: `apply(tx, event)` for each event it has not seen. Returns its checkpoint.

        Guarantee: each event is applied once, in order, even when the process dies anywhere, or two run at once:
        rows and checkpoint are one transaction. An error in `apply` undoes its batch and is raised.
        """
        while True:
            before, after = await self._db.run(lambda tx: self._project(tx, name, apply))
            if before == after:
                return after

    def _project(
        self, tx: sqlite3.Connection, name: str, apply: Callable[[sqlite3.Connection, Event], None]
    ) -> tuple[int, int]:
        row = tx.execute("SELECT position FROM checkpoints WHERE name = ?", (name,)).fetchone()
        before = after = row[0] if row else 0
        for event in _after(tx, before):
            apply(tx, event)
            after = event.position
        if after != before:
            tx.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (name, after))
        return before, after

    async def rebuild(self, name: str, clear: Callable[[sqlite3.Connection], object]) -> None:
        """Begin a projection anew: `clear(tx)` empties its rows; the next `project` applies every event again."""

        def both(tx: sqlite3.Connection) -> None:
            clear(tx)
            tx.execute("DELETE FROM checkpoints WHERE name = ?", (name,))

        await self._db.run(both)


_SELECT = "SELECT position, stream, version, type, data, meta, at FROM events"
_TABLES = (
    """CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL,
        data BLOB NOT NULL, meta BLOB NOT NULL, at REAL NOT NULL, UNIQUE (stream, version)
    )""",
    "CREATE TABLE IF NOT EXISTS snapshots (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, state BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS checkpoints (name TEXT PRIMARY KEY, position INTEGER NOT NULL)",
)


def _after(tx: sqlite3.Connection, position: int) -> list[Event]:
    rows = tx.execute(f"{_SELECT} WHERE position > ? ORDER BY position LIMIT {BATCH}", (position,))
    return [_event(row) for row in rows]


def _event(row: tuple[Any, ...]) -> Event:
    position, stream, version, kind, data, meta, at = row
    return Event(position, stream, version, kind, messages.decode(data), messages.decode(meta), at)
