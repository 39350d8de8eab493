"""The ledger's memory: one SQLite file, which a crash of the ledger's process does not harm."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec

__all__ = ["Call", "Caller", "Conflict", "Full", "Store"]

MOST_ROWS = 200_000  # calls that one ledger keeps; a campaign makes thousands
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

TABLE = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, done REAL NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    amount TEXT NOT NULL, key TEXT, fields TEXT NOT NULL, outcome TEXT NOT NULL, receipt INTEGER,
    replied INTEGER NOT NULL, service TEXT NOT NULL, replica INTEGER NOT NULL, pid INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_effect_per_key ON calls (kind, key) WHERE outcome = 'effect' AND key IS NOT NULL;
"""
COLUMNS = ("number", "at", "done", "kind", "id", "amount", "key", "fields", "outcome", "receipt", "replied",
           "service", "replica", "pid")  # fmt: skip
JSON_COLUMNS = ("id", "amount", "fields")


class Caller(msgspec.Struct, forbid_unknown_fields=True):
    """Who calls, as it says itself."""

    service: Annotated[str, msgspec.Meta(max_length=100)] = ""
    replica: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    pid: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """One call, checked: what a caller may send, and no more."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    id: int | Name
    amount: int | float | None = None
    key: Name | None = None
    fields: dict[str, Any] = {}
    caller: Caller = msgspec.field(default_factory=Caller)

    @property
    def payload(self) -> list[Any]:
        """What must be the same in every call with one idempotency key."""
        return [self.id, self.amount, self.fields]


class Conflict(Exception):
    """The idempotency key is known with another payload; the first one is in the message."""


class Full(Exception):
    """There is no room for more rows."""


class Store:
    """Calls in the order in which they took effect. Each method is done, and kept by the file, when it returns.

    Guarantee: what was answered is there after a SIGKILL of this process. (Not after a power cut: nothing is synced.)

    Args:
        path: the file; made when it is not there. most: how many rows it takes.
    """

    def __init__(self, path: Path, most: int = MOST_ROWS) -> None:
        self.most = most
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = OFF")
        self._base.executescript(TABLE)
        self._rows = self._base.execute("SELECT count(*) FROM calls").fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def record(self, call: Call, at: float, replied: bool) -> dict[str, Any]:
        """Let the call take effect, unless its key is known; the answer to give.

        `at` is when it arrived, in unix seconds; `replied` whether the answer will be sent.
        Raises Conflict, which is recorded too, and Full, where nothing is recorded.
        """
        self._room()
        if call.key is None or (first := self._first(call.kind, call.key)) is None:
            self._add(call, at, "effect", self._rows + 1, replied)
            return _answer(self._rows, call.kind, json.dumps(call.id), json.dumps(call.amount), at)
        number, ident, amount, fields, first_at = first
        payload = [json.loads(one) for one in (ident, amount, fields)]
        if payload != call.payload:
            self._add(call, at, "conflict", None, replied)
            raise Conflict(
                f"the idempotency key {call.key!r} was used before for another {call.kind} (row {number}:"
                f" {_shown(payload)}); this call says {_shown(call.payload)}. Nothing was done. A key stands for one"
                " piece of work: take a new key for new work, and repeat the same payload under the old one."
            )
        self._add(call, at, "repeat", number, replied)
        return _answer(number, call.kind, ident, amount, first_at)

    def fail(self, call: Call, at: float) -> None:
        """Record a call that failed before its effect. Raises Full."""
        self._room()
        self._add(call, at, "failed", None, True)

    def rows(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` rows behind the one with number `after`."""
        found = self._base.execute(
            f"SELECT {', '.join(COLUMNS)} FROM calls WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
        return [_read(dict(zip(COLUMNS, row, strict=True))) for row in found]

    def _room(self) -> None:
        if self._rows >= self.most:
            raise Full(f"the ledger is full: it has {self._rows:,} rows of at most {self.most:,}. Nothing was done.")

    def _first(self, kind: str, key: str) -> tuple[int, str, str, str, float] | None:
        found: tuple[int, str, str, str, float] | None = self._base.execute(
            "SELECT number, id, amount, fields, at FROM calls WHERE kind = ? AND key = ? AND outcome = 'effect'",
            (kind, key),
        ).fetchone()
        return found

    def _add(self, call: Call, at: float, outcome: str, receipt: int | None, replied: bool) -> None:
        texts = (json.dumps(call.id), json.dumps(call.amount), call.key, json.dumps(call.fields))
        who = (call.caller.service, call.caller.replica, call.caller.pid)
        values = (self._rows + 1, at, time.time(), call.kind, *texts, outcome, receipt, replied, *who)
        self._base.execute(f"INSERT INTO calls VALUES ({', '.join('?' * len(COLUMNS))})", values)
        self._rows += 1


def _answer(number: int, kind: str, ident: str, amount: str, at: float) -> dict[str, Any]:
    """What a caller learns of an effect; every repeat learns the same."""
    return {"receipt": number, "kind": kind, "id": json.loads(ident), "amount": json.loads(amount), "at": at}


def _read(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.loads(row[name]) for name in JSON_COLUMNS} | {"replied": bool(row["replied"])}


def _shown(payload: list[Any]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in zip(("id", "amount", "fields"), payload, strict=True))
    return text if len(text) <= 120 else text[:119] + "…"
