"""SQLite for outbox, saga, event store and idempotency keys: transactions that outlive the process.

    db = Database("orders.db")
    await db.run(lambda tx: tx.execute("INSERT INTO orders VALUES (?, ?)", (7, "placed")))

Guarantee: what `run` was given happens wholly or not at all, and once `run` has returned it survives kill -9 and a
power cut (write-ahead log, synchronous=FULL). Several processes of one machine may use a file; they take turns.
Where it ends: not over a network file system, and a disk that lies about having written loses what it lied about.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from .errors import PostOfficeError, UsageError

__all__ = ["Database", "DatabaseBusy"]

BUSY_LIMIT = 10.0  # seconds to wait for another writer
T = TypeVar("T")


class DatabaseBusy(PostOfficeError, TimeoutError):
    """Another process held the file for longer than we wait. Nothing was written."""


class Database:
    """One SQLite file. Its work runs in one thread of its own, in order, so that the event loop is never blocked.

    Args:
        path: the file; made when it is not there, its folder is not. Opened when first used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._connection: sqlite3.Connection | None = None
        self._missing: list[str] = []  # statements of `tables` that have not been committed yet
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="postoffice database")

    def __repr__(self) -> str:
        return f"Database({self.path!r})"

    def tables(self, *statements: str) -> None:
        """Have these (CREATE ... IF NOT EXISTS) run before the next transaction's work."""
        self._missing = [*self._missing, *statements]

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work(tx)` as one transaction: committed when it returns, undone when it raises (and raised on).

        `work` is a plain function, for others wait while it runs. Whoever is cancelled here does not know whether the
        transaction was committed.

        Raises:
            DatabaseBusy: another writer held the file too long; nothing was written. UsageError: no such file can be.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    async def close(self) -> None:
        """Finish what has begun and close. Harmless when called twice."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        tx = self._connection = self._connection or self._open()
        try:
            tx.execute("BEGIN IMMEDIATE")  # a writer from the start: no deadlock between two that read first
        except sqlite3.OperationalError as error:
            raise self._busy(error) from error
        missing = self._missing
        try:
            for statement in missing:
                tx.execute(statement)
            result = work(tx)
            if inspect.iscoroutine(result):
                result.close()
                raise UsageError(
                    "the work of a transaction is a plain function, not an async one. Nothing was written."
                )
            tx.execute("COMMIT")
            self._missing = self._missing[len(missing) :]
            return result
        except BaseException:
            if tx.in_transaction:
                tx.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            tx = sqlite3.connect(self.path, timeout=BUSY_LIMIT, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise UsageError(
                f"{self.path} cannot be opened as a database ({error}). Does its folder exist, and may we write there?"
            ) from error
        try:
            self._settings(tx)
        except sqlite3.DatabaseError as error:
            tx.close()
            if isinstance(error, sqlite3.OperationalError):
                raise self._busy(error) from error
            raise UsageError(f"{self.path} is no SQLite database ({error}). Choose another file.") from error
        return tx

    @staticmethod
    def _settings(tx: sqlite3.Connection) -> None:
        """Write-ahead log and a flush at each commit. While another process changes the log, SQLite does not wait."""
        end = time.monotonic() + BUSY_LIMIT
        while True:
            try:
                tx.execute("PRAGMA journal_mode=WAL")
                tx.execute("PRAGMA synchronous=FULL")
                tx.execute("PRAGMA foreign_keys=ON")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _busy(self, error: sqlite3.OperationalError) -> PostOfficeError:
        return DatabaseBusy(
            f"{self.path} could not be written within {BUSY_LIMIT:g} s ({error}). Nothing was written."
            " Does another process keep a transaction open?"
        )
