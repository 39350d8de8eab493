"""An address that counts what it gets, and a link before it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from classroom.brokers.ports import HOST
from classroom.faults import Link, start_link

LIMIT = 10.0  # seconds that any wait of these tests may take


class Echo:
    """Sends back what it gets. What it has seen: `arrived` (bytes, in pieces) and `ended`, "eof" or "reset" each."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.ended: list[str] = []
        self.opened = 0
        self.greeting = b""  # sent to whoever connects, who is then closed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            if self.greeting:
                writer.write(self.greeting)
                writer.close()
            while data := await reader.read(65536):
                self.arrived.append(data)
                writer.write(data)
                await writer.drain()
            self.ended.append("eof")
        except ConnectionError:
            self.ended.append("reset")
        finally:
            writer.close()


class Line:
    """A connection through the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def trip(self, data: bytes = b"x") -> float:
        """Seconds for a round trip, of which every byte comes back as it was."""
        begin = time.perf_counter()
        self.writer.write(data)
        async with asyncio.timeout(LIMIT):
            assert await self.reader.readexactly(len(data)) == data
        return time.perf_counter() - begin

    async def quickest(self, n: int = 5, data: bytes = b"x") -> float:
        return min([await self.trip(data) for _ in range(n)])

    async def how_it_ends(self) -> tuple[bytes, str]:
        """What comes until the end, and whether that is "eof" or "reset"."""
        got = b""
        async with asyncio.timeout(LIMIT):
            try:
                while data := await self.reader.read(65536):
                    got += data
            except ConnectionError:
                return got, "reset"
        return got, "eof"

    async def silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing comes for a while, and nothing ends."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


class Wire:
    """An echo, a link before it, and lines through it."""

    def __init__(self, echo: Echo, link: Link) -> None:
        self.echo, self.link = echo, link
        self._lines: list[Line] = []

    async def line(self) -> Line:
        host, _, port = self.link.url.rpartition(":")
        line = Line(*await asyncio.open_connection(host, int(port)))
        self._lines.append(line)
        return line

    def close(self) -> None:
        for line in self._lines:
            line.writer.transport.abort()


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[Wire]:
    """Both, until the end of a test."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    link = await start_link(f"{HOST}:{server.sockets[0].getsockname()[1]}")
    wire = Wire(echo, link)
    try:
        yield wire
    finally:
        wire.close()
        await link.stop()
        server.close()
