"""Log files of bounded size, and their last lines. Standard library only: the keeper writes them."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import BinaryIO

LIMIT = 1024 * 1024  # bytes; a log is at most this file and one older file of the same size


class Log:
    """A file of bounded size: past LIMIT it is renamed to `NAME.1`, which replaces the one before."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def write(self, data: bytes) -> None:
        """Append. A full disk loses log lines; it must not stop the service that wrote them."""
        with contextlib.suppress(OSError):
            if self.file.tell() > LIMIT:
                os.replace(self.path, self.path + ".1")
                self.file.close()
                self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            self.file.write(data)

    def close(self) -> None:
        self.file.close()


def tail(log: Path, lines: int = 20) -> list[str]:
    """The last `lines` lines of a log that the keeper wrote; [] when there is none yet."""
    text = b""
    for path in (log, log.with_name(log.name + ".1")):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - lines * 1000))
            text = file.read() + text
        if text.count(b"\n") > lines:
            break
    return text.decode(errors="replace").splitlines()[-lines:] if lines > 0 else []


def without_colours(text: str) -> str:
    """What a program printed for a terminal, as plain text."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
