"""A TCP proxy: whoever connects to it reaches its target, through the toxics that are on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from random import Random

from classroom.faults.pipe import END, RESET, Chunk, Pipe
from classroom.faults.toxics import Cut, Toxic

DIRECTIONS = ("upstream", "downstream")  # from the client to the target, and back
LATE_BYTES = 64 * 1024  # of a client that sends before the target is reached; then it has to wait
LINGER_OFF = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN


@dataclass(frozen=True, eq=False)
class ActiveToxic:
    """A toxic that is on: where, on which part of the connections (0 to 1), and the seed of its choices."""

    toxic: Toxic
    directions: tuple[str, ...]
    toxicity: float
    seed: int

    def chooses(self, number: int) -> bool:
        """Whether the connection of this number is one of those."""
        return self.toxicity >= 1 or Random(f"{self.seed} {number}").random() < self.toxicity


class Side(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self) -> None:
        self.full = False  # whether it takes no more now
        self.ended = False  # whether it was told the end of what the other side sends
        self.pipe: Pipe  # what is read here goes there
        self.back: Pipe  # what is written here comes from there
        self.connection: Connection
        self.transport: asyncio.Transport | None = None
        self._waiting: list[Chunk] = []
        self._waiting_bytes = 0
        self._held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.full = False
        waiting, self._waiting = self._waiting, []
        for chunk in waiting:
            self.deliver(chunk)

    def data_received(self, data: bytes) -> None:
        self.pipe.take(data)

    def eof_received(self) -> bool:
        self.connection.on_end(self)
        self.pipe.take(b"", END)
        return True  # the other direction may still be in use

    def connection_lost(self, error: Exception | None) -> None:
        if self.connection.alive:
            self.connection.on_end(self)
            self.pipe.take(b"", RESET if error else END)

    def pause_writing(self) -> None:
        self.full = True
        self.back.regulate()

    def resume_writing(self) -> None:
        self.full = False
        self.back.regulate()

    def deliver(self, chunk: Chunk) -> None:
        """Send what has come through."""
        if self.transport is None:
            self._waiting.append(chunk)
            self._waiting_bytes += len(chunk.data)
            self.full = self._waiting_bytes > LATE_BYTES
        elif chunk.ends == RESET:
            self.connection.reset()
        elif chunk.ends == END:
            self.ended = True
            self.connection.on_ended(self)
        elif not self.transport.is_closing():
            self.connection.proxy.passed[self.back.direction] += len(chunk.data)
            self.transport.write(chunk.data)

    def hold(self, held: bool) -> None:
        """Read no more for now, so that TCP makes the sender wait; or read on."""
        if self.transport is not None and held != self._held:
            self._held = held
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def abort(self) -> None:
        """End with a RST."""
        if self.transport is not None:
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
            self.transport.abort()


class Connection:
    """A client's connection and the one to the target that belongs to it."""

    def __init__(self, proxy: Proxy, client: Side, number: int) -> None:
        self.proxy, self.number, self.alive = proxy, number, True
        self.client, self.server = client, Side()
        client.connection = self.server.connection = self
        client.pipe = self.server.back = Pipe(number, "upstream", client, self.server, self)
        self.server.pipe = client.back = Pipe(number, "downstream", self.server, client, self)
        for active in proxy.toxics.values():
            self.add(active)
        self._dialling = False
        self._dial = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        """Connect to the target; not while the link is cut, for no packet would reach it."""
        await self.proxy.whole.wait()
        self._dialling = True
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, *self.proxy.target)
        except OSError:  # nobody answers there
            self.reset()
        else:
            self.client.pipe.regulate()

    def add(self, active: ActiveToxic) -> None:
        if active.chooses(self.number):
            for direction in active.directions:
                self._pipes[direction].add(active.toxic, active.seed)

    def remove(self, active: ActiveToxic) -> None:
        for direction in active.directions:
            if self.alive:
                self._pipes[direction].remove(active.toxic)

    @property
    def _pipes(self) -> dict[str, Pipe]:
        return {"upstream": self.client.pipe, "downstream": self.server.pipe}

    def on_end(self, side: Side) -> None:
        """A side has sent its last byte. A client that gives up before the target was dialled was never heard of."""
        if side is self.client and not self._dialling:
            self.reset()

    def on_ended(self, side: Side) -> None:
        """A side was told the end: half of the connection is closed, or all of it."""
        assert side.transport is not None
        if self.client.ended and self.server.ended:
            self.close()
        elif side.transport.can_write_eof() and not side.transport.is_closing():
            with contextlib.suppress(OSError):  # it has gone itself
                side.transport.write_eof()

    def close(self) -> None:
        """Send what has come through, then close both sides."""
        self._forget()
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.close()

    def reset(self) -> None:
        """End both sides by RST."""
        self._forget()
        self.client.abort()
        self.server.abort()

    def _forget(self) -> None:
        self.alive = False
        self._dial.cancel()
        self.proxy.connections.discard(self)
        for pipe in self._pipes.values():
            pipe.end()


class Proxy:
    """Listens at one address and connects to another."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.connections: set[Connection] = set()
        self.toxics: dict[str, ActiveToxic] = {}
        self.passed: Counter[str] = Counter()  # bytes, by direction
        self.whole = asyncio.Event()  # not cut
        self.whole.set()
        self._count = 0
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Take connections from now on; the port. Raises OSError when that is taken."""
        self._server = await asyncio.get_running_loop().create_server(self._client, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more, and close what is open."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()

    def _client(self) -> Side:
        return _Client(self)

    def accept(self, client: Side) -> None:
        self._count += 1
        self.connections.add(Connection(self, client, self._count))

    def add(self, ident: str, active: ActiveToxic) -> None:
        """Turn a toxic on, for the connections there are and all new ones."""
        self.toxics[ident] = active
        self._look()
        for connection in list(self.connections):
            connection.add(active)

    def remove(self, ident: str) -> None:
        """Turn it off. Twice is harmless."""
        active = self.toxics.pop(ident, None)
        self._look()
        if active is not None:
            for connection in list(self.connections):
                connection.remove(active)

    def heal(self) -> None:
        """End every cut."""
        for ident in [ident for ident, active in self.toxics.items() if isinstance(active.toxic, Cut)]:
            self.remove(ident)

    def _look(self) -> None:
        if any(isinstance(active.toxic, Cut) for active in self.toxics.values()):
            self.whole.clear()
        else:
            self.whole.set()


class _Client(Side):
    """The side that has connected to us."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.accept(self)
