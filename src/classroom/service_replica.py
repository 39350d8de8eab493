"""One process of a service, and the state that it is in."""

from __future__ import annotations

import signal

from classroom.supervisor import Child

WORST_FIRST = ("crashed", "killed", "stopped", "starting", "paused", "ready")


class Replica:
    """One process of a service: `number`, `pid`, `state`, `returncode`."""

    def __init__(self, number: int, child: Child) -> None:
        self.number, self.child, self.pid = number, child, child.pid
        self.ready = self.paused = self.draining = self.cut_off = False

    @property
    def alive(self) -> bool:
        """Whether the process runs; a paused one does."""
        return self.child.alive

    @property
    def returncode(self) -> int | None:
        """None while it runs; -N when signal N ended it."""
        return self.child.returncode

    def send(self, number: int) -> None:
        """A signal, to its whole group."""
        self.child.signal(number)

    @property
    def state(self) -> str:
        """starting, ready, paused, stopped, crashed or killed."""
        code = self.returncode
        if code is None:
            return "paused" if self.paused else "ready" if self.ready else "starting"
        if code > 0 or (code == 0 and not (self.ready or self.draining)):
            return "crashed"
        drained = self.draining and (code != -signal.SIGKILL or self.cut_off)
        return "stopped" if code == 0 or drained else "killed"

    def __repr__(self) -> str:
        return f"<replica {self.number}: {self.state}>"
