"""An outbox: the change of state and its event in one transaction, and a relay that sends the event afterwards.

    def place(tx):
        tx.execute("INSERT INTO orders VALUES (?, ?)", (7, "placed"))
        outbox.add(tx, "order.placed", {"id": 7}, key="order-7")
    await db.run(place)
    relay = asyncio.create_task(outbox.relay(client))

To write to a database and then to a broker (a dual write) loses one of them when the process dies in between. Here
there is one write; the event waits in the same file until the broker has confirmed it.

Guarantee: an event is sent if, and only if, its transaction was committed; at least once, so it may come twice, always
with the same `message_id` (consumers: idempotency.py). Of events with one `key`, each is first sent after the one
before it was confirmed, also when two relays run at once. Nothing is lost by kill -9 at any moment.
Where it ends: order is per key, and consumers see it as far as the broker keeps it. An event that can never be sent
(too large for the transport) is set aside with its error, and holds the later ones of its key until someone decides.

The pattern is Chris Richardson's ("Transactional outbox" and "Polling publisher", microservices.io).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import messages
from .client import Client
from .database import Database, DatabaseBusy
from .errors import ConnectError, ConnectionLost, RequestTimeout, UsageError
from .patterns import Pattern, route

__all__ = ["Outbox", "Waiting"]

log = logging.getLogger("postoffice")
AWAY = (
    ConnectError,
    ConnectionLost,
    RequestTimeout,
)  # the broker does not answer: tried again, for as long as it takes


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event in the outbox. `id` is its message id; `error` says why it was set aside, if it was."""

    position: int
    id: str
    pattern: Pattern
    data: Any
    key: str | None
    headers: Mapping[str, str]
    error: str | None = None


class Outbox:
    """Events that wait in a SQLite file (table outbox) for their relay."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.tables(*_TABLES)

    def __repr__(self) -> str:
        return f"<Outbox in {self._db.path}>"

    def add(
        self,
        tx: sqlite3.Connection,
        pattern: Pattern,
        data: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Have an event sent if this transaction is committed. Returns its message id.

        Args:
            tx: the transaction, as `Database.run` gives it. key: events with the same key keep their order.

        Raises:
            PatternError, PayloadError: it cannot be sent; raised inside the transaction, which undoes it.
        """
        route(pattern)
        values = (
            uuid.uuid4().hex,
            messages.encode(pattern),
            messages.encode(data),
            key,
            messages.encode(headers or {}),
        )
        tx.execute("INSERT INTO outbox (id, pattern, data, key, headers) VALUES (?, ?, ?, ?, ?)", values)
        return values[0]

    async def relay(self, client: Client, *, pause: float = 0.1) -> None:
        """Send what waits, until cancelled; looks for more every `pause` seconds. A broker that is away is waited for.

        Raises:
            UsageError: the client does not send at least once, so its return would say nothing.
        """
        while True:
            try:
                busy = await self.flush(client)
            except DatabaseBusy as error:
                log.warning("the outbox waits: %s", error)
                busy = 0
            await asyncio.sleep(0 if busy else pause)

    async def flush(self, client: Client, *, batch: int = 100) -> int:
        """Send one batch, and mark what the broker has confirmed. Returns how many. Raises as `relay`.

        The keys of a batch are sent side by side, the events of one key one after the other.
        """
        if not client.durable:
            raise UsageError(
                "this client sends at most once: its emit returns before the broker has stored the event, and a crash"
                ' would lose it. Connect it with delivery="at-least-once".'
            )
        lanes: dict[str, list[Waiting]] = {}
        for event in await self._db.run(lambda tx: _select(tx, _PENDING, (batch,))):
            lanes.setdefault(event.key or event.id, []).append(event)
        sent: list[int] = []
        try:
            await asyncio.gather(*(self._send(client, lane, sent) for lane in lanes.values()))
        finally:
            if sent:
                await self._db.run(lambda tx: _mark(tx, "sent = ?", time.time(), sent))
        return len(sent)

    async def _send(self, client: Client, lane: Iterable[Waiting], sent: list[int]) -> None:
        """The events of one key, in order, until one cannot be sent."""
        for event in lane:
            try:
                await client.emit(event.pattern, event.data, headers=event.headers, message_id=event.id)
                sent.append(event.position)
            except AWAY as error:
                log.warning("the event %s stays in the outbox: %s", event.id, error)
                return
            except UsageError as error:
                log.error("the event %s cannot be sent and is set aside: %s", event.id, error)
                reason = str(error)
                await self._db.run(lambda tx: _mark(tx, "error = ?", reason, [event.position]))  # noqa: B023 - at once
                return

    async def waiting(self) -> list[Waiting]:
        """What has not been sent yet, oldest first; what was set aside has an `error`."""
        return await self._db.run(lambda tx: _select(tx, f"{_SELECT} WHERE sent IS NULL ORDER BY position"))

    async def retry(self, id: str) -> None:
        """Try an event again that was set aside."""
        await self._db.run(lambda tx: tx.execute("UPDATE outbox SET error = NULL WHERE id = ? AND sent IS NULL", (id,)))

    async def drop(self, id: str) -> None:
        """Give up an event that was set aside; the later ones of its key go on."""
        await self._db.run(lambda tx: tx.execute("DELETE FROM outbox WHERE id = ? AND error IS NOT NULL", (id,)))

    async def purge(self, age: float) -> int:
        """Forget events that were sent more than `age` seconds ago. Returns how many."""
        before = time.time() - age
        return await self._db.run(lambda tx: tx.execute("DELETE FROM outbox WHERE sent < ?", (before,)).rowcount)


_TABLES = (
    """CREATE TABLE IF NOT EXISTS outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, pattern BLOB NOT NULL, data BLOB NOT NULL,
        key TEXT, headers BLOB NOT NULL, sent REAL, error TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (position) WHERE sent IS NULL",
)
_SELECT = "SELECT position, id, pattern, data, key, headers, error FROM outbox"
_PENDING = f"""{_SELECT} WHERE sent IS NULL AND error IS NULL AND (key IS NULL OR key NOT IN
    (SELECT key FROM outbox WHERE sent IS NULL AND error IS NOT NULL AND key IS NOT NULL)) ORDER BY position LIMIT ?"""


def _select(tx: sqlite3.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Waiting]:
    read = messages.decode
    rows = tx.execute(query, values).fetchall()
    return [
        Waiting(position, id, read(pattern), read(data), key, read(headers), error)
        for position, id, pattern, data, key, headers, error in rows
    ]


def _mark(tx: sqlite3.Connection, change: str, value: Any, positions: Iterable[int]) -> None:
    tx.executemany(f"UPDATE outbox SET {change} WHERE position = ?", [(value, position) for position in positions])
