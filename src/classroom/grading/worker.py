"""A worker of a grading run: a process of its own, which marks one submission after the other.

    python -m classroom.grading.worker        one JSON job a line in, one result a line out

It has the broker, the ledger, the clock and the judges; submissions run in sandboxes below it. Should one of them, in
spite of all, bring it down, the others are marked by the next worker.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from classroom.grading.accounts import Accounts
from classroom.grading.answers import lab_of
from classroom.grading.incoming import Incoming
from classroom.grading.marking import Terms, grade
from classroom.grading.report import Submission
from classroom.notebooks import read

__all__ = ["Job"]


class Job(msgspec.Struct):
    """A submission to mark: the lab's name, where its solution is, and how it is marked."""

    lab: str
    solution: str
    one: Incoming
    terms: Terms


class Done(msgspec.Struct):
    """What came of it; `broken` says what went wrong in the worker itself ("" when nothing did)."""

    submission: Submission | None = None
    broken: str = ""


def encode_hook(thing: object) -> object:
    """Paths as text."""
    if isinstance(thing, Path):
        return str(thing)
    raise NotImplementedError(type(thing))


def decode_hook(kind: type, thing: object) -> object:
    """The other way."""
    if kind is Path:
        return Path(str(thing))
    raise NotImplementedError(kind)


class Jobs:
    """The lines that come in, heard by a thread. When they end in the middle of a job, the grader is gone: nobody
    waits for the marks, so this process ends at once, and its keeper ends all that it has started.
    """

    def __init__(self) -> None:
        self.busy = False
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        for line in sys.stdin.buffer:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        if self.busy:
            os._exit(1)
        self._loop.call_soon_threadsafe(self._lines.put_nowait, b"")

    async def next(self) -> bytes:
        """The next one; b"" when there is nothing more to mark."""
        line = await self._lines.get()
        self.busy = bool(line)
        return line


class Log(io.TextIOBase):
    """Standard output and error, to the log. What finds no room there is dropped: a full disk is no verdict."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """All of it, or what there is room for."""
        with suppress(OSError):
            os.write(2, text.encode("utf-8", "replace"))
        return len(text)

    def fileno(self) -> int:
        """That of standard error."""
        return 2


async def serve(answers: int) -> None:
    """Mark until there is nothing more to mark."""
    jobs = Jobs()
    async with Accounts() as accounts:
        while line := await jobs.next():
            job = msgspec.json.decode(line, type=Job, dec_hook=decode_hook)
            try:
                lab = lab_of(job.lab, read(Path(job.solution)))
                done = Done(await grade(job.one, lab, job.terms, accounts))
            except Exception as error:
                done = Done(broken=f"{type(error).__name__}: {error}"[:1000])
            jobs.busy = False
            os.write(answers, msgspec.json.encode(done) + b"\n")


def main() -> None:
    """The worker's process: what is printed meanwhile goes to the log, not among the answers."""
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr = Log()
    for name in [one for one in os.environ if one in ("CLASSROOM_PROGRESS", "JPY_SESSION_NAME")]:
        del os.environ[name]
    asyncio.run(serve(answers))


if __name__ == "__main__":
    main()
