"""`Broker`: a running broker, whatever runs it, behind one interface. `start_broker` (starting.py) makes them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from classroom import marks
from classroom.brokers.catalogue import Kind
from classroom.brokers.engine import Engine
from classroom.brokers.errors import BrokerError, BrokerFailed, NoDisk, NotOurs, PortTaken
from classroom.brokers.ports import Ports
from classroom.brokers.probes import NOT_READY, probe
from classroom.faults.fault import Fault
from classroom.faults.link import Link
from classroom.logs import without_colours

if TYPE_CHECKING:
    from classroom.letters import Letters

POLL = 0.05  # seconds between two questions whether it is ready
LITTLE_ROOM = 50_000_000  # bytes; a broker that fails with less free has failed for that
EXTERNAL_LIMIT = 5.0  # seconds until one that runs already must answer
RESUME_LIMIT = 10.0  # seconds until a resumed broker must answer
IN_THE_PATH = "A link is in the path: `await broker.link.cost()` says what it adds to every round trip."


class Urls(NamedTuple):
    """Where clients connect, and what goes past the link; the same without a link."""

    public: str
    direct: str


class Broker:
    """A running broker: its address is `url`, and it can be broken on purpose.

    With a link, `url` is the link's address, and `direct_url` goes past it. Its port and its data stay the same over
    `kill` and `restart`. It ends with the kernel at the latest.
    """

    def __init__(
        self, name: str, kind: Kind, source: str, engine: Engine | None, urls: Urls, ports: Ports | None
    ) -> None:
        self.name, self.kind, self.source = name, kind.name, source
        self.url, self.direct_url = urls
        self.engine = engine.name if engine else "external"
        self.product, self.version = kind.title, ""
        self.limits = kind.limits if engine else "It is run by someone else: nothing of it can be broken from here."
        self.state = "starting"  # then "running", "paused", "killed", "ended" or "stopped"
        self._kind, self._engine, self._ports = kind, engine, ports
        self._link: Link | None = None

    @property
    def link(self) -> Link:
        """The network between everyone and it. Raises BrokerError when it was started without."""
        if self._link is None:
            again = f'start_broker("{self.kind}", link=True)'
            raise BrokerError(f"{self._title} was started without a link, so its network is whole: await {again}")
        return self._link

    @property
    def has_link(self) -> bool:
        """Whether its network can be broken."""
        return self._link is not None

    def add_link(self, link: Link) -> None:
        """Say that `url` goes through this link, which ends with the broker."""
        self._link = link
        self.limits += f" {IN_THE_PATH}"

    @property
    def alive(self) -> bool:
        """Whether its server exists; a paused one does. One that is run by someone else counts as alive."""
        return self._engine is None or (self.state != "stopped" and self._engine.alive())

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until it answers in its own protocol, asked every 50 ms.

        Raises BrokerError with its last log lines when it has ended, or does not answer within `timeout` seconds
        (by default a limit that suits the broker).
        """
        limit = self._kind.start_limit if timeout is None else timeout
        deadline = time.monotonic() + limit
        while True:
            try:
                answer = await probe(self.kind, self.direct_url)
            except NOT_READY as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if await asyncio.to_thread(lambda: self.alive):  # else another program answered on its port
                    self.product, self.version = answer.product, answer.version or self._version_of_source()
                    return
                problem = "another program answers on its port"
            if not await asyncio.to_thread(lambda: self.alive):
                raise self._failure(f"{self._title} has ended")
            if time.monotonic() > deadline:
                hint = " It is paused: `resume()` lets it go on." if self.state == "paused" else ""
                raise self._failure(f"{self._title} does not answer within {limit:g} s ({problem}).{hint}")
            await asyncio.sleep(POLL)

    def kill(self) -> None:
        """End its server at once by SIGKILL, as a crash would. `await restart()` starts it with the data left."""
        self._own("killed").kill()
        self.state = "killed"
        marks.mark(self.kind, "killed")

    def pause(self) -> None:
        """Freeze its server at once (SIGSTOP): connections stay open, nothing is answered."""
        self._own("paused").pause()
        self.state = "paused"
        marks.mark(self.kind, "paused")

    async def resume(self) -> None:
        """Let a paused one go on; returns when it answers. Harmless for one that runs. Raises BrokerError."""
        engine = self._own("resumed")
        if self.state == "paused":
            await asyncio.to_thread(engine.unpause)
            self.state = "running"
            marks.mark(self.kind, "resumed")
        await self.ready(RESUME_LIMIT)

    async def restart(self) -> None:
        """End it cleanly if it runs, then start it on the same port with the same data; returns when it answers.

        Raises PortTaken when another program took its port meanwhile, BrokerError when it does not start.
        """
        engine = self._own("restarted")
        if await asyncio.to_thread(lambda: self.alive):
            if self.state == "paused":
                await asyncio.to_thread(engine.unpause)
            await engine.end()
        self.state = "killed"
        try:
            await engine.start()
        except PortTaken as error:
            raise PortTaken(
                f"{self._title} cannot come back at {shown(self.url)}: {error}. "
                f'End that program and restart again, or `await start_broker("{self.kind}")` for another address.'
            ) from error
        self.state = "running"
        await self.ready()
        marks.mark(self.kind, "started")

    async def stop(self) -> None:
        """End it and remove everything it left: processes or container, data, port. Twice is harmless."""
        if self._engine is not None:
            await self._engine.remove()
        if self._link is not None:
            await self._link.stop()
        if self._ports is not None:
            self._ports.release()
        self.state = "stopped"
        if running.get(self.name) is self:
            del running[self.name]

    async def terminate(self) -> None:
        """End it by SIGTERM, as an operator would: it may finish and write. `await restart()` starts it again."""
        engine = self._own("ended")
        if self.state == "paused":
            await asyncio.to_thread(engine.unpause)
        await engine.end()
        self.state = "ended"
        marks.mark(self.kind, "stopped")

    # faults that undo themselves

    def paused(self) -> Fault:
        """`async with broker.paused():` frozen as by `pause()`, resumed at the end."""
        return Fault(f"{self._title} paused", lambda: asyncio.to_thread(self.pause), self._let_go)

    def down(self, *, clean: bool = False) -> Fault:
        """`async with broker.down():` killed, or with `clean` ended by SIGTERM; restarted at the end with its data."""

        async def begin() -> None:
            await (self.terminate() if clean else asyncio.to_thread(self.kill))

        return Fault(f"{self._title} down", begin, self._bring_back)

    def disk_full(self) -> Fault:
        """`async with broker.disk_full():` nothing is free on its disk; freed at the end.

        One that has ended for it, or will not write any more, is restarted then, with the data it has. RabbitMQ's
        has less room than its limit: there it blocks publishers, and looks again every 10 seconds at the latest.
        Raises NoDisk when it was started without a disk of its own.
        """
        room = self._own("filled up").disk
        if room is None:
            again = f'start_broker("{self.kind}", disk="64M")'
            raise NoDisk(f"{self._title} has no disk of its own that could be filled: await {again}")

        async def undo() -> None:
            if self.state != "stopped":
                await asyncio.to_thread(room.free)
                await (self.restart() if self._kind.stays_full else self._bring_back())

        return Fault(f"{self._title} with a full disk", lambda: asyncio.to_thread(room.fill, self._kind.spare), undo)

    async def _let_go(self) -> None:
        if self.state == "paused":
            await self.resume()

    async def _bring_back(self) -> None:
        """Running again, unless the body has seen to that."""
        if self.state != "stopped" and not await asyncio.to_thread(lambda: self.alive):
            await self.restart()

    async def dead_letters(self, name: str) -> Letters:
        """What lies in a dead-letter queue now, with verbs to requeue and drop. Raises UsageError: no such queue."""
        from classroom.letters import read

        return await read(self.direct_url, name)

    async def control(self, *words: str) -> str:
        """Run a program that came with the server, such as `rabbitmqctl`; what it printed. Raises BrokerError."""
        return await self._own("managed").control(list(words))

    def logs(self, lines: int = 20) -> str:
        """The last lines that its server printed. Raises NotOurs when someone else runs it."""
        return without_colours(self._own("read for its logs").logs(lines))

    def _own(self, verb: str) -> Engine:
        if self._engine is None:
            raise NotOurs(
                f"{self._title} at {shown(self.url)} is run by someone else and cannot be {verb} from here. "
                f"Without {self._kind.variable} in the environment, the course starts one of its own."
            )
        if self.state == "stopped":
            raise BrokerError(f'{self._title} was stopped: `await start_broker("{self.kind}")` starts a new one')
        return self._engine

    def _version_of_source(self) -> str:
        """The version of a server that does not tell it: what was started."""
        if self._engine is None:
            return ""
        return self._engine.candidate.version or self._kind.image.rpartition(":")[2]

    @property
    def _title(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.product}{version}" + ("" if self.name == self.kind else f" ({self.name})")

    def _failure(self, what: str) -> BrokerFailed:
        """An error with the last log lines and the next step."""
        if self._engine is None:
            return BrokerFailed(f"{what}. Is it running at {shown(self.url)}, the address in {self._kind.variable}?")
        lines = without_colours(self._engine.logs(20)).splitlines() or ["(it printed nothing)"]
        logs = "\n".join(line[:300] for line in lines)
        step = "`restart()` starts it again with the data it has" if self.version else "the last lines say why"
        if self.engine == "process" and (free := shutil.disk_usage(tempfile.gettempdir()).free) < LITTLE_ROOM:
            step = f"{tempfile.gettempdir()} has {free / 1e6:.0f} MB free, too little: set TMPDIR to a folder with room"
        return BrokerFailed(f"{what} [{self.engine}, {self.source}]; {step}. Its last lines:\n{logs}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        how = {"container": "in a container", "process": "as a local process", "external": "run by someone else"}
        return f"{self._title} {how[self.engine]} ({self.source}): {self.state}, {shown(self.url)}\n{self.limits}"


def shown(url: str) -> str:
    """A URL without its password, unless that is RabbitMQ's public default."""
    password = urlsplit(url).password
    return url if password in (None, "guest") else url.replace(f":{password}@", ":***@", 1)


running: dict[str, Broker] = {}  # of this kernel, by name
