"""Where submissions are tried: one is graded, and afterwards the machine is looked at."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from classroom.grading.accounts import Accounts
from classroom.grading.answers import lab_of
from classroom.grading.incoming import incoming
from classroom.grading.marking import Terms, grade
from classroom.grading.report import Submission, TaskMark, to_json
from classroom.grading.sandbox import NoSandbox, bubblewrap
from classroom.grading.trial import seeds_of
from classroom.notebooks import read

from .notebooks import Case, path_of

LIMIT = 180.0  # seconds of one trial


def sandbox_here() -> str:
    """Why there is none; "" where there is one."""
    try:
        return "" if bubblewrap() else "no"
    except NoSandbox as error:
        return str(error)


needs_sandbox = pytest.mark.skipif(bool(sandbox_here()), reason=sandbox_here() or "-")


@dataclass
class Outcome:
    """What came of one submission.

    Attributes:
        mark: of the task that matters; None where the submission was not read. changed: files that it changed.
        left: processes that it left. leaked: whether a secret is in what was reported. packets: that came out.
    """

    case: Case
    submission: Submission
    mark: TaskMark | None
    seconds: float
    changed: list[str] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    leaked: bool = False
    packets: int = 0

    @property
    def earned(self) -> float:
        """Points of the task that matters."""
        return (self.mark.earned or 0.0) if self.mark else 0.0

    @property
    def clean(self) -> bool:
        """Whether it did no harm."""
        return not (self.changed or self.left or self.leaked or self.packets)

    def line(self) -> str:
        """A line of the table."""
        state = self.mark.state if self.mark and self.submission.status == "graded" else self.submission.status
        harm = [f"changed {self.changed}"] * bool(self.changed) + [f"left {self.left}"] * bool(self.left)
        harm += ["a secret was read"] * self.leaked + [f"{self.packets} packets out"] * bool(self.packets)
        points = f"{state:10} {self.earned:4g} {self.seconds:6.1f} s"
        return f"{self.case.task:11} {self.case.name:52.52} {points}  {', '.join(harm)}"


class Field:
    """A folder with secrets, a server that nobody may reach, and a grader."""

    def __init__(self, folder: Path, accounts: Accounts) -> None:
        self.folder, self.accounts = folder, accounts
        self.secret = f"secret-{secrets.token_hex(12)}"
        self.files = {name: folder / name for name in ("secret.txt", "other.ipynb", "gradebook.db")}
        for path in self.files.values():
            path.write_text(self.secret)
        self.packets = 0
        os.environ["GRADER_SECRET"] = self.secret

    async def listen(self) -> None:
        """Count whoever calls, by TCP on all addresses and by UDP."""
        self.server = await asyncio.start_server(self._called, "0.0.0.0", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("0.0.0.0", self.port))
        self.datagrams.setblocking(False)

    def _called(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.packets += 1
        writer.write(self.secret.encode())
        writer.close()

    async def _left(self, before: set[int]) -> list[int]:
        """Processes in sandboxes that are still there after a second: one that was killed needs a moment to go."""
        for _ in range(100):
            left = [pid for pid in set(processes()) - before if is_boxed(pid)]
            if not left:
                break
            await asyncio.sleep(0.01)
        return left

    def _count(self) -> int:
        try:
            while self.datagrams.recv(99):
                self.packets += 1
        except BlockingIOError:
            return self.packets

    async def grade(self, case: Case) -> Outcome:
        """Grade one, and look around."""
        home = self.folder / f"submissions-{secrets.token_hex(3)}"
        words = {
            "@SECRET@": str(self.files["secret.txt"]), "@OTHER@": str(self.files["other.ipynb"]),
            "@MARKS@": str(self.files["gradebook.db"]), "@SOLUTION@": str(path_of("05")),
            "@PORT@": str(self.port), "@HOST@": own_address(),
        }  # fmt: skip
        case.write(home, words)
        before, packets = stamps(self.folder), self.packets
        name = case.task.partition(".")[0]
        lab = lab_of(name, read(path_of(name)))
        seeds = {task.name: seeds_of(17, task.name, 1) for task in lab.tasks}
        (one,) = incoming(home, path_of(name).name)
        running, began = set(processes()), time.monotonic()
        submission = await grade(one, lab, Terms(seeds, True, (case.task,), LIMIT), self.accounts)
        seconds = time.monotonic() - began
        mark = next((task for task in submission.tasks if task.task == case.task), None)
        changed = [path for path, stamp in stamps(self.folder).items() if before.get(path) != stamp]
        left = await self._left(running)
        leaked = self.secret in to_json(submission).decode()
        return Outcome(case, submission, mark, seconds, changed, left, leaked, self._count() - packets)


def own_address() -> str:
    """An address of this machine that is not loopback, or one that is nobody's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # sends nothing: it only asks for the way
        except OSError:
            return "192.0.2.1"
        return str(one.getsockname()[0])


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """The time and size of each file."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def processes() -> list[int]:
    """All there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_boxed(pid: int) -> bool:
    """Whether it is in a sandbox of this process's, or what is left of one."""
    try:
        inside = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        while inside and pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid == os.getpid():
                return True
    except (OSError, IndexError):
        pass
    return False


@asynccontextmanager
async def field_of(folder: Path) -> AsyncIterator[Field]:
    """One, and its end."""
    async with Accounts() as accounts:
        here = Field(folder, accounts)
        await here.listen()
        try:
            yield here
        finally:
            here.server.close()
            here.datagrams.close()
            del os.environ["GRADER_SECRET"]
