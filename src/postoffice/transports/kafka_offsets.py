"""Which messages of a partition are finished, and so how far it may be committed."""

from __future__ import annotations

__all__ = ["Place"]


class Place:
    """One partition, as a replica reads it. Kafka knows one offset of it: everything before is finished.

    Attributes:
        committed: that offset. next: the offset to read next.
        held: the messages between the two, by their offset in order of reading; whether each is finished.
    """

    __slots__ = ("committed", "held", "next")

    def __init__(self, offset: int) -> None:
        self.committed = self.next = offset
        self.held: dict[int, bool] = {}

    def take(self, offset: int) -> None:
        """It has been read."""
        self.held[offset] = False
        self.next = offset + 1

    def finish(self, offset: int) -> None:
        """Its work is done; harmless when said twice."""
        if offset in self.held:
            self.held[offset] = True

    @property
    def finished(self) -> int:
        """The offset up to which everything is finished."""
        return next((offset for offset, done in self.held.items() if not done), self.next)

    def commit(self, offset: int) -> None:
        """Kafka has this offset now."""
        self.committed = offset
        for one in [one for one in self.held if one < offset]:
            del self.held[one]
