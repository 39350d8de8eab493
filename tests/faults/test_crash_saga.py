"""A saga's process killed -9 at every step: each saga ends, and the money adds up."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from crashes import MortalDatabase, crash_everywhere, step

from postoffice import PermanentError, Retry
from postoffice.saga import Call, Saga, Step

RETRY = Retry(attempts=9, initial=0.001, max=0.001, jitter=0)  # more than a life can be killed


class Bank:
    """The owner of the effects: keeps each call in a file of its own, and each key counts once."""

    def __init__(self, folder: Path) -> None:
        self._file = sqlite3.connect(folder / "bank.db", isolation_level=None)
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.execute("CREATE TABLE IF NOT EXISTS moves (key TEXT PRIMARY KEY, what TEXT, undoes TEXT)")
        self._file.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT)")

    def verb(self, what: str, error: Exception | None = None) -> Callable[[Call], Awaitable[Any]]:
        async def call(call: Call) -> str:
            step(f"before {what}")
            self._file.execute("INSERT INTO calls VALUES (?)", (call.key,))
            if error is not None:
                raise error
            self._file.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?)", (call.key, what, call.undoes))
            step(f"after {what}")
            return what

        return call

    def moves(self) -> list[str]:
        return [what for (what,) in self._file.execute("SELECT what FROM moves ORDER BY rowid")]


async def _life(folder: Path, mail: Exception | None, recall: Exception | None) -> None:
    bank = Bank(folder)
    steps = [
        Step("charge", bank.verb("charge"), bank.verb("refund")),
        Step("ship", bank.verb("ship"), bank.verb("recall", recall)),
        Step("mail", bank.verb("mail", mail)),
    ]
    with contextlib.suppress(sqlite3.OperationalError), sqlite3.connect(folder / "sagas.db") as before:
        before.execute("UPDATE sagas SET until = 0")  # to start again took longer than the lease
    async with MortalDatabase(folder / "sagas.db") as db:
        saga = Saga("order", steps, db, retry=RETRY)
        await saga.resume()
        outcome = await saga.run("7", {"total": 10})
        assert await saga.resume() == []
        (folder / "state").write_text(outcome.state)


async def good_life(folder: Path) -> None:
    await _life(folder, None, None)


async def refused_life(folder: Path) -> None:
    await _life(folder, PermanentError("no such address"), None)


async def stuck_life(folder: Path) -> None:
    await _life(folder, PermanentError("no such address"), PermanentError("it has left"))


@pytest.mark.parametrize(
    ("life", "state", "moves"),
    [
        ("good_life", "done", ["charge", "ship", "mail"]),
        ("refused_life", "compensated", ["charge", "ship", "recall", "refund"]),
        ("stuck_life", "needs a human", ["charge", "ship", "refund"]),
    ],
)
def test_killed_at_every_step(tmp_path: Path, life: str, state: str, moves: list[str]) -> None:
    """Twice each. It ends as it would have without the crashes; each key counted once; a crash repeats one call."""
    lives = crash_everywhere(__file__, life, tmp_path)
    assert {f"{when} charge" for when in ("before", "after")} <= {step for one in lives for step in one["steps"]}
    for one in lives:
        folder = Path(one["folder"])
        assert (folder / "state").read_text() == state, one
        bank = Bank(folder)
        assert bank.moves() == moves, one
        calls = bank._file.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
        assert calls[0] - calls[1] <= 2, "one repeated call a crash, at the most"
        bank._file.close()
