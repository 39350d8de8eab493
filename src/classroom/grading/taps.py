"""What passes the gate to a broker, cut into pieces at the moments that matter: a delivery, an acknowledgement.

So a process can be killed at a point of its work that is seen from outside. The process is not asked, so it can neither
skip the crash nor prepare for it.

    in   "deliver"   the broker hands over a message
    out  "ack"       the service acknowledges one
    out  "publish"   the service sends a message
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["TAPS", "Amqp", "Direction", "Marked", "Tap"]

Direction = Literal["in", "out"]
Piece = tuple[bytes, str]  # what to pass on, and what it is ("" for nothing that matters)
LARGEST = 1 << 20  # bytes of a frame that are held back until it is whole; of a larger one the head is enough
BASIC = 60
METHODS = {("in", 60): "deliver", ("out", 80): "ack", ("out", 40): "publish"}


class Amqp:
    """AMQP 0-9-1: a frame is a type, a channel (2 bytes), a size (4), so many bytes and an end byte."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._rest = b""
        self._skip = 0  # bytes of a large frame that are still to come
        self._begun = direction == "in"  # a client begins with 8 bytes that are no frame

    def feed(self, data: bytes) -> list[Piece]:
        """The whole frames that these bytes complete."""
        pieces: list[Piece] = []
        if self._skip:
            head, data = data[: self._skip], data[self._skip :]
            self._skip -= len(head)
            pieces.append((head, ""))
        self._rest += data
        if not self._begun and len(self._rest) >= 8:
            self._begun = True
            pieces.append((self._take(8), ""))
        while self._begun and len(self._rest) >= 8:
            size = 8 + int.from_bytes(self._rest[3:7], "big")
            if len(self._rest) < min(size, LARGEST):
                break
            what = self._what()
            frame = self._take(size)
            self._skip = size - len(frame)
            pieces.append((frame, what))
        return pieces

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _what(self) -> str:
        if self._rest[0] != 1 or int.from_bytes(self._rest[7:9], "big") != BASIC:
            return ""
        return METHODS.get((self._direction, int.from_bytes(self._rest[9:11], "big")), "")


class Marked:
    """A protocol in which a few bytes tell what a command is: each piece ends before the next mark."""

    def __init__(self, marks: dict[bytes, str]) -> None:
        self._marks = marks

    def feed(self, data: bytes) -> list[Piece]:
        """The bytes, cut before each mark. A mark that is itself cut in two, by a read, is not seen."""
        found = sorted((at, what) for mark, what in self._marks.items() for at in _all(data, mark))
        ends = [at for at, _ in found] + [len(data)]
        pieces = [(data[: ends[0]], "")] if ends[0] else []
        return pieces + [(data[at:end], what) for (at, what), end in zip(found, ends[1:], strict=True)]


def _all(data: bytes, mark: bytes) -> list[int]:
    places, at = [], data.find(mark)
    while at >= 0:
        places.append(at)
        at = data.find(mark, at + 1)
    return places


Tap = Amqp | Marked


def _redis(direction: Direction) -> Tap:
    return Marked(
        {b"\r\nXACK\r\n": "ack", b"\r\nXADD\r\n": "publish"} if direction == "out" else {b"*3\r\n": "deliver"}
    )


def _nats(direction: Direction) -> Tap:
    return Marked({b"PUB $JS.ACK.": "ack"} if direction == "out" else {b"MSG ": "deliver"})


TAPS: dict[str, Callable[[Direction], Tap]] = {"rabbitmq": Amqp, "redis": _redis, "nats": _nats}
"""Broker -> how its protocol is read. Where there is none, no crash can be had at the gate."""
