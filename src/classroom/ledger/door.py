"""An address of the ledger's process: one line in, one answer out, the connection closed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from classroom.ledger.store import Full
from classroom.ledger.wire import MAX_LINE, Refused

__all__ = ["MOST_CALLS", "Caller", "Door", "LostReply"]

HOST = "127.0.0.1"
MOST_CALLS = 1000  # under way at once; more are refused
LINE_LIMIT = 10.0  # seconds that a caller may take to send its line
HEAR_OUT = 1.0  # seconds


class LostReply(Exception):
    """The effect has taken place; its caller must not learn of it."""


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def gone(self) -> bool:
        """Whether nothing can be answered any more."""
        return self.writer.is_closing()


Answer = Callable[[bytes, Caller], Awaitable[Any]]


class Door:
    """One address: reads a line of each connection, answers, closes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._callers: set[Caller] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._serve, HOST, port, limit=MAX_LINE, backlog=MOST_CALLS)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more, and cut the connections that stand. Calls under way go on; nobody learns their end."""
        if self._server is not None:
            self._server.close()
        for caller in self._callers:
            caller.writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = Caller(reader, writer)
        self._callers.add(caller)
        with contextlib.suppress(ConnectionError):
            try:
                writer.write(msgspec.json.encode({"answer": await self._answered(caller)}) + b"\n")
            except Refused as error:
                refusal = {"status": error.status, "message": str(error)}
                writer.write(msgspec.json.encode({"error": refusal}) + b"\n")
                await self._hear_out(caller)
            except LostReply:
                writer.transport.abort()
            finally:
                self._callers.discard(caller)
                writer.close()

    async def _hear_out(self, caller: Caller) -> None:
        """Read what else is sent, for a moment: a connection closed with unread bytes would lose the answer."""
        caller.writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAR_OUT):
                while await caller.reader.read(MAX_LINE):
                    pass

    async def _answered(self, caller: Caller) -> Any:
        if len(self._callers) > MOST_CALLS:
            raise Refused(429, f"{len(self._callers):,} calls at once, of at most {MOST_CALLS:,}. Nothing was done.")
        try:
            async with asyncio.timeout(LINE_LIMIT):
                line = await caller.reader.readuntil(b"\n")
            return await self._answer(line, caller)
        except TimeoutError:
            raise Refused(408, f"no whole line within {LINE_LIMIT:g} s. Nothing was done.") from None
        except asyncio.LimitOverrunError:
            raise Refused(413, f"a line of more than {MAX_LINE:,} bytes. Nothing was done.") from None
        except asyncio.IncompleteReadError:
            raise Refused(400, "a call ends with a newline; this one did not. Nothing was done.") from None
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise Refused(400, f"{error}. Nothing was done.") from None
        except Full as error:
            raise Refused(507, str(error)) from None
        except (sqlite3.Error, OSError) as error:
            raise Refused(500, str(error)) from None
