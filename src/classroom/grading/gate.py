"""The gate: the one way in and out of a sandbox, a unix socket on which the grader decides about each connection.

    out PORT         a process inside wants a server of this machine: only those that its task needs
    in NUMBER open   a connection to a server inside, as the grader asked for
    control          the sandbox's first process waits for what the grader asks for
    ask              the driver of functions (elsewhere.py) waits for calls

What comes in here is written by code that is not trusted. The first line is short and is parsed, the rest is bytes:
counted, cut off where it is too much, and passed on. A port that is not allowed is closed without a word. The call to
the ledger is the one message that the gate reads (`Ledger`): it puts in who calls, so that nobody can sign as another.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from classroom.grading.taps import Direction, Tap
from classroom.ledger.wire import MAX_LINE

__all__ = ["HOLD", "Gate", "Ledger", "Server", "Wire"]

HOST = "127.0.0.1"
CHUNK = 65536
FIRST_LINE = 64  # bytes
PATIENCE = 10.0  # seconds for what takes milliseconds
MOST = 256  # connections at once
HOLD = 0.3  # seconds that the ledger is slow for a process that is to die after an ack: work begun is not yet done

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire(Protocol):
    """What becomes of connections to one port of this machine."""

    async def carry(self, gate: Gate, port: int, inside: Ends) -> None: ...


class Server:
    """A server of this machine: bytes both ways, looked at by a tap where there is one for its protocol."""

    def __init__(self, tap: Callable[[Direction], Tap] | None = None) -> None:
        self._tap = tap

    async def carry(self, gate: Gate, port: int, inside: Ends) -> None:
        outside = await asyncio.open_connection(HOST, port)
        taps = (self._tap("out"), self._tap("in")) if self._tap else (None, None)
        await gate.join(inside, outside, *taps)


class Ledger:
    """The ledger's write address: one line a connection. The caller's name in it is put there here."""

    async def carry(self, gate: Gate, port: int, inside: Ends) -> None:
        line = await inside[0].readuntil(b"\n")
        if gate.holds_ledger:
            await asyncio.sleep(HOLD)
        if gate.closed:
            return
        outside = await asyncio.open_connection(HOST, port, limit=MAX_LINE * 2)
        try:
            outside[1].write(gate.signed(line))
            inside[1].write(await outside[0].read(-1))
            await inside[1].drain()
        finally:
            outside[1].transport.abort()


class Gate:
    """One sandbox's gate. All of it runs on one event loop, that of the services.

    Attributes:
        caller: who calls the ledger, as its rows shall say.
        watch: called with what passes ("deliver", "ack", "publish"); its answer "before" or "after" kills the sandbox
            before or after that piece is passed on.
        kill: ends the sandbox at once; set by who has started it.
        holds_ledger: whether calls to the ledger wait for a moment.
        trouble: why the gate was closed for good; "" while all is well.
    """

    def __init__(self, folder: Path, wires: dict[int, Wire], most: int, caller: dict[str, Any]) -> None:
        self.path = folder / "gate"
        self.wires, self.caller, self.trouble = wires, caller, ""
        self.watch: Callable[[str], str] = lambda _: ""
        self.kill: Callable[[], object] = lambda: None
        self.holds_ledger = self.closed = False
        self.asked: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
        self._left, self._most = most, MOST
        self._control: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
        self._heard: dict[str, asyncio.Event] = {}  # what was asked for -> whether it is done
        self._led = set(wires)  # the ports that are open inside
        self._dialled: dict[int, asyncio.Future[Ends | None]] = {}
        self._numbers = itertools.count(1)
        self._servers: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(self.path))
        self.path.chmod(0o666)  # its folder is ours alone; the sandbox's user is another one
        self._listen(made, self._entered, unix=True)

    def _listen(self, made: socket.socket, taken: Callable[..., Coroutine[Any, Any, None]], unix: bool = False) -> None:
        made.listen(128)
        made.setblocking(False)
        self._servers.append(made)
        start: Any = asyncio.start_unix_server if unix else asyncio.start_server
        self._spawn(start(lambda r, w: self._spawn(self._bounded(taken, r, w)), sock=made, limit=MAX_LINE * 2))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bounded(self, taken: Callable[..., Coroutine[Any, Any, None]], *ends: Any) -> None:
        """One connection, from its first to its last byte. What it does wrong ends it, and nothing else."""
        writer: asyncio.StreamWriter = ends[1]
        if len(self._writers) >= self._most or self.closed:
            writer.transport.abort()
            return
        self._writers.add(writer)
        errors = (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError, RecursionError)
        with contextlib.suppress(*errors):
            await taken(ends)
        self._writers.discard(writer)
        writer.close()

    async def _entered(self, inside: Ends) -> None:
        async with asyncio.timeout(PATIENCE):
            line = await inside[0].readuntil(b"\n")
        verb, *words = line[:FIRST_LINE].decode("ascii").split()
        if verb == "out" and (wire := self.wires.get(int(words[0]))) is not None:
            await wire.carry(self, int(words[0]), inside)
        elif verb == "in" and (waiting := self._dialled.pop(int(words[0]), None)) is not None and not waiting.done():
            waiting.set_result(inside if words[1] == "open" else None)
            await self._until_closed(inside)
        elif verb in ("control", "ask"):
            first = self._control if verb == "control" else self.asked
            if not first.done():
                first.set_result(inside)
                await (self._hear(inside) if verb == "control" else self._until_closed(inside))

    async def _hear(self, inside: Ends) -> None:
        while line := await inside[0].readline():
            if (heard := self._heard.get(line[:FIRST_LINE].decode("ascii").strip())) is not None:
                heard.set()

    async def _until_closed(self, inside: Ends) -> None:
        with contextlib.suppress(Exception):
            await inside[1].wait_closed()

    # what the grader asks for

    async def allow(self, port: int, wire: Wire) -> None:
        """Lead a port of the sandbox's loopback to the same port of this machine; returns when it is open inside.

        Where nobody listens here, nobody listens inside: a connection is refused there, too.
        """
        listens = await _listens(port)
        words = f"{'listen' if listens else 'close'} {port}"
        async with asyncio.timeout(PATIENCE):
            if listens != (port in self._led):
                self.wires.setdefault(port, wire)
                (self._led.add if listens else self._led.discard)(port)
                self._heard[words] = asyncio.Event()
                _, writer = await asyncio.shield(self._control)
                writer.write(f"{words}\n".encode())
            if words in self._heard:
                await self._heard[words].wait()

    def publish(self, port: int) -> None:
        """Serve a port of this machine by the server that listens at the same port inside."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))

        async def taken(outside: Ends) -> None:
            number = next(self._numbers)
            waiting = self._dialled[number] = asyncio.get_running_loop().create_future()
            _, control = await asyncio.shield(self._control)
            control.write(f"dial {number} {port}\n".encode())
            inside = await waiting
            if inside is None:
                outside[1].transport.abort()
            else:
                await self.join(inside, outside)

        self._listen(made, taken)

    def signed(self, line: bytes) -> bytes:
        """A call to the ledger with its caller's name put in; what is no call stays, for the ledger to refuse."""
        with contextlib.suppress(ValueError, RecursionError):
            call = json.loads(line)
            if isinstance(call, dict):
                return json.dumps(call | {"caller": self.caller}).encode() + b"\n"
        return line

    # bytes

    async def join(self, inside: Ends, outside: Ends, tap_out: Tap | None = None, tap_in: Tap | None = None) -> None:
        """Two connections, both ways, to their ends."""
        try:
            await asyncio.gather(
                self._pass(inside[0], outside[1], tap_out, self._count), self._pass(outside[0], inside[1], tap_in)
            )
        finally:
            for _, writer in (inside, outside):
                writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap | None, count: Any = None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if count and not count(len(data)):
                    return
                for piece, what in tap.feed(data) if tap else [(data, "")]:
                    fate = self.watch(what) if what else ""
                    if fate != "before":
                        writer.write(piece)
                    if fate:
                        self.kill()
                        writer.close()
                        return
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.close()

    def _count(self, size: int) -> bool:
        self._left -= size
        if self._left < 0:
            self.stop_for("it sent more bytes through the gate than a task needs")
        return self._left >= 0

    def stop_for(self, why: str) -> None:
        """End the sandbox for breaking a limit."""
        self.trouble = self.trouble or why
        self.kill()

    def close(self) -> None:
        """No connection any more, and no server. Twice is harmless."""
        self.closed = True
        for one in self._servers:
            if one.fileno() >= 0:  # else a socket that gets the same number would never be heard
                asyncio.get_running_loop().remove_reader(one)
                one.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        waiting: list[asyncio.Future[Any]] = [self.asked, self._control, *self._dialled.values()]
        for future in waiting:
            future.cancel()
        self.path.unlink(missing_ok=True)


async def _listens(port: int) -> bool:
    """Whether somebody takes connections at a port of this machine."""
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.transport.abort()
    return True
