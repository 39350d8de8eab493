"""What a saga writes down, in SQLite: one row a saga, one a step. saga.py decides; here is each move's transaction.

Every write names its owner: a process whose lease ran out, and whose saga another has taken over, cannot write.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Literal

from . import messages
from .database import Database
from .errors import PostOfficeError, UsageError

__all__ = ["FINAL", "LeaseLost", "Outcome", "Phase", "SagaBusy", "SagaLog", "SagaState"]

SagaState = Literal["running", "compensating", "done", "compensated", "needs a human"]
Phase = Literal["doing", "done", "refused", "unknown", "undoing", "undone", "stuck"]
FINAL = ("done", "compensated", "needs a human")
MAX_ERROR = 500  # characters of an error that are kept


class SagaBusy(PostOfficeError):
    """Another process runs this saga, or died less than a lease ago. This call did nothing."""


class LeaseLost(PostOfficeError):
    """This process was silent for longer than its lease, and another one has taken the saga over."""

    may_have_happened = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a saga stands.

    Attributes:
        id: the saga's. state: `done`, `compensated` and `needs a human` are ends. data: as given to `run`.
        results: what each finished step returned. steps: the phase of each step that was begun, in order: doing, done,
            refused (nothing was done), unknown (its tries are used up), undoing, undone, stuck (could not be undone).
        error: the first error, if there was one.
    """

    id: str
    state: SagaState
    data: Any
    results: dict[str, Any]
    steps: dict[str, Phase]
    error: str | None


class SagaLog:
    """The runs of one kind of saga.

    Args:
        name: of the kind. lease: seconds that each write keeps others away.
    """

    def __init__(self, db: Database, name: str, lease: float) -> None:
        self._db, self._name, self._lease = db, name, lease
        db.tables(*_TABLES)

    async def begin(self, id: str, data: Any) -> None:
        """Write a new saga down. One with this id and these data may be there already."""
        text = messages.encode(data)

        def write(tx: sqlite3.Connection) -> None:
            tx.execute("INSERT OR IGNORE INTO sagas (name, id, data) VALUES (?, ?, ?)", (self._name, id, text))
            if self._read(tx, id).data != messages.decode(text):
                raise UsageError(
                    f"a saga {self._name!r} with the id {id!r} is there, with other data. Choose another id."
                )

        await self._db.run(write)

    async def claim(self, id: str, owner: str) -> Outcome:
        """Take a saga over, unless it has ended. Raises SagaBusy, or UsageError where there is no such saga."""

        def write(tx: sqlite3.Connection) -> Outcome:
            outcome, now = self._read(tx, id), time.time()
            if outcome.state not in FINAL:
                query = "UPDATE sagas SET owner = ?, until = ? WHERE name = ? AND id = ? AND until <= ?"
                if not tx.execute(query, (owner, now + self._lease, self._name, id, now)).rowcount:
                    raise SagaBusy(
                        f"another process runs the saga {id!r}, or died less than {self._lease:g} s ago."
                        " This call did nothing. `resume` goes on with it later."
                    )
            return outcome

        return await self._db.run(write)

    async def renew(self, id: str, owner: str) -> None:
        """The owner is alive. Raises LeaseLost."""
        await self._db.run(lambda tx: self._ours(tx, id, owner))

    async def release(self, id: str, owner: str) -> None:
        """The owner stops before the end; another may begin at once."""
        query = "UPDATE sagas SET until = 0 WHERE name = ? AND id = ? AND owner = ?"
        await self._db.run(lambda tx: tx.execute(query, (self._name, id, owner)))

    async def begin_try(self, id: str, owner: str, step: str, phase: Phase) -> int:
        """Write down that a step is about to be done or undone; returns the number of this try, crashes included."""

        def write(tx: sqlite3.Connection) -> int:
            self._ours(tx, id, owner)
            tx.execute(
                """INSERT INTO saga_steps (name, id, step, phase, tries) VALUES (?, ?, ?, ?, 1)
                ON CONFLICT DO UPDATE SET phase = excluded.phase,
                    tries = CASE WHEN phase = excluded.phase THEN tries + 1 ELSE 1 END""",
                (self._name, id, step, phase),
            )
            query = "SELECT tries FROM saga_steps WHERE name = ? AND id = ? AND step = ?"
            return int(tx.execute(query, (self._name, id, step)).fetchone()[0])

        return await self._db.run(write)

    async def note(
        self, id: str, owner: str, step: str, phase: Phase, *, result: bytes | None = None, error: str | None = None
    ) -> None:
        """Write down how a step ended; a step that could not be done turns its saga to compensating at once."""

        def write(tx: sqlite3.Connection) -> None:
            self._ours(tx, id, owner)
            query = (
                "UPDATE saga_steps SET phase = ?, result = coalesce(?, result) WHERE name = ? AND id = ? AND step = ?"
            )
            tx.execute(query, (phase, result, self._name, id, step))
            if phase in ("refused", "unknown"):
                self._set(tx, id, "state", "compensating")
            if error is not None:
                self._set(tx, id, "error", f"{step}: {error}"[:MAX_ERROR], " AND error IS NULL")

        await self._db.run(write)

    async def end(self, id: str, owner: str, state: SagaState) -> None:
        """The saga has ended so."""

        def write(tx: sqlite3.Connection) -> None:
            self._ours(tx, id, owner)
            self._set(tx, id, "state", state)

        await self._db.run(write)

    async def again(self, id: str) -> None:
        """Let what could not be undone be tried once more. Raises UsageError where no human is needed."""

        def write(tx: sqlite3.Connection) -> None:
            if (state := self._read(tx, id).state) != "needs a human":
                raise UsageError(f"the saga {id!r} is {state!r}; only one that needs a human can be tried again.")
            tx.execute("UPDATE sagas SET state = 'compensating', until = 0 WHERE name = ? AND id = ?", (self._name, id))
            query = "UPDATE saga_steps SET phase = 'undoing', tries = 0 WHERE name = ? AND id = ? AND phase = 'stuck'"
            tx.execute(query, (self._name, id))

        await self._db.run(write)

    async def read(self, id: str) -> Outcome:
        """Where a saga stands. Raises UsageError where there is none of that id."""
        return await self._db.run(lambda tx: self._read(tx, id))

    async def ids(self, *, idle: bool = False) -> list[str]:
        """The ids of all, oldest first; `idle`: of those that have not ended and that nobody works on."""
        query = "SELECT id FROM sagas WHERE name = ?"
        if idle:
            query += " AND state IN ('running', 'compensating') AND until <= ?"
        values = (self._name, time.time()) if idle else (self._name,)
        return await self._db.run(lambda tx: [id for (id,) in tx.execute(f"{query} ORDER BY rowid", values)])

    def _ours(self, tx: sqlite3.Connection, id: str, owner: str) -> None:
        """Renew the lease with whatever is written, or refuse to write."""
        query = "UPDATE sagas SET until = ? WHERE name = ? AND id = ? AND owner = ?"
        if not tx.execute(query, (time.time() + self._lease, self._name, id, owner)).rowcount:
            raise LeaseLost(
                f"another process has taken the saga {id!r} over, since this one was silent for {self._lease:g} s."
                " It goes on there; this process stops."
            )

    def _set(self, tx: sqlite3.Connection, id: str, column: str, value: str, condition: str = "") -> None:
        tx.execute(f"UPDATE sagas SET {column} = ? WHERE name = ? AND id = ?{condition}", (value, self._name, id))

    def _read(self, tx: sqlite3.Connection, id: str) -> Outcome:
        where = "WHERE name = ? AND id = ?"
        row = tx.execute(f"SELECT state, data, error FROM sagas {where}", (self._name, id)).fetchone()
        if row is None:
            raise UsageError(f"there is no saga {self._name!r} with the id {id!r}.")
        query = f"SELECT step, phase, result FROM saga_steps {where} ORDER BY rowid"
        steps = tx.execute(query, (self._name, id)).fetchall()
        results = {step: messages.decode(result) for step, _, result in steps if result is not None}
        return Outcome(id, row[0], messages.decode(row[1]), results, {step: phase for step, phase, _ in steps}, row[2])


_TABLES = (
    """CREATE TABLE IF NOT EXISTS sagas (
        name TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'running', error TEXT,
        owner TEXT NOT NULL DEFAULT '', until REAL NOT NULL DEFAULT 0, PRIMARY KEY (name, id)
    )""",
    """CREATE TABLE IF NOT EXISTS saga_steps (
        name TEXT NOT NULL, id TEXT NOT NULL, step TEXT NOT NULL, phase TEXT NOT NULL, result BLOB,
        tries INTEGER NOT NULL, PRIMARY KEY (name, id, step)
    )""",
)
