"""What the tests of classroom share: waiting for a condition, and kernels that are processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
MARK = "CLASSROOM_TEST_MARK"  # an environment variable that every process of one test inherits


def eventually(look: Callable[[], T], *, within: float = 20.0, what: str = "the condition") -> T:
    """Poll until `look()` is true and return it; fail after `within` seconds."""
    end = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < end, f"{what} was not seen within {within:g} s"
        time.sleep(0.01)
    return seen


def marked(mark: str) -> list[str]:
    """The processes that bear a mark, as "pid command line"."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command:  # a zombie has none
                    found.append(f"{process.name} {command}")
        except OSError:
            continue
    return found


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Kernel:
    """A Python process that runs `code` with the supervisor at hand, in a group and a temporary folder of its own."""

    def __init__(self, code: str, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.mark = folder, f"{os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import os, sys, time\nfrom pathlib import Path\n" + code],
            env={**os.environ, "TMPDIR": str(folder), MARK: self.mark},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def nothing_is_left(self) -> None:
        eventually(lambda: not marked(self.mark), what=f"the end of {marked(self.mark)}")
        left = list(self.folder.iterdir())
        assert not left, f"folders are left: {left}"
