"""How one asks the ledger: connect, send one line of JSON, read the answer to the end of the connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import msgspec

__all__ = ["MAX_LINE", "NoAnswer", "Refused", "address_of", "ask"]

MAX_LINE = 16_384  # bytes of one call, its newline included


class NoAnswer(Exception):
    """The connection ended without an answer: what was asked may have been done."""


class Refused(Exception):
    """The ledger answered with an error: `status`, as in HTTP, and a text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def address_of(url: str) -> tuple[str, int]:
    """Host and port of tcp://host:port. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port:
        raise ValueError(f"{url!r} is no address of a ledger, which looks like tcp://127.0.0.1:21234")
    return parts.hostname, parts.port


async def ask(host: str, port: int, line: bytes) -> Any:
    """Send a line, return the answer. A connection of its own, so that one lost answer harms no other.

    Raises OSError when there is no connection (nothing was sent), NoAnswer, Refused.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        with contextlib.suppress(ConnectionError):  # what was answered before the end is still to be read
            writer.write(line + b"\n")
        answer = await _all_of(reader)
    finally:
        writer.transport.abort()
    try:
        found = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        raise NoAnswer from None
    if "error" in found:
        raise Refused(found["error"]["status"], found["error"]["message"])
    return found["answer"]


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(-1)
    except ConnectionError:
        return b""
