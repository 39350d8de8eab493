"""Four decoders of frames, each with one mistake that people make. Lab 03 shows their code; its task 3 breaks them."""

from __future__ import annotations

import codecs


class Decoder:
    """All that they share is right; each of the four does one thing in a way of its own."""

    def __init__(self) -> None:
        self.utf8 = codecs.getincrementaldecoder("utf-8")()
        self.text = ""

    def feed(self, data: bytes) -> list[str]:
        """The texts of the frames that this piece completes."""
        self.text += self.read(data)
        texts = []
        while (text := self.take()) is not None:
            texts.append(text)
        return texts

    def read(self, data: bytes) -> str:
        """A piece as text."""
        return self.utf8.decode(data)

    def take(self) -> str | None:
        """The first whole frame; None while there is none."""
        head, mark, rest = self.split(self.text)
        if not mark or self.size(rest) < int(head):
            return None
        text = self.cut(rest, int(head))
        self.text = rest[len(text) :]
        return text

    def split(self, text: str) -> tuple[str, str, str]:
        """The length, the #, and all that is behind it."""
        return text.partition("#")

    def size(self, text: str) -> int:
        """UTF-16 code units."""
        return len(text.encode("utf-16-le")) // 2

    def cut(self, text: str, units: int) -> str:
        """So many code units from the beginning."""
        return text.encode("utf-16-le")[: 2 * units].decode("utf-16-le")


class Amber(Decoder):
    """Reads in a way of its own."""

    def read(self, data: bytes) -> str:
        """A piece as text."""
        return data.decode()


class Brown(Decoder):
    """Feeds in a way of its own."""

    def feed(self, data: bytes) -> list[str]:
        """The texts of the frames that this piece completes."""
        self.text += self.read(data)  # what has come so far
        text = self.take()  # the first whole frame, or None
        return [] if text is None else [text]


class Coral(Decoder):
    """Counts in a way of its own."""

    def size(self, text: str) -> int:
        """How long a text is."""
        return len(text)

    def cut(self, text: str, units: int) -> str:
        """The beginning of a text, so long."""
        return text[:units]


class Denim(Decoder):
    """Splits in a way of its own."""

    def split(self, text: str) -> tuple[str, str, str]:
        """What has come so far: the length, the #, and all that is behind it."""
        head, mark, rest = text.partition("#")
        if text and not mark:
            raise ValueError(f"{head!r} is no length")
        return head, mark, rest


DECODERS: dict[str, type[Decoder]] = {one.__name__: one for one in (Amber, Brown, Coral, Denim)}
