"""How spans leave the process: at once to a receiver on this machine, in batches to any other."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

__all__ = ["Prompt", "exporter"]

log = logging.getLogger("postoffice")

HERE = ("127.0.0.1", "localhost", "::1")
PATH = "/v1/traces"
BATCH = 500  # spans of one request; a receiver has a limit for its size
MOST_WAITING = 1 << 20  # bytes that the receiver has not taken yet; what comes on top is dropped
AGAIN = 1.0  # seconds after a refused connection before the next try
LAST_WORDS = 1.0  # seconds that the end of the process may take to send the rest
BLOCKED = 0.05  # seconds until the next look whether the receiver takes more


def exporter(endpoint: str) -> SpanProcessor:
    """For an OTLP/HTTP endpoint. Raises ValueError when it is no http URL."""
    parts = urlsplit(endpoint)
    if parts.scheme == "http" and parts.hostname in HERE:
        return Prompt(parts.hostname, parts.port or 4318, parts.path.rstrip("/") + PATH)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{endpoint!r} is no address of an OTLP/HTTP receiver. Write for example http://host:4318")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint.rstrip("/") + PATH))


class Prompt(SpanProcessor):
    """Writes spans to the receiver's socket before the event loop's next turn, and never waits for it.

    What has been written arrives even if this process is killed with its next instruction. HTTP's answers are read
    and thrown away: a span that was refused will be refused again.
    """

    def __init__(self, host: str, port: int, path: str) -> None:
        self._address = host, port
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nContent-Length: "
        self._lock = threading.RLock()
        self._spans: list[ReadableSpan] = []
        self._waiting = b""  # bytes that the socket has not taken yet
        self._cut = False  # whether they begin amid a request
        self._socket: socket.socket | None = None
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self._not_before = 0.0
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self._spans.append(span)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._flush()
            return
        if self._scheduled is not loop:
            self._scheduled = loop
            loop.call_soon(self._flush)

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Write all that can be written now."""
        self._flush()
        return not self._waiting

    def shutdown(self) -> None:
        """Send the rest, and wait until the receiver has taken it; a second at most."""
        self._flush()
        with self._lock:
            if self._socket is None:
                return
            try:
                self._socket.settimeout(LAST_WORDS)
                self._socket.sendall(self._waiting)
                self._socket.shutdown(socket.SHUT_WR)
                end = time.monotonic() + LAST_WORDS
                while self._socket.recv(65536) and time.monotonic() < end:
                    pass
            except OSError:
                log.debug("the receiver of spans has gone")
            self._close()

    def _flush(self) -> None:
        with self._lock:
            spans, self._spans, self._scheduled = self._spans, [], None
            for first in range(0, len(spans), BATCH):
                self._take(spans[first : first + BATCH])
            self._write()

    def _take(self, spans: list[ReadableSpan]) -> None:
        """Make them a request, if there is room for it."""
        if len(self._waiting) > MOST_WAITING or time.monotonic() < self._not_before:
            self._drop(len(spans))
            return
        body = encode_spans(spans).SerializeToString()
        self._waiting += f"{self._head}{len(body)}\r\n\r\n".encode() + body

    def _write(self) -> None:
        try:
            while self._waiting:
                sent = self._connected().send(self._waiting)
                self._waiting = self._waiting[sent:]
                self._cut = bool(self._waiting)
        except BlockingIOError:
            self._later()
        except OSError as error:
            log.debug("no receiver of spans at %s:%s: %s", *self._address, error)
            self._not_before = time.monotonic() + AGAIN
            self._close()
            self._waiting = b""
            self._drop(1)

    def _later(self) -> None:
        try:
            asyncio.get_running_loop().call_later(BLOCKED, self._flush)
        except RuntimeError:
            return  # no event loop here: the next span takes it along

    def _connected(self) -> socket.socket:
        """The connection, its unread answers taken off it."""
        if self._socket is not None:
            try:
                while self._socket.recv(65536):
                    pass
                self._close()  # the receiver has closed it
            except BlockingIOError:
                return self._socket
        self._socket = socket.create_connection(self._address, timeout=BLOCKED)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        if self._cut:  # the rest of a request is nothing to begin a connection with
            self._waiting, self._cut = b"", False

    def _drop(self, count: int) -> None:
        if not self._dropped:
            log.warning("spans are dropped: the receiver at %s:%s does not take them", *self._address)
        self._dropped += count
