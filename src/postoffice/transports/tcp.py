"""TCP: no broker, a service listens and its clients connect (framing.py says how the bytes are cut).

Guarantee: at most once. What is under way when the connection breaks has an unknown outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from ..errors import ConnectError, ConnectionLost
from ..options import Options
from ..patterns import Pattern
from .base import CONNECT_TIMEOUT, Capabilities, Deliver, Delivery, Transport, reason_of
from .framing import frame
from .peer import Peer

__all__ = ["TcpTransport"]

CLOSE_TIMEOUT = 5.0  # seconds for what is buffered to leave


class TcpDelivery(Delivery):
    __slots__ = ("_peer",)

    def __init__(self, peer: Peer, body: bytes) -> None:
        super().__init__(body)
        self._peer = peer

    def reply(self, packet: bytes) -> None:
        self._peer.write(frame(packet))

    def room(self) -> Awaitable[None] | None:
        return self._peer.drain()

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
        self._held = False

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
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        return self.publish(route, packet, headers, options)

    def event_pattern(self, pattern: Pattern, route: str) -> Pattern:
        return route

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
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

        def on_end(peer: Peer, error: Exception | None) -> None:
            self._callers.discard(peer)

        def accept() -> Peer:
            peer = Peer(on_packet, on_end, held=self._held, gives_way=True)
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
        self._hold(True)

    def resume(self) -> None:
        self._hold(False)

    def _hold(self, held: bool) -> None:
        self._held = held
        for peer in self._callers:
            peer.hold(held)

    async def close(self) -> None:
        """Send what is buffered and close; whoever does not read it within CLOSE_TIMEOUT loses it."""
        await self.unsubscribe()
        peers = [*self._callers, *([self._peer] if self._peer else [])]
        self._peer = None
        for peer in peers:
            peer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for peer in peers:
                    await peer.ended()
        for peer in peers:
            peer.cut()
