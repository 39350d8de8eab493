"""Starts the processes of a submission, each in a sandbox of its own, and kills them at points seen from outside."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from classroom.faults.fault import Fault
from classroom.grading.boxed import Boxed, Loose
from classroom.grading.gate import Gate, Wire
from classroom.grading.sandbox import LIMITS, Box, Limits, command
from classroom.service_fleet import services_loop
from classroom.service_replica import Replica
from classroom.supervisor import supervisor

__all__ = ["GateCrash", "Runner"]

POLL = 0.005  # seconds
POINTS = {  # a point in a message's life -> what passes the gate there, and whether it still passes
    "received": ("deliver", "before"),
    "before-handler": ("deliver", "before"),
    "after-handler": ("ack", "before"),
    "acked": ("ack", "after"),
    "replied": ("publish", "after"),
    "retried": ("settled", "before"),
    "dead-lettered": ("settled", "before"),
}
"""`retried` and `dead-lettered`: a copy has been published, and the ack of the original is on its way."""


class Runner:
    """Starts sandboxes that share what they may reach. All of it runs on the services' loop.

    Args:
        wires: which servers of this machine they may reach, by port. environment: what is in their environment besides.
        sandboxed: False: no sandbox at all, as --unsafe says; only drivers are started this way then.
    """

    def __init__(
        self, wires: dict[int, Wire], environment: dict[str, str], limits: Limits = LIMITS, sandboxed: bool = True
    ) -> None:
        self.wires, self.environment, self.limits, self.sandboxed = wires, environment, limits, sandboxed
        self.boxes: list[Boxed] = []
        self.armed: list[GateCrash] = []
        self._serving: dict[int, Gate] = {}
        self._watches: set[asyncio.Task[None]] = set()

    def spawn(
        self,
        service: str,
        number: int,
        program: Sequence[str],
        *,
        environment: dict[str, str],
        log: Path,
        shown: Sequence[Path] = (),
        ports: Sequence[int] = (),
    ) -> Boxed:
        """Start a program in a sandbox.

        Args:
            service, number: who it is for the ledger. program: its words, the first of them a Python module.
            shown: files and folders to read, at their own paths. ports: those at which it serves.
        """
        for port in ports:
            if port in self._serving:
                self._serving[port].close()
        caller = {"service": service, "replica": number, "pid": 0}
        gate = Gate(supervisor().folder("gate-"), dict(self.wires), self.limits.sent, caller)
        files = {str(path): str(path) for path in shown}
        box = Box(gate.path, files, self.environment | environment, tuple(gate.wires), self.limits)
        argv, own = [sys.executable, *program], dict[str, str]()
        if self.sandboxed:
            argv = command(box, argv)
        else:
            own = {**os.environ, **box.environment, "CLASSROOM_GATE": str(gate.path)}
        kind = Boxed if self.sandboxed else Loose
        child = cast(Boxed, supervisor().spawn(argv, env=own, log=log, pass_ready=True, kind=kind))
        caller["pid"], child.gate, gate.kill = child.pid, gate, child.kill_now
        for port in ports:
            gate.publish(port)
            self._serving[port] = gate
        self.boxes.append(child)
        for crash in self.armed:
            crash.arm(child, number)
        watch = asyncio.get_running_loop().create_task(child.watch(self.limits))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return child

    def crash(
        self,
        name: str,
        replicas: Callable[[], Sequence[Replica]],
        bring_back: Callable[[], Awaitable[None]],
        plan: dict[str, Any],
    ) -> GateCrash:
        """A crash of one of these processes at a point of its work, not begun yet."""
        return GateCrash(self, name, replicas, bring_back, plan)

    def troubles(self) -> list[str]:
        """Which limits were broken, each once."""
        return list(dict.fromkeys(box.gate.trouble for box in self.boxes if box.gate.trouble))

    def end(self) -> None:
        """Kill all that is left."""
        for box in self.boxes:
            box.kill()
            services_loop().call_soon_threadsafe(box.gate.close)


class GateCrash(Fault):
    """SIGKILL to a sandbox when the nth message passes its gate. The process inside is not asked and not told.

    Each sandbox counts for itself, and the first to arrive crashes. While one waits for `acked`, calls to the ledger
    are held for a moment: who acknowledges before the work is done then dies with the work undone, every time.
    """

    def __init__(
        self,
        runner: Runner,
        name: str,
        replicas: Callable[[], Sequence[Replica]],
        bring_back: Callable[[], Awaitable[None]],
        plan: dict[str, Any],
    ) -> None:
        super().__init__(f"{name} crashes at {plan['point']}", self._arm_all, self._call_off)
        self._runner, self._replicas, self._bring_back, self._plan = runner, replicas, bring_back, plan
        self._what, self._fate = POINTS.get(plan["point"], ("", ""))
        self._victim: Boxed | None = None

    @property
    def fired(self) -> bool:
        """Whether it has happened."""
        return self._victim is not None

    async def wait(self, timeout: float = 30.0) -> None:
        """Return when it has happened and the process is gone. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            # it happens on another loop, that of the services
            while self._victim is None or self._victim.alive:  # noqa: ASYNC110
                await asyncio.sleep(POLL)

    async def _arm_all(self) -> None:
        self._runner.armed.append(self)
        for one in self._replicas():
            if isinstance(one.child, Boxed):
                self.arm(one.child, one.number)

    def arm(self, box: Boxed, number: int) -> None:
        """Watch a sandbox that runs, or that has just been started."""
        plan, seen, published = self._plan, 0, False
        if plan["replica"] not in (None, number):
            return
        chance = Random(f"{plan['seed']} {number}")

        def watch(what: str) -> str:
            nonlocal seen, published
            settled = what == "ack" and published
            published = what == "publish" or (published and what != "ack")
            if self.fired or (what != self._what and not (settled and self._what == "settled")):
                return ""
            seen += 1
            if seen == plan["nth"] if plan["probability"] is None else chance.random() < plan["probability"]:
                self._victim = box
                self._disarm()
                return self._fate
            return ""

        box.gate.watch, box.gate.holds_ledger = watch, plan["point"] == "acked"

    def _disarm(self) -> None:
        if self in self._runner.armed:
            self._runner.armed.remove(self)
        for box in self._runner.boxes:
            box.gate.holds_ledger = box is self._victim

    async def _call_off(self) -> None:
        self._disarm()
        for box in self._runner.boxes:
            box.gate.watch = lambda _: ""
        if self.fired:
            await self._bring_back()
