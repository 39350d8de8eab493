"""gRPC by hand: the few lines that its field guide uses again and again, over grpcio.

from classroom.byhand_grpc import frames, messages, status
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio  # type: ignore[import-untyped]

from postoffice.transports.grpc_proto import load

__all__ = ["frames", "messages", "status"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
HEAD = 9  # bytes before each frame: length (3), type, flags, stream (4)
KINDS = {0: "DATA", 1: "HEADERS", 3: "RST_STREAM", 4: "SETTINGS", 6: "PING", 7: "GOAWAY", 8: "WINDOW_UPDATE"}
SHOWN = ("HEADERS", "DATA", "RST_STREAM")  # what belongs to a call; the rest keeps the connection going


def messages(path: str) -> dict[str, Any]:
    """The messages that the methods of a .proto take and give, as classes, by name. Raises UsageError."""
    methods = [method for service in load(path).services.values() for method in service.values()]
    return {kind.DESCRIPTOR.name: kind for method in methods for kind in (method.request, method.reply)}


async def status(call: Awaitable[bytes]) -> str:
    """How a call ended, by gRPC's status code and, of a failure, its text."""
    try:
        await call
    except aio.AioRpcError as error:
        return f"{error.code().value[0]:2} {error.code().name}: {error.details()}"
    return " 0 OK"


async def frames(url: str, work: Callable[[str], Awaitable[object]]) -> list[str]:
    """Have `work` call a service through a relay at the URL that it is given; the calls' frames, in order.

    → goes to the service, ← comes from it.
    """
    host, _, port = url.removeprefix("grpc://").rpartition(":")
    found: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, arrow: str) -> None:
        read = _Frames(arrow, found)
        try:
            while data := await reader.read(65_536):
                read.feed(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side has gone; the other is told
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, back, "→"), pump(there, writer, "←"))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        await work(f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
    return found


class _Frames:
    """Cuts a stream of bytes into HTTP/2's frames, and notes those of calls."""

    def __init__(self, arrow: str, found: list[str]) -> None:
        self._arrow, self._found = arrow, found
        self._rest = b""

    def feed(self, data: bytes) -> None:
        self._rest = (self._rest + data).removeprefix(PREFACE)
        while len(self._rest) >= HEAD:
            size = int.from_bytes(self._rest[:3])
            if len(self._rest) < HEAD + size:
                return
            kind, stream = KINDS.get(self._rest[3], "other"), int.from_bytes(self._rest[5:HEAD])
            if kind in SHOWN:
                self._found.append(f"{self._arrow} stream {stream}: {kind:7} {size:3} bytes")
            self._rest = self._rest[HEAD + size :]
