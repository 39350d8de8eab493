"""A small disk for a broker that runs as a process: one that can be filled, and that outlives its restarts."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

from classroom.brokers.errors import NoDisk
from classroom.faults import namespace
from classroom.supervisor import Child, ChildEnded, supervisor

LEAST = 32 * 1024 * 1024  # bytes; RabbitMQ and Kafka need most of that for themselves
READY_LIMIT = 10.0  # seconds; it takes a fraction of one
BLOCK = 1024 * 1024  # bytes written at once
FILLER = "filler"  # the file that fills the disk
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


class Disk:
    """A tmpfs of `size` bytes at `folder`, seen by the processes started through `command` and by nobody else."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._holder: Child | None = None

    async def make(self) -> None:
        """Raises NoDisk where this system or user cannot have one; nothing is left then."""
        if sys.platform != "linux":
            raise NoDisk(f"a small disk for a broker's process needs Linux, and this is {sys.platform}. {OTHERWISE}")
        self.folder.mkdir()
        argv = [sys.executable, "-I", "-S", namespace.__file__, "hold", str(self.folder), str(self.size), "{ready_fd}"]
        self._holder = supervisor().spawn(argv, log=self.folder.with_suffix(".log"), pass_ready=True)
        try:
            await self._holder.ready_line(READY_LIMIT)
        except (ChildEnded, TimeoutError) as error:
            why = "; ".join(self._holder.tail(3)) or str(error)
            self.remove()
            raise NoDisk(
                f"this user cannot have a small disk for a broker's process here ({why}). {OTHERWISE}"
            ) from None

    def command(self, argv: list[str]) -> list[str]:
        """The command line that starts a program inside."""
        assert self._holder
        return [sys.executable, "-I", "-S", namespace.__file__, "enter", str(self._holder.pid), *argv]

    def fill(self, spare: int) -> None:
        """Leave `spare` bytes free, never less. Blocks for a moment."""
        disk = os.statvfs(self._filler.parent)
        left = disk.f_bavail * disk.f_frsize - spare if spare else self.size  # the system says when it is full
        with open(self._filler, "ab", buffering=0) as file:
            while left > 0:
                try:
                    left -= file.write(bytes(min(left, BLOCK)))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return

    def free(self) -> None:
        """Free again what `fill` took. Harmless when that was nothing."""
        self._filler.unlink(missing_ok=True)

    def remove(self) -> None:
        """Let go: the disk is gone with the last process that sees it."""
        if self._holder is not None:
            self._holder.kill()

    @property
    def _filler(self) -> Path:
        """As seen from outside."""
        assert self._holder
        return Path(f"/proc/{self._holder.pid}/root{self.folder}/{FILLER}")


OTHERWISE = 'Root can, and so can the container engine: start_broker(..., engine="container", disk=...)'


def bytes_of(size: str | int) -> int:
    """64 MiB as "64M" or 67108864. Raises ValueError for what is no size, or less than 32 MiB."""
    found = re.fullmatch(r"(\d+)([KMG]?)", str(size))
    number = int(found[1]) * UNITS[found[2]] if found else 0
    if number < LEAST:
        raise ValueError(f'disk is a size such as "64M", {LEAST:,} bytes at least; got {size!r} ({number:,} bytes)')
    return number
