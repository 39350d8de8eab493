"""A process in a sandbox, held from outside: killed, paused and told by its real process ids, never by asking it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from classroom import owners
from classroom.grading.gate import Gate
from classroom.grading.sandbox import Limits
from classroom.keeper_link import Child

__all__ = ["Boxed", "Loose"]

LOOK = 0.25  # seconds between two looks at the memory
STOP_LIMIT = 2.0  # seconds; all of it takes a few milliseconds
PAGE = os.sysconf("SC_PAGE_SIZE")


class Boxed(Child):
    """What `supervisor().spawn` gives for bubblewrap's command line: bubblewrap, in it its init, in it our entry.

    A kill ends init, and with it, by the kernel's promise, every process of the sandbox, wherever it has gone.
    A pause stops them all. Any other signal goes to the program alone.
    """

    gate: Gate

    @property
    def returncode(self) -> int | None:
        """The program's exit code; -N when signal N ended it, which bubblewrap tells as 128 + N."""
        code = super().returncode
        return code if code is None or code < 128 else 128 - code

    async def wait(self, timeout: float | None = None) -> int:
        """As a child's, with the program's exit code."""
        code = await super().wait(timeout)
        return code if code < 128 else 128 - code

    def signal(self, number: int) -> bool:
        """To all of the sandbox (kill, stop, continue), or to the program. False when it has ended already."""
        if number == signal.SIGKILL:
            return self.kill_now() or super().signal(number)
        if number == signal.SIGSTOP:
            return self.pause()
        if number == signal.SIGCONT:
            told = [_tell(pid, number) for pid in self.processes()]
            return self.alive and all(told)
        program = self._program()
        if program is None and number == signal.SIGTERM:  # there is nothing yet that could end well
            return self.signal(signal.SIGKILL)
        return self.alive and program is not None and _tell(program, number)

    def kill_now(self) -> bool:
        """SIGKILL to the sandbox's init, from any thread, without waiting; False when there is none."""
        inner = _children(self.pid) if self.alive else []
        return bool([pid for pid in inner if _tell(pid, signal.SIGKILL)])

    def pause(self) -> bool:
        """SIGSTOP to all; when this returns, every one of them stands still."""
        end = time.monotonic() + STOP_LIMIT
        while self.alive and time.monotonic() < end:
            running = [pid for pid in self.processes() if not owners.stands_still(pid)]
            if not running:
                return True
            for pid in running:
                _tell(pid, signal.SIGSTOP)
            time.sleep(0.001)
        return self.alive

    def processes(self) -> list[int]:
        """The process ids of all that is in the sandbox, its init first: orphans are init's children."""
        found, new = list[int](), _children(self.pid) if self.alive else []
        while new:
            found += new
            new = [pid for parent in new for pid in _children(parent)]
        return found

    def _program(self) -> int | None:
        end = time.monotonic() + STOP_LIMIT
        while self.alive and time.monotonic() < end:
            level = [self.pid]
            for _ in range(3):  # init, entry, program
                level = [pid for parent in level for pid in _children(parent)[:1]]
            if level:
                return level[0]
            time.sleep(0.002)
        return None

    async def watch(self, limits: Limits) -> None:
        """Kill it when all of it together takes too much memory; close its gate when it has ended."""
        try:
            while self.alive:
                if sum(map(_resident, self.processes())) > limits.resident:
                    self.gate.stop_for(f"it took more than {limits.resident >> 20} MB of memory")
                with contextlib.suppress(TimeoutError):
                    await self.wait(LOOK)
        finally:
            self.gate.close()


class Loose(Boxed):
    """The same without a sandbox: a process of this machine, with all rights of its user."""

    def signal(self, number: int) -> bool:
        """To its process group."""
        return Child.signal(self, number)

    def pause(self) -> bool:
        """As a child's."""
        return Child.pause(self)

    def kill_now(self) -> bool:
        """SIGKILL to its process group."""
        return _tell(-self.pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Itself."""
        return [self.pid]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        tasks = [Path(f"/proc/{pid}/task/{pid}/children")]
        if len(os.listdir(f"/proc/{pid}/task")) > 1:
            tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))
        return [int(one) for path in tasks for one in path.read_text().split()]
    return []


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def _tell(pid: int, number: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, number)
        return True
    return False
