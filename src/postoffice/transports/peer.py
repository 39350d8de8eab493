"""One TCP connection: frames in, frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .base import log
from .framing import FrameError, Frames

__all__ = ["Peer"]

INCOMPLETE_TIMEOUT = 30.0  # seconds of silence in the middle of a frame; NestJS's value
GATHERED = 65_536  # bytes that are gathered at most before they are written


class Peer(asyncio.Protocol):
    """The other side of a connection. What is written to it in one turn of the event loop is sent in one go.

    Args:
        on_packet: takes each packet. on_end: is told when the connection has ended, and why if it broke.
        held: whether not to read for now. gives_way: whether to stop reading while the other side does not, so that
            its requests cannot pile up. One side only, the service's: if both did, both could wait for ever.
    """

    def __init__(
        self,
        on_packet: Callable[[Peer, bytes], None],
        on_end: Callable[[Peer, Exception | None], None],
        *,
        held: bool = False,
        gives_way: bool = False,
    ) -> None:
        self._on_packet = on_packet
        self._on_end = on_end
        self._held = held
        self._gives_way = gives_way
        self._frames = Frames()
        self._out: list[bytes] = []
        self._gathered = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()
        self.heard = False  # whether the other side has ever sent anything

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.hold(self._held)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            for packet in self._frames.feed(data):
                self._on_packet(self, packet)
        except FrameError as error:
            self.abort(str(error))
        self._watch(self._frames.incomplete)

    def _watch(self, incomplete: bool) -> None:
        """In the middle of a frame, allow so much silence and no more."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if incomplete and self.open:
            self._stall = self._loop.call_later(
                INCOMPLETE_TIMEOUT, self.abort, f"a frame was not complete after {INCOMPLETE_TIMEOUT:g} s of silence"
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._watch(False)
        self._writable.set()
        self._ended.set()
        self._on_end(self, exc)

    def pause_writing(self) -> None:
        self._writable.clear()
        self.hold(self._held)

    def resume_writing(self) -> None:
        self._writable.set()
        self.hold(self._held)

    def hold(self, held: bool) -> None:
        """Stop reading, or read on. Silence that we ask for does not count as the other side's."""
        self._held = held
        if self._transport is None or self._transport.is_closing():
            return
        if held or (self._gives_way and not self._writable.is_set()):
            self._transport.pause_reading()
            self._watch(False)
        else:
            self._transport.resume_reading()
            self._watch(self._frames.incomplete)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send a frame with the others of this turn of the loop. To a peer that is gone: nothing happens."""
        self._out.append(data)
        self._gathered += len(data)
        if self._gathered > GATHERED:
            self._flush()
        elif len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def drain(self) -> Awaitable[Any] | None:
        """Something to await while the other side reads more slowly than we write."""
        return None if self._writable.is_set() else self._writable.wait()

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._gathered = 0
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def close(self) -> None:
        """Send what is buffered, then close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    async def ended(self) -> None:
        """Wait until the connection has ended, and everything buffered has left."""
        await self._ended.wait()

    def cut(self) -> None:
        """End the connection now; what is still buffered is lost."""
        if self._transport is not None:
            self._transport.abort()

    def abort(self, reason: str) -> None:
        """Close at once: the stream of bytes makes no sense any more."""
        if self._transport is not None:
            log.error("closed a TCP connection: %s", reason)
            self.close()
