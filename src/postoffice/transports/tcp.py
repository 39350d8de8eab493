"""TCP: no broker, a service listens and its clients connect (framing.py says how the bytes are cut).

Guarantee: at most once. What is under way when the connection breaks has an unknown outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..errors import ConnectError, ConnectionLost
from ..patterns import Pattern
from .base import CONNECT_TIMEOUT, Capabilities, Deliver, Delivery, Transport, log, reason_of
from .framing import FrameError, Frames, frame

__all__ = ["TcpTransport"]

INCOMPLETE_TIMEOUT = 30.0  # seconds of silence in the middle of a frame; NestJS's value


class Peer(asyncio.Protocol):
    """One connection, of either side: frames in, frames out, what is written in one turn sent in one go."""

    def __init__(
        self, on_packet: Callable[[Peer, bytes], None], on_end: Callable[[Peer, Exception | None], None]
    ) -> None:
        self._on_packet = on_packet
        self._on_end = on_end
        self._frames = Frames()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.heard = False  # whether the other side has ever sent anything
        self.held = False  # whether the service has asked not to read on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            packets = self._frames.feed(data)
        except FrameError as error:
            self.abort(str(error))
            return
        for packet in packets:
            self._on_packet(self, packet)
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._frames.incomplete:
            self._stall = self._loop.call_later(
                INCOMPLETE_TIMEOUT,
                self.abort,
                f"a frame was not complete after {INCOMPLETE_TIMEOUT:g} s of silence",
            )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall is not None:
            self._stall.cancel()
        self._transport = None
        self._writable.set()
        self._on_end(self, exc)

    def pause_writing(self) -> None:
        """The other side does not read its replies: take no more of its requests until it does."""
        self._writable.clear()
        self.hold(self.held)

    def resume_writing(self) -> None:
        self._writable.set()
        self.hold(self.held)

    def hold(self, held: bool) -> None:
        """Stop reading, or read on; a peer that cannot be written to is not read from either."""
        self.held = held
        if self._transport is None or self._transport.is_closing():
            return
        if held or not self._writable.is_set():
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send a frame with the others of this turn of the loop. To a peer that is gone: nothing happens."""
        self._out.append(data)
        if len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def drain(self) -> Awaitable[Any] | None:
        """Something to await while the other side reads more slowly than we write."""
        return None if self._writable.is_set() else self._writable.wait()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def close(self) -> None:
        """Send what is buffered, then close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once: the stream of bytes makes no sense any more."""
        if self._transport is not None:
            log.error("closed a TCP connection from %s: %s", self._transport.get_extra_info("peername"), reason)
            self.close()


class TcpDelivery(Delivery):
    __slots__ = ("_peer",)

    def __init__(self, peer: Peer, body: bytes) -> None:
        super().__init__(body)
        self._peer = peer

    def reply(self, packet: bytes) -> None:
        self._peer.write(frame(packet))

    def malformed(self, reason: str) -> None:
        self._peer.abort(reason)


class TcpTransport(Transport):
    """`tcp://host:port`. A client has one connection; when it broke, the next call opens another."""

    name = "TCP"
    capabilities = Capabilities()

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._host, self._port = self.address(3000)
        self._peer: Peer | None = None
        self._connecting = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._callers: set[Peer] = set()

    # as a client

    async def connect(self) -> None:
        await self._connected()

    async def _connected(self) -> Peer:
        """The connection, opened again if it broke."""
        async with self._connecting:
            if self._peer is not None and self._peer.open:
                return self._peer
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    _, self._peer = await asyncio.get_running_loop().create_connection(
                        lambda: Peer(self._on_reply, self._on_lost),
                        self._host,
                        self._port,
                        ssl=self.tls.for_client() if self.secure else None,
                    )
            except (OSError, TimeoutError) as error:
                raise ConnectError(
                    f"nobody answers at {self._host}:{self._port} ({self.why_not(error)}). Nothing was sent."
                    " Is the service running, and is the address right? In the course: await users.ready(), users.url"
                ) from error
            return self._peer

    def request(
        self, route: str, packet: bytes, request_id: str, headers: Mapping[str, str] | None
    ) -> Awaitable[None] | None:
        return self.publish(route, packet, headers)

    def event_pattern(self, pattern: Pattern, route: str) -> Pattern:
        return route

    def publish(self, route: str, packet: bytes, headers: Mapping[str, str] | None) -> Awaitable[None] | None:
        data = frame(packet)
        if self._peer is None or not self._peer.open:
            return self._connect_and_write(data)
        self._peer.write(data)
        return self._peer.drain()

    async def _connect_and_write(self, data: bytes) -> None:
        peer = await self._connected()
        peer.write(data)

    def _on_reply(self, peer: Peer, packet: bytes) -> None:
        if self.replies is not None:
            self.replies.on_reply(packet)

    def _on_lost(self, peer: Peer, error: Exception | None) -> None:
        if self.replies is not None and peer is self._peer:
            reason = reason_of(error) if peer.heard else self.why_not(error)
            self.replies.on_lost(
                ConnectionLost(
                    f"the connection to {self._host}:{self._port} broke while a reply was awaited ({reason})."
                    " The work may have happened. Ask whoever owns the effect, or retry only if that is safe twice."
                )
            )

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        """Listen. TCP has no broker to filter by pattern: every packet is delivered."""
        loop = asyncio.get_running_loop()

        def on_packet(peer: Peer, packet: bytes) -> None:
            deliver(TcpDelivery(peer, packet))

        def accept() -> Peer:
            peer = Peer(on_packet, lambda peer, error: self._callers.discard(peer))
            self._callers.add(peer)
            return peer

        try:
            self._server = await loop.create_server(
                accept, self._host, self._port, ssl=self.tls.for_server() if self.secure else None
            )
        except OSError as error:
            raise ConnectError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror or error}). Another process may have that"
                " port: stop it, or use another port; port 0 takes a free one."
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'tls' if self.secure else 'tcp'}://{host}:{self._port}"

    async def unsubscribe(self) -> None:
        """Accept no new connections; those that stand can still send and be answered."""
        if self._server is not None:
            self._server.close()

    def pause(self) -> None:
        for peer in self._callers:
            peer.hold(True)

    def resume(self) -> None:
        for peer in self._callers:
            peer.hold(False)

    async def close(self) -> None:
        await self.unsubscribe()
        for peer in [*self._callers, *([self._peer] if self._peer else [])]:
            peer.close()
        self._peer = None
