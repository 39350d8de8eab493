"""The processes of one service: started, watched, drained. `ServiceHandle` (service_handle.py) is what a reader holds.

The coroutines run on one event loop in a thread of its own, `services_loop()`, so that services get on while the
notebook's own loop is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from itertools import dropwhile
from pathlib import Path
from typing import Annotated

import msgspec

from classroom import marks
from classroom.brokers.ports import Port
from classroom.service_plan import Plan, ServiceError
from classroom.service_replica import WORST_FIRST, Replica
from classroom.service_text import advice, cell_lines
from classroom.supervisor import Child, supervisor, tail

GRACE = 10.0  # seconds that handlers have to finish when the service is stopped
DRAIN_LIMIT = GRACE + 2  # seconds; whoever is not gone by then is killed
READY_LIMIT = 30.0  # seconds; a service is ready in less than one
MORE = 60  # lines of a log that are read besides those wanted: frames will be taken out
LOGS_KEPT = 8  # starts of each replica whose logs are kept
MOST_REPLICAS = 32
OWN_PORT = ("tcp", "grpc")  # what needs no broker
Word = Annotated[str, msgspec.Meta(max_length=255)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class Handler(msgspec.Struct):
    """What a process says of one handler."""

    route: Word
    dead_letter: Word | None = None
    delays: Annotated[list[Seconds], msgspec.Meta(max_length=100)] = []


class Ready(msgspec.Struct):
    """The line by which a process says that it is ready: checked, since a grader reads it of code it does not trust."""

    handlers: Annotated[list[Handler], msgspec.Meta(max_length=200)]


class Fleet:
    """All replicas of one service, its ports, its files and logs."""

    def __init__(self, name: str, plan: Plan, knows: Callable[[str], bool]) -> None:
        self.name, self.plan = name, plan
        self.wanted = plan  # what the cell asked for last; the plan once the old version has drained
        self.replicas: list[Replica] = []
        self.handlers: list[str] = []
        self.dead: list[str] = []  # the dead-letter queues that they name
        self.delays: list[float] = []  # seconds that an event of theirs may wait for its next attempt
        self.history: deque[str] = deque(maxlen=7)  # the last states that it went through
        self.forgotten = False  # whether there were more
        self.note = ""  # what the reader should know besides
        self.logs: deque[Path] = deque()
        self.pending = 0  # deploys that were asked for and have not started their processes yet
        self.settled = threading.Event()  # set while nothing is pending
        self._knows = knows  # whether the notebook has a variable of that name
        self._failure: Exception | None = None
        self._folder: Path | None = None
        self._versions = self._starts = 0
        self._ports: dict[str, Port] = {}
        self._choosing = threading.Lock()  # a cell may ask for the address while the services' loop starts it
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """The worst state of all replicas."""
        if self.pending or not (self.replicas or self._failure):
            return "starting"
        if self._failure:
            return "crashed"
        return min((replica.state for replica in self.replicas), key=WORST_FIRST.index)

    def port(self, side: str) -> int:
        """The port of the "tcp", "grpc" or "http" side: chosen at the first call, kept for good. From any thread."""
        with self._choosing:
            port = self._ports[side] = self._ports.get(side) or Port()
            return port.number

    def url(self, plan: Plan) -> str:
        """The broker's address, or its own."""
        return plan.broker_url() or f"{plan.on}://127.0.0.1:{self.port(plan.on)}"

    # coroutines of the services' loop

    async def deploy(self, plan: Plan) -> None:
        """Drain what runs, then start the new plan. A failure is kept for `until_ready`."""
        async with self._lock:
            await self._drain(self.replicas)
            self.plan = plan
            # replaced in one step: a view in another thread may look at any time
            self.history, self.forgotten = deque([self.state], maxlen=self.history.maxlen), False
            self.handlers = []
            self._start(new_version=True)
            self.pending -= 1
            if not self.pending:
                self.settled.set()
            self.changed()

    async def restart(self, plan: Plan | None = None) -> None:
        async with self._lock:
            await self._drain(self.replicas)
            self.plan = plan or self.plan
            self._start()
        await self.until_ready()

    async def scale(self, plan: Plan) -> None:
        async with self._lock:
            living = [one for one in self.replicas if one.alive]
            await self._drain(living[plan.replicas :])
            self.plan = plan
            self._start(keep=living[: plan.replicas])
        await self.until_ready()

    async def stop(self, number: int | None = None) -> None:
        """Drain all replicas, or the one of this number."""
        async with self._lock:
            await self._drain([one for one in self.replicas if number in (None, one.number)])

    async def until_ready(self, limit: float = READY_LIMIT) -> None:
        """Return when all replicas are ready. Raises ServiceError when one never will be."""
        try:
            async with asyncio.timeout(limit):
                while not self._is_ready():
                    await self._changed.wait()
        except TimeoutError:
            printed = [line for one in self.replicas for line in tail(one.child.log, 10)]
            text = "\n".join([f"{self.name} is still starting after {limit:g} s. It printed:", *printed])
            raise ServiceError(text) from None

    def changed(self) -> None:
        """Wake who waits. On the services' loop only."""
        self.record()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def record(self) -> None:
        """Note the state if it is a new one. From any thread."""
        state = self.state
        if not self.history or self.history[-1] != state:
            self.forgotten = self.forgotten or len(self.history) == self.history.maxlen
            self.history.append(state)

    def _is_ready(self) -> bool:
        if self.pending:
            return False
        if self._failure:
            raise ServiceError(f"{self.name} could not be started: {self._failure}") from self._failure
        for one in self.replicas:
            if one.state not in ("starting", "ready"):
                raise ServiceError(self._why(one))
        return all(one.ready for one in self.replicas)

    def _why(self, one: Replica) -> str:
        if one.state == "paused":
            return f"{self.name} is paused. Let it go on: await {self.name}.resume()"
        if one.state != "crashed":
            done = {"killed": "was killed", "stopped": "is stopped"}[one.state]
            return f"{self.name} {done}. Start it again: await {self.name}.restart()"
        what = "crashed" if one.ready else "ended before it was ready"
        return "\n".join([f"{self.name} {what} (exit code {one.returncode}).", *self.printed([one.child.log], 40)])

    def printed(self, logs: Iterable[Path], lines: int, advise: bool = True) -> list[str]:
        """The last lines of some logs, with the cell's line numbers; advice after a known error."""
        raw = [line for path in logs for line in _whole(tail(path, lines + MORE), lines + MORE)]
        found = cell_lines(raw, self.name)[-lines:] if lines > 0 else []
        return found + (advice(found, self._knows) if advise else [])

    async def _drain(self, replicas: list[Replica]) -> None:
        self.note = ""
        living = [one for one in replicas if one.alive]
        for one in living:
            one.draining, one.paused = True, False
            one.child.signal(signal.SIGTERM)
            one.child.signal(signal.SIGCONT)  # a paused process takes its SIGTERM only now
        self.changed()
        ends = await asyncio.gather(*(one.child.wait(DRAIN_LIMIT) for one in living), return_exceptions=True)
        if any(isinstance(end, TimeoutError) for end in ends):
            self.note = f"work was still under way {DRAIN_LIMIT:g} s after SIGTERM: it was cut off"
            for one in living:
                one.cut_off = True
                one.child.kill()
        self.changed()

    def _start(self, *, new_version: bool = False, keep: list[Replica] | None = None) -> None:
        self._failure, self.replicas = None, keep or []
        taken = {one.number for one in self.replicas}
        try:
            if new_version or self._folder is None or not self._folder.exists():
                self._write()
            for number in [n for n in range(MOST_REPLICAS) if n not in taken][: self.plan.replicas - len(taken)]:
                self._add(Replica(number, self._spawn(number)))
        except Exception as error:  # shown by until_ready: no cell may be waiting now
            self._failure = error
        self.changed()

    def _write(self) -> None:
        """Each version is a file of its own: an old one's tracebacks read theirs until it has drained."""
        if self._folder is None or not self._folder.exists():
            self._folder = supervisor().folder(f"service-{self.name}-")
            self.crashes.mkdir()
        self._versions += 1
        self._file().parent.mkdir()
        self._file().write_text(self.plan.source, encoding="utf-8")

    @property
    def crashes(self) -> Path:
        """The folder of the crashes that are planned."""
        assert self._folder
        return self._folder / "crashes"

    def _file(self) -> Path:
        assert self._folder
        return self._folder / f"v{self._versions}" / f"{self.name}.py"

    def _spawn(self, number: int) -> Child:
        plan = self.plan
        argv = ["run", str(self._file()), "--url", self.url(plan)]
        argv += ["--name", self.name, "--delivery", plan.delivery, "--grace", f"{GRACE:g}", "--ready-fd", "{ready_fd}"]
        argv += [*plan.queue, *(["--group", plan.group] if plan.group else [])]
        argv += ["--proto", plan.proto] if plan.proto else []
        argv += ["--http", f"127.0.0.1:{self.port('http')}"] if plan.http else []
        environment = {"CLASSROOM_SERVICE": self.name, "CLASSROOM_REPLICA": str(number)}  # who calls the ledger
        environment["POSTOFFICE_REPLICA"] = str(number)  # whose session is whose, on MQTT
        if plan.runner is not None:
            program = ["-P", "-m", "postoffice", *argv]
            shown = [self._file().parent, *([Path(plan.proto)] if plan.proto else [])]
            ports = [self.port(plan.on)] if plan.on in OWN_PORT else []
            ports += [self.port("http")] if plan.http else []
            return plan.runner.spawn(
                self.name, number, program, environment=environment, log=self._new_log(), shown=shown, ports=ports
            )
        argv = [sys.executable, "-m", "classroom.crashable", "postoffice", *argv]
        environment |= {"PYTHONUNBUFFERED": "1", **marks.environment(self.name, number)}
        environment["CLASSROOM_CRASHES"] = str(self.crashes)
        return supervisor().spawn(argv, env={**os.environ, **environment}, log=self._new_log(), pass_ready=True)

    def _new_log(self) -> Path:
        assert self._folder
        while len(self.logs) >= LOGS_KEPT * self.plan.replicas:
            old = self.logs.popleft()
            for path in (old, old.with_name(old.name + ".1")):
                path.unlink(missing_ok=True)
        self._starts += 1
        self.logs.append(self._folder / f"log-v{self._versions}-{self._starts}")
        return self.logs[-1]

    def logs_of_this_version(self) -> list[Path]:
        """The logs of the starts since the cell was last run."""
        return [path for path in self.logs if path.name.startswith(f"log-v{self._versions}-")]

    def _add(self, replica: Replica) -> None:
        self.replicas.append(replica)
        marks.mark(f"{self.name} {replica.number}", "started", f"pid {replica.pid}")
        watch = asyncio.get_running_loop().create_task(self._watch(replica))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, replica: Replica) -> None:
        with contextlib.suppress(Exception):  # it ended before it was ready: its state tells
            line = msgspec.json.decode(await replica.child.ready_line(), type=Ready)
            self.handlers = [one.route for one in line.handlers]
            self.dead = [one.dead_letter for one in line.handlers if one.dead_letter]
            self.delays = sorted({delay for one in line.handlers for delay in one.delays})
            replica.ready = True
            self.changed()
        code = await replica.child.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        marks.mark(f"{self.name} {replica.number}", replica.state, how, replica.child.ended_at)
        self.changed()


def _whole(lines: list[str], most: int) -> list[str]:
    """Without the rest of a traceback that began before the first of `most` lines."""
    return list(dropwhile(lambda line: line.startswith(" "), lines)) if len(lines) == most else lines


@cache
def services_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all services of this kernel, in a daemon thread."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="classroom-services", daemon=True).start()
    return loop
