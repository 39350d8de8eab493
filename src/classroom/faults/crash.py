"""A crash of a service at a named point of its work, planned from the kernel. Its other end: classroom.crashable."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, get_args

from classroom.crashable import ARMED, FIRED, PLAN
from classroom.faults.fault import Fault
from postoffice.points import Point

ARM_LIMIT = 10.0  # seconds; a process answers in a millisecond, one that starts in half a second
POLL = 0.005  # seconds
AGAIN = 0.1  # seconds until a process that starts is told again


class Victim(Protocol):
    """A process that may crash."""

    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    def send(self, number: int) -> None: ...


class Crash(Fault):
    """A process that will kill itself (SIGKILL) at a point of its work, once.

    `fired` says whether it has. To undo it means to call it off, and to start again what has crashed.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        victims: Callable[[], Sequence[Victim]],
        bring_back: Callable[[], Awaitable[None]],
        plan: dict[str, object],
    ) -> None:
        super().__init__(f"{name} crashes at {plan['point']}", self._arm, self._call_off)
        self._path = folder / f"{secrets.token_hex(6)}{PLAN}"
        self._victims, self._bring_back, self._plan = victims, bring_back, plan

    @property
    def fired(self) -> bool:
        """Whether the crash has happened."""
        return self._crashed is not None

    @property
    def _crashed(self) -> int | None:
        """The pid of the process that has crashed."""
        found = self._path.parent.glob(f"{self._path.stem}{FIRED}-*")
        return next((int(path.suffix.rpartition("-")[2]) for path in found), None)

    async def wait(self, timeout: float = 30.0) -> None:
        """Return when it has happened and the process is gone. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            # the other end is a file: nothing here could set an event
            while (pid := self._crashed) is None or any(one.alive for one in self._victims() if one.pid == pid):  # noqa: ASYNC110
                await asyncio.sleep(POLL)

    async def _arm(self) -> None:
        """Write the plan; return when every process that runs has taken it up."""
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._plan))
        new.rename(self._path)
        clock = asyncio.get_running_loop().time
        end, again = clock() + ARM_LIMIT, 0.0
        while waiting := [one for one in self._victims() if one.alive and not self._knows(one)]:
            if clock() > end:
                raise TimeoutError(f"{self.name}: process {waiting[0].pid} does not answer. Is it paused?")
            if clock() > again:
                again = clock() + AGAIN
                for one in waiting:
                    one.send(signal.SIGURG)
            await asyncio.sleep(POLL)

    def _knows(self, victim: Victim) -> bool:
        return self.fired or self._path.with_suffix(f"{ARMED}-{victim.pid}").exists()

    async def _call_off(self) -> None:
        self._path.unlink(missing_ok=True)
        for one in self._victims():
            if one.alive:
                one.send(signal.SIGURG)
        if self.fired:
            await self._bring_back()


def plan(point: str, nth: int, replica: int | None, probability: float | None, seed: int) -> dict[str, object]:
    """A plan, checked. Raises ValueError."""
    if point not in get_args(Point):
        raise ValueError(f"{point!r} is no point in a message's life: choose from {', '.join(get_args(Point))}")
    if not isinstance(nth, int) or nth < 1:
        raise ValueError(f"nth counts the messages that reach the point, from 1; got {nth!r}")
    if probability is not None and not 0 < probability <= 1:
        raise ValueError(f"probability is more than 0 and at most 1, for each message; got {probability!r}")
    return {"point": point, "nth": nth, "replica": replica, "probability": probability, "seed": seed}
