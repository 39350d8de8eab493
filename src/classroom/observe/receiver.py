"""The receiving end of OTLP over HTTP: `POST /v1/traces` with protobuf, on this machine only.

It runs on the services' event loop, in a thread of its own, so that a busy notebook neither stops it nor is stopped.
A request counts as soon as its last byte is here: of a process that is killed, nothing that it wrote is lost.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib

import h11

from classroom.observe.spans import Malformed, Store, read

__all__ = ["Receiver"]

PATH = b"/v1/traces"
MOST_BYTES = 4 << 20  # of one request
MOST_CONNECTIONS = 256


class Receiver:
    """Listens on a free port of 127.0.0.1 once started; what comes goes to `store`, which may be replaced."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Its address, as OTEL_EXPORTER_OTLP_ENDPOINT wants it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for one in [*self.connections]:
            one.close()


class Connection(asyncio.Protocol):
    """One sender. Its requests are handled in the moment that they arrive, however many come at once."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        self._request: h11.Request | None = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections.add(self)
        if len(self._receiver.connections) > MOST_CONNECTIONS:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver.connections.discard(self)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._take_events()

    def eof_received(self) -> None:
        self._http.receive_data(b"")
        self._take_events()

    def _take_events(self) -> None:
        try:
            while not self._transport.is_closing():
                event = self._http.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return
                self._take(event)
                if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                    self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self._receiver.store.refused += 1
            self._refuse(error.error_status_hint, "this is no HTTP")

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > MOST_BYTES:
                self._receiver.store.refused += 1
                self._refuse(413, f"more than {MOST_BYTES:,} bytes in one request")
        elif isinstance(event, h11.EndOfMessage):
            status, text = self._spans()
            self._receiver.store.refused += status != 200
            self._answer(status, text)

    def _spans(self) -> tuple[int, str]:
        """Keep the spans of a whole request; the answer's status and text."""
        assert self._request is not None
        headers = dict(self._request.headers)
        if self._request.method != b"POST" or self._request.target != PATH:
            return 404, "spans go to POST /v1/traces"
        if headers.get(b"content-type", b"").partition(b";")[0] != b"application/x-protobuf":
            return 415, "send OTLP as application/x-protobuf"
        try:
            body = bytes(self._body)
            self._receiver.store.add(read(_unpacked(body) if headers.get(b"content-encoding") == b"gzip" else body))
        except Malformed as error:
            return 400, str(error)
        return 200, ""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        send = self._http.send
        self._transport.write(
            (send(h11.Response(status_code=status, headers=[("content-length", str(len(body)))])) or b"")
            + (send(h11.Data(data=body)) or b"")
            + (send(h11.EndOfMessage()) or b"")
        )
        if self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answer where an answer is still possible, and close."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(status, text)
        self._transport.close()


def _unpacked(body: bytes) -> bytes:
    """The gzipped body, if it is not too large."""
    try:
        with gzip.open(io.BytesIO(body)) as file:
            plain = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Malformed(f"the body is no gzip: {error}") from None
    if len(plain) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES:,} bytes in one request")
    return plain
