"""The ledger as its reader holds it: `book = await start_ledger()`. It reads, and it breaks the ledger on demand."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import weakref
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from classroom.brokers.ports import HOST, Port
from classroom.ledger.client import URL
from classroom.ledger.rows import Row, Rows
from classroom.ledger.wire import NoAnswer, Refused, ask
from classroom.supervisor import Child, supervisor

__all__ = ["Book", "Fault", "LedgerError", "start_ledger"]

READY_LIMIT = 30.0  # seconds; it takes a few tenths
ANSWER_LIMIT = 10.0  # seconds for what takes milliseconds
POLL = 0.02  # seconds between two looks at the rows
PAGE = 1000  # rows asked for at once
HEALTHY = {"slow": 0.0, "failing": 0, "after_effect": False, "down": False}

_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


class LedgerError(Exception):
    """The ledger cannot be started, read or broken. The message says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook: the message alone."""
        return [f"{type(self).__name__}: {self}"]


class Fault:
    """A fault of the ledger. `async with` ends it with its block; awaited, it stays until `await book.up()`."""

    def __init__(self, book: Book, text: str, settings: dict[str, Any]) -> None:
        self._book, self._text, self._settings = book, text, settings
        self._before: dict[str, Any] = {}

    def __await__(self) -> Generator[Any, None, None]:
        return self._begin().__await__()

    async def _begin(self) -> None:
        self._before = await self._book._change(self._settings)

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._book.alive:  # one that has ended starts healthy
            await self._book._change({name: self._before[name] for name in self._settings})

    def __repr__(self) -> str:
        return f"<{self._text} of the ledger: `async with` it, or await it and end it by `await book.up()`>"


class Book:
    """A ledger that runs: its address to write is `url`, and stays the same. It ends with the kernel at the latest."""

    def __init__(self, port: Port, folder: Path) -> None:
        self.url = f"tcp://{HOST}:{port.number}"
        self._port, self._folder = port, folder
        self._child: Child | None = None
        self._control, self._token = 0, ""
        self._faults = dict(HEALTHY)
        self._known: list[Row] = []  # those read before: a row never changes, and none goes away

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.alive

    async def rows(self, kind: str | None = None, *, after: int = 0) -> Rows:
        """Every call that came, in the order in which they took effect; of one kind, if one is given.

        The first `after` rows are left out, so that whoever looks again and again reads only what is new.

        Raises LedgerError when it cannot be read.
        """
        while page := await self._ask({"op": "rows", "after": len(self._known), "limit": PAGE}):
            # somebody else may have read the same page meanwhile
            self._known += [Row(**row) for row in page if row["number"] > len(self._known)]
        return Rows(row for row in self._known[after:] if kind in (None, row.kind))

    async def effects(self, kind: str | None = None) -> Rows:
        """The calls that took place: without repeats, conflicts and failures. Raises LedgerError."""
        return (await self.rows(kind)).effects

    async def wait(self, count: int, kind: str | None = None, timeout: float = 30.0) -> Rows:
        """Wait until so many calls have come (of one kind, if one is given); return all that are there then.

        Raises LedgerError after `timeout` seconds, with what has come.
        """
        end = asyncio.get_running_loop().time() + timeout
        while len(rows := await self.rows(kind)) < count:
            if asyncio.get_running_loop().time() > end:
                raise LedgerError(
                    f"{len(rows):,} of {count:,} calls have come to the ledger within {timeout:g} s. Is the service"
                    f" up, and does it handle what you sent? Its log is below its cell.\n{rows!r}"
                )
            await asyncio.sleep(POLL)
        return rows

    def slow(self, seconds: float) -> Fault:
        """Each call takes so long before it takes effect. A caller that gives up earlier does not stop it."""
        return Fault(self, f"slow({seconds:g})", {"slow": seconds})

    def failing(self, times: int | None = None, *, after_effect: bool = False) -> Fault:
        """The next calls fail: so many, or all of them when `times` is None.

        They fail before the effect (RpcError with status 503; nothing was done), or with `after_effect` after it: it
        has taken place, and the connection breaks without an answer (ConnectionLost).
        """
        text = f"failing(times={times}, after_effect={after_effect})"
        return Fault(self, text, {"failing": times, "after_effect": after_effect})

    def down(self) -> Fault:
        """Nobody can connect (ConnectError), and connections that stand are cut. It can still be read here."""
        return Fault(self, "down()", {"down": True})

    async def up(self) -> None:
        """End all its faults. Harmless when there are none."""
        await self._change(HEALTHY)

    def kill(self) -> None:
        """End its process at once by SIGKILL. Its rows stay; `await restart()` starts it with them."""
        if self._child is not None:
            self._child.kill()

    async def restart(self) -> None:
        """Start it again with the rows it has, at the same address, and without faults. Raises LedgerError."""
        if not self._folder.exists():
            raise LedgerError("this ledger was stopped, and its rows are gone. A new one: book = await start_ledger()")
        self.kill()
        # -P: no module of the folder that the notebook is in
        argv = [sys.executable, "-P", "-m", "classroom.ledger.process", str(self._folder)]
        argv += ["--port", str(self._port.number), "--ready-fd", "{ready_fd}"]
        try:
            self._child = supervisor().spawn(argv, log=self._folder / "output.log", pass_ready=True)
            ready = json.loads(await self._child.ready_line(READY_LIMIT))
        except Exception as error:
            self.kill()
            printed = self._child.tail(5) if self._child is not None else []
            raise LedgerError("\n".join([f"the ledger does not start: {error}. It printed:", *printed])) from error
        self._control, self._token, self._faults = ready["port"], ready["token"], dict(HEALTHY)

    async def stop(self) -> None:
        """End it and remove its rows. Twice is harmless."""
        global _running
        self._end()
        if _running is self:
            _running = None
            os.environ.pop(URL, None)

    def _end(self) -> None:
        self.kill()
        supervisor().forget(self._folder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        wrong = [name for name in ("slow", "failing", "down") if self._faults[name] not in (0, False)]
        state = ", ".join(wrong) or "healthy" if self.alive else "not running; await book.restart()"
        return f"<ledger at {self.url}: {state}>"

    async def _change(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Change some faults; what all of them were before."""
        before: dict[str, Any] = await self._ask({"op": "set", "faults": settings})
        self._faults = before | settings
        return before

    async def _ask(self, command: dict[str, Any]) -> Any:
        if not self.alive:
            raise LedgerError(
                "the ledger does not run. Start it with the rows it has: await book.restart(), or a new one:"
                " book = await start_ledger()"
            )
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                return await ask(HOST, self._control, msgspec.json.encode(command | {"token": self._token}))
        except Refused as error:
            raise LedgerError(f"the ledger refuses: {error}") from None
        except (TimeoutError, OSError, NoAnswer) as error:
            raise LedgerError(
                f"the ledger gives no answer ({type(error).__name__} {error}): await book.restart()"
            ) from error


_running: Book | None = None
_port: Port | None = None  # one for all ledgers of this process: a service that runs keeps the right address


async def start_ledger() -> Book:
    """Start the ledger of this notebook, empty, and tell its address to every process started from now on.

    One that runs already is replaced, at the same address. Raises LedgerError when it does not start.
    """
    global _running, _port
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if _running is not None:
            _running._end()
        _port = _port or Port()
        book = _running = Book(_port, supervisor().folder("ledger-"))
        os.environ[URL] = book.url  # at every moment: a service that is just being started, in another thread, reads it
        try:
            await book.restart()
        except BaseException:
            await book.stop()
            raise
        return book
