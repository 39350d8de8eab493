"""Frames of NestJS's TCP transport: `<length>#<json>`, one after the other, in any number of pieces.

The length counts UTF-16 code units, as JavaScript counts the length of a text: "é🚀" is 3 units,
2 characters, 6 bytes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from ..errors import PayloadError

__all__ = ["FrameError", "Frames", "frame"]

MAX_FRAME = 2**27  # code units; NestJS refuses a longer one too
LENGTH = re.compile(rb"\s*(\d+)[^#]*\Z")  # as JavaScript's parseInt reads it: blanks before, anything after
LENGTH_BYTES = 32  # a length never takes more bytes than this, with its '#'


class FrameError(ValueError):
    """The bytes are no frame; where the next one starts cannot be known."""


def frame(packet: bytes) -> bytes:
    """A packet with its length before it.

    Raises:
        PayloadError: longer than a receiver takes.
    """
    length = len(packet) if packet.isascii() else _units(packet)
    if length > MAX_FRAME:
        raise PayloadError(
            f"a packet of {length:,} characters exceeds the {MAX_FRAME:,} that a TCP receiver takes."
            " Nothing was sent. Send a reference to the data, or send it in parts."
        )
    return b"%d#%b" % (length, packet)


def _units(text: bytes) -> int:
    """UTF-16 code units of UTF-8 text: one per character, two for those outside the first plane."""
    return len(text.decode("utf-8", "replace").encode("utf-16-le", "surrogatepass")) // 2


class Frames:
    """Cuts a stream of bytes into packets. Feed it pieces of any size.

    Memory is bounded by one frame; a length is refused before its text is awaited.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._wanted = 0  # with fewer bytes than this in the buffer, there is no complete frame
        self._max = max_frame

    @property
    def incomplete(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that these bytes complete, one after the other. Take them all before the next feed.

        Raises:
            FrameError: no length, or one over the limit. The stream cannot be read on.
        """
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return
        position = 0
        while (packet := self._next(position)) is not None:
            position = packet[1]
            yield packet[0]
        del self._buffer[:position]
        self._wanted = max(0, self._wanted - position)

    def _next(self, position: int) -> tuple[bytes, int] | None:
        """The packet of the frame at `position` and where it ends; None while it is not complete."""
        self._wanted = 0
        sign = self._buffer.find(b"#", position, position + LENGTH_BYTES)
        if sign < 0:
            if len(self._buffer) - position >= LENGTH_BYTES:
                raise FrameError(f"no length in {bytes(self._buffer[position : position + LENGTH_BYTES])!r}")
            return None
        length = self._length(bytes(self._buffer[position:sign]))
        start = sign + 1
        if len(self._buffer) < start + length:  # a unit has a byte at least
            self._wanted = start + length
            return None
        packet = bytes(self._buffer[start : start + length])
        return (packet, start + length) if packet.isascii() else self._next_of_units(start, length)

    def _length(self, text: bytes) -> int:
        found = LENGTH.match(text)
        length = int(found[1]) if found else 0
        if not length:
            raise FrameError(f"{text!r} is no length")
        if length > self._max:
            raise FrameError(f"a frame of {length:,} characters exceeds the limit of {self._max:,}")
        return length

    def _next_of_units(self, start: int, length: int) -> tuple[bytes, int] | None:
        """Like _next, for text that is not ASCII: a unit has 1 to 3 bytes, and a character up to 2 units."""
        text, read, broken = _decoded(bytes(self._buffer[start : start + 3 * length + 1]))
        units = text.encode("utf-16-le")
        missing = length - len(units) // 2
        if missing > 0:
            earliest = start + read + missing  # where the frame ends if each unit to come has one byte
            if broken is not None and len(self._buffer) >= earliest:
                raise FrameError(f"a frame that is no UTF-8: {broken}") from broken
            self._wanted = max(earliest, len(self._buffer) + 1)
            return None
        try:
            packet = units[: 2 * length].decode("utf-16-le").encode()
        except UnicodeDecodeError as error:
            raise FrameError(f"a frame that ends inside a character: {error}") from error
        return packet, start + len(packet)


def _decoded(data: bytes) -> tuple[str, int, UnicodeDecodeError | None]:
    """The text at the beginning of some bytes, how many bytes that is, and the error at which it ends, if at one.

    A character that has only begun ends it too, and is no error.
    """
    try:
        return (*codecs.utf_8_decode(data, "strict", False), None)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(), error.start, error
