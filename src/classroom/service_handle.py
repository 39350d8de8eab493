"""What a reader holds of a service: its state, and the verbs to use it and to break it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from typing import Any, TypeVar

from classroom import marks
from classroom.faults.crash import Crash
from classroom.faults.crash import plan as plan_of
from classroom.faults.fault import Fault
from classroom.keeping import KeptUp
from classroom.service_fleet import (
    DRAIN_LIMIT,
    MOST_REPLICAS,
    READY_LIMIT,
    Fleet,
    services_loop,
)
from classroom.service_plan import Plan, ServiceError, queue_options
from classroom.service_replica import Replica
from classroom.service_text import summary

T = TypeVar("T")
ONE_ON_TCP = (
    "a service over TCP or gRPC is one process: it owns its port, and there is no broker that would spread the load. "
    "For several replicas, start a broker and give it to --on."
)


class ServiceHandle:
    """A service that a %%service cell started. `await users` waits until it is ready.

    Its states are starting, ready, paused, stopped, crashed and killed; of several replicas the worst counts.
    `kill` and `pause` act at once, from any thread; the verbs that wait are async, and may be awaited on any loop.
    """

    def __init__(self, name: str, plan: Plan, knows: Callable[[str], bool]) -> None:
        self.name = name
        self._fleet = Fleet(name, plan, knows)
        self.on_change: Callable[[], None] = lambda: None  # the view's, called when a verb has done its work

    @property
    def url(self) -> str:
        """Where clients reach it: its own address on TCP, else the broker's. The same over restarts."""
        return self._fleet.url(self._fleet.wanted)

    @property
    def http(self) -> str:
        """Its HTTP side, as http://127.0.0.1:PORT, the same over restarts. Raises ServiceError when it has none."""
        if not self._fleet.wanted.http:
            raise ServiceError(f"{self.name} has no HTTP side: add --http to its cell, and an ASGI app called `app`")
        return f"http://127.0.0.1:{self._fleet.port('http')}"

    @property
    def state(self) -> str:
        """starting, ready, paused, stopped, crashed or killed."""
        return self._fleet.state

    @property
    def replicas(self) -> list[Replica]:
        """Its processes, each with `number`, `pid`, `state` and `returncode`."""
        return list(self._fleet.replicas)

    @property
    def alive(self) -> bool:
        """Whether at least one of its processes runs; a paused one does."""
        return any(replica.alive for replica in self._fleet.replicas)

    @property
    def queues(self) -> list[str]:
        """The queues that are its own where a broker has queues: what it takes from, and its dead letters'."""
        return [*dict.fromkeys([self.name, *self._fleet.dead, f"{self.name}.dead"])]

    @property
    def plan(self) -> Plan:
        """What its cell asked for last."""
        return self._fleet.wanted

    @property
    def delays(self) -> list[float]:
        """Seconds that an event of its may wait for its next attempt, as its handlers' Retry says."""
        return list(self._fleet.delays)

    @property
    def scales(self) -> bool:
        """Whether it may have several replicas: behind a broker, and without an HTTP side."""
        return self._fleet.wanted.on.partition("://")[0] not in ("tcp", "grpc") and not self._fleet.wanted.http

    def logs(self, lines: int = 20) -> str:
        """The last lines that it printed, earlier starts included; of several replicas, one after the other.

        Line numbers are those of the cell. Each log is bounded: it keeps its last 1 to 2 MiB.
        """
        return "\n".join(self._fleet.printed(self._fleet.logs, lines, advise=False))

    def __repr__(self) -> str:
        return "\n".join([summary(self.name, self._fleet), *self._last_words()])

    def _last_words(self) -> list[str]:
        crashed = [one.child.log for one in self._fleet.replicas if one.state == "crashed"]
        return self._fleet.printed(crashed, 12)

    def view(self, lines: int) -> tuple[str, list[str]]:
        """A line of state, and the last lines printed since the cell was run, for its output. It names no port."""
        printed = self._fleet.printed(self._fleet.logs_of_this_version(), lines + 1)
        shown = [line for line in printed if not line.startswith(f"{self.name} is ready on ")]
        return summary(self.name, self._fleet), shown[-lines:]

    # at once

    def kill(self, replica: int | None = None) -> None:
        """SIGKILL all replicas, or the one of this number (from 0): no drain, no goodbye, as in a crash."""
        self._kill(replica)
        if self._fleet.pending:  # its cell was run this moment: the new process is meant, too
            self._fleet.settled.wait(DRAIN_LIMIT)
            self._kill(replica)
        self._told()

    def pause(self, replica: int | None = None) -> None:
        """SIGSTOP, for all or one: it stays connected and answers nothing, until `resume()`."""
        self._fleet.settled.wait(DRAIN_LIMIT)
        for one in self._chosen(replica):
            one.paused = one.child.pause()
            marks.mark(f"{self.name} {one.number}", "paused")
        self._told()

    def _kill(self, replica: int | None) -> None:
        for one in self._chosen(replica):
            one.draining = False
            one.child.kill()

    def _chosen(self, number: int | None) -> list[Replica]:
        replicas = self.replicas
        if number is not None and number not in {one.number for one in replicas}:
            known = ", ".join(str(one.number) for one in replicas)
            raise ServiceError(f"{self.name} has no replica {number}; it has {known}")
        return [one for one in replicas if one.alive and number in (None, one.number)]

    # verbs that wait

    async def ready(self, timeout: float = READY_LIMIT) -> ServiceHandle:
        """Wait until all replicas serve, `timeout` seconds at the most.

        Raises ServiceError when one never will: it crashed (with its traceback), was killed, is paused or stopped.
        """
        await self._do(self._fleet.until_ready(timeout))
        return self

    def __await__(self) -> Generator[Any, None, ServiceHandle]:
        return self.ready().__await__()

    async def resume(self) -> None:
        """SIGCONT after `pause()`: it goes on with all that has arrived meanwhile."""
        for one in self._chosen(None):
            one.child.signal(signal.SIGCONT)
            one.paused = False
            marks.mark(f"{self.name} {one.number}", "resumed")
        self._told()
        await self._do(self._fleet.until_ready())

    async def restart(self, *, prefetch: int | None = None) -> None:
        """Drain what runs, start again on the same port, wait until it is ready. The way back after `kill()`, too.

        With `prefetch` it goes on with another one (at least once only) until its cell is run again.
        """
        if prefetch is not None:
            words = queue_options(self._fleet.wanted.delivery, prefetch)
            self._fleet.wanted = replace(self._fleet.wanted, queue=(*self._fleet.wanted.queue, *words))
        await self._do(self._fleet.restart(self._fleet.wanted))

    async def scale(self, replicas: int) -> None:
        """Have this many processes (1 to 32); those that are too many drain first. More than 1 needs a broker."""
        plan = self._fleet.wanted
        if not 1 <= replicas <= MOST_REPLICAS:
            raise ServiceError(f"scale takes 1 to {MOST_REPLICAS} replicas, not {replicas}. For none: stop()")
        if replicas > 1 and plan.broker_url() is None:
            raise ServiceError(ONE_ON_TCP)
        self._fleet.wanted = replace(plan, replicas=replicas)
        await self._do(self._fleet.scale(self._fleet.wanted))

    async def stop(self) -> None:
        """SIGTERM: finish what is under way, take nothing new, exit. Cut off if that takes more than 12 seconds."""
        await self._do(self._fleet.stop())

    # faults that undo themselves

    def paused(self, replica: int | None = None) -> Fault:
        """`async with users.paused():` frozen as by `pause()`, all or one; resumed at the end."""
        return Fault(f"{self.name} paused", lambda: asyncio.to_thread(self.pause, replica), self.resume)

    def killed(self, replica: int | None = None) -> Fault:
        """`async with users.killed():` killed as by `kill()`, all or one; started again at the end."""
        return Fault(f"{self.name} killed", lambda: asyncio.to_thread(self.kill, replica), self._bring_back)

    def stopped(self, replica: int | None = None) -> Fault:
        """`async with users.stopped():` SIGTERM as by `stop()`, all or one; started again at the end."""
        return Fault(f"{self.name} stopped", lambda: self._do(self._fleet.stop(replica)), self._bring_back)

    def kept_up(self) -> KeptUp:
        """`async with users.kept_up() as kept:` started again whenever it crashes; `kept.crashes` counts."""
        return KeptUp(self)

    def crash_at(
        self,
        point: str,
        nth: int = 1,
        *,
        replica: int | None = None,
        probability: float | None = None,
        seed: int = 0,
    ) -> Crash:
        """SIGKILL itself when the `nth` message from now reaches a point; it happens once.

            crash = await users.crash_at("after-handler", nth=3)    # the work is done, and not acknowledged
            await crash.wait(); await users.restart()
            async with users.crash_at("before-handler") as crash:   # called off and started again at the end
                ...

        The points are those of `postoffice.points`. Each replica counts for itself, and the first to arrive crashes,
        or only the one of this number. With `probability`, each message may be the one, as `seed` decides.
        A service that is down has the crash before it when it starts.
        Raises ValueError for no such point; TimeoutError when a process does not answer, as one that is paused.
        """
        victims = self._fleet
        if (runner := victims.wanted.runner) is not None:
            checked = plan_of(point, nth, replica, probability, seed)
            crash: Crash = runner.crash(self.name, lambda: victims.replicas, self._bring_back, checked)
            return crash
        return Crash(
            self.name,
            victims.crashes,
            lambda: [one for one in victims.replicas if replica in (None, one.number)],
            self._bring_back,
            plan_of(point, nth, replica, probability, seed),
        )

    async def _bring_back(self) -> None:
        """All replicas up again, unless the body has seen to that. Those that run stay."""
        if any(not one.alive for one in self._fleet.replicas):
            await self._do(self._fleet.scale(self._fleet.plan))

    def twin(self, name: str) -> ServiceHandle:
        """The same cell as a service of another name, so with queues of its own; it starts at once."""
        other = ServiceHandle(name, self.plan, lambda _: False)
        other.deploy(self.plan)
        return other

    def deploy(self, plan: Plan) -> None:
        """Replace what runs by this plan: drain, then start. Returns at once; `ready()` waits for the new one."""
        self._fleet.wanted = plan
        self._fleet.pending += 1
        self._fleet.settled.clear()
        self._told()
        asyncio.run_coroutine_threadsafe(self._fleet.deploy(plan), services_loop())

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work on the services' loop; interrupting the waiting cell does not tear the work apart."""
        future = asyncio.run_coroutine_threadsafe(work, services_loop())
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should nobody wait then
        try:
            return await asyncio.shield(waiting)
        finally:
            self.on_change()

    def _told(self) -> None:
        self._fleet.record()
        services_loop().call_soon_threadsafe(self._fleet.changed)
        self.on_change()
