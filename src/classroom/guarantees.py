"""One cell of the guarantee matrix: numbered events to a service that is broken meanwhile, and what became of each.

    seen = await play(Cell("redis", "away", service="at-least-once", sender="at-most-once"), redis.url, book)
    seen.word, seen.handled, seen.twice

The service is a real process on a real broker, and each event that its handler works on is a row of the ledger. What
was sent has come to its end when each replica has handled an event that was sent after the fault, and, where the broker
keeps what it confirmed, when all of that has come, too; or when for `PATIENCE` seconds nothing more has come.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from classroom.checks.runs import Run, handlings
from classroom.guarantee_cells import Cell, Fault, Seen, Word
from classroom.ledger import Book
from classroom.ledger.rows import Row
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan, ServiceError
from classroom.sweeping import sweep
from postoffice import Client, PostOfficeError, Service, event_pattern

__all__ = ["HANDLER", "MESSAGES", "Cell", "Fault", "Seen", "Trial", "Word", "matrix", "play"]

MESSAGES = 200
LARGE, LARGER = 256 * 1024, 640 * 1024  # characters of an event to a slow reader; on Redis pub/sub: past all sockets
ACK_WAIT = {"killed": 1.0}  # seconds until the broker takes back what a dead replica holds; else what is usual
POLL, QUIET = 0.05, 6  # seconds between two looks; looks in a row without a new row, until no more is expected
PATIENCE = 10.0  # seconds without any progress until what has not come counts as lost
SILENT = ("redis", "nats", "mqtt")  # at most once, their senders do not learn when the broker has an event
FROZEN = {"nats": 8.0}  # seconds that a reader may stand still; NATS hangs up on it at 10 (its write_deadline)

HANDLER = """
import asyncio
from classroom.ledger import Ledger
from postoffice import event_pattern

ledger, turn = Ledger("{ledger}"), asyncio.Lock()

@event_pattern("{pattern}")
async def note(data):
    async with turn:                        # one at a time
        await ledger.record("{pattern}", data["id"])
"""


async def play(cell: Cell, url: str | None, book: Book, messages: int = MESSAGES, nth: int = 5) -> Seen:
    """Run a cell on a broker. `url` is None for TCP; `nth` is the event after whose work a killed service dies.

    Raises what the service, the broker or the ledger raises where one of them fails by itself.
    """
    trial = Trial(cell, book, *_a_service(cell, url, book))
    try:
        await trial.begin()
        return await trial.faults[cell.fault](messages, nth)
    finally:
        await trial.end()


async def matrix(
    cells: Iterable[Cell], places: Mapping[str, str | None], book: Book, messages: int = MESSAGES, nth: int = 5
) -> list[Seen]:
    """Run some cells, those of different transports side by side; what became of each, in their order.

    `places` has the address of each transport's broker, None for TCP. Raises what `play` raises.
    """
    chosen = list(cells)
    found: dict[Cell, Seen] = {}

    async def column(transport: str) -> None:
        for cell in chosen:
            if cell.transport == transport:
                found[cell] = await play(cell, places[transport], book, messages, nth)

    async with asyncio.TaskGroup() as group:
        for transport in dict.fromkeys(cell.transport for cell in chosen):
            group.create_task(column(transport))
    return [found[cell] for cell in chosen]


def _a_service(cell: Cell, url: str | None, book: Book) -> tuple[ServiceHandle, str]:
    """A service of its own for a cell, which starts at once; and the pattern that it listens to."""
    name = f"cell_{secrets.token_hex(4)}"
    durable = cell.service == "at-least-once"
    wait = ("--ack-wait", f"{ACK_WAIT[cell.fault]:g}") if durable and cell.fault in ACK_WAIT else ()
    source = HANDLER.format(ledger=book.url, pattern=f"numbered.{name}")
    replicas = 2 if cell.fault == "replicas" else 1
    plan = Plan(source, cell.transport, lambda: url, cell.service, None, replicas, False, None, wait)
    service = ServiceHandle(name, plan, lambda _: False)
    service.deploy(plan)
    return service, f"numbered.{name}"


class Trial:
    """A service, its sender, and what the ledger says of it. Each fault is a method."""

    def __init__(self, cell: Cell, book: Book, service: ServiceHandle, pattern: str) -> None:
        self.cell, self.book, self.service, self.pattern = cell, book, service, pattern
        self.name = service.name
        self.faults = {"away": self.away, "killed": self.killed, "slow": self.slow, "replicas": self.replicas}
        self._rows: list[Row] = []
        self._read = 0
        self._ends = 0
        self.crashes = 0
        self.frozen = 0.0  # seconds
        self.taken = True  # by the broker: all that was sent
        self.sent: dict[int | str, float] = {}
        self.acknowledged: dict[int | str, float] = {}
        self.refused: list[int | str] = []
        self.unknown: list[int | str] = []

    async def begin(self) -> None:
        """The service is up, and the sender connected."""
        self._read = len(await self.book.rows())
        await self.service.ready()
        queue = self.name if self.cell.transport == "rabbitmq" else None
        sender = self.cell.sender or self.cell.service
        self.client = await Client.connect(self.service.url, queue=queue, delivery=sender)

    async def end(self) -> None:
        """Nothing of it is left."""
        self.service.kill()
        if hasattr(self, "client"):
            await self.client.close()
        with suppress(PostOfficeError, OSError):
            await sweep(self.cell.transport, self.service)

    async def away(self, messages: int, nth: int) -> Seen:
        """It was there, and is stopped; the events are sent; it comes back."""
        await self.service.stop()
        await self.send(messages)
        await self.service.restart()
        return await self.seen()

    async def killed(self, messages: int, nth: int) -> Seen:
        """All of them wait at its door; it works, and dies after the `nth` of them."""
        crash = await self.service.crash_at("after-handler", nth)
        self.service.pause()
        await self.send(messages)
        with suppress(ServiceError):  # it may be dead before it is seen to be ready
            await self.service.resume()
        await crash.wait()
        self.crashes = 1
        await self.service.restart()
        return await self.seen()

    async def slow(self, messages: int, nth: int) -> Seen:
        """It reads nothing while large events come, and then goes on."""
        began = time.perf_counter()
        self.service.pause()
        pubsub = (self.cell.transport, self.cell.service) == ("redis", "at-most-once")
        await self.send(messages, "x" * (LARGER if pubsub else LARGE))
        await self.service.resume()
        self.frozen = time.perf_counter() - began
        return await self.seen()

    async def replicas(self, messages: int, nth: int) -> Seen:
        """Two of it, and nothing is broken."""
        await self.send(messages)
        return await self.seen()

    async def send(self, messages: int, pad: str = "") -> None:
        """Numbered events, and what the sender is told of each; all are with the broker then."""
        for number in range(1, messages + 1):
            ident = f"{self.name} {number}"
            self.sent[ident] = time.time()
            try:
                await self.client.emit(self.pattern, {"id": ident, "total": number, "pad": pad}, message_id=ident)
                self.acknowledged[ident] = time.time()
            except PostOfficeError as error:
                (self.unknown if error.may_have_happened else self.refused).append(ident)
        if self.cell.transport in SILENT and (self.cell.sender or self.cell.service) == "at-most-once":
            await self._until_taken()

    async def _until_taken(self) -> None:
        """At most once a sender is not told. So one more letter goes the same way, to a reader of its own."""
        came = asyncio.Event()

        @event_pattern(f"{self.pattern}.sent")
        async def note() -> None:
            came.set()

        async with Service(note, url=self.service.url):
            await self.client.emit(f"{self.pattern}.sent", None)
            try:
                await asyncio.wait_for(came.wait(), PATIENCE)
            except TimeoutError:
                self.taken = False

    async def seen(self) -> Seen:
        """Wait until what was sent has come to its end; what became of it."""
        clock = asyncio.get_running_loop().time
        progress, quiet = clock(), 0
        while clock() < progress + PATIENCE and quiet < QUIET:
            if await self._look():
                progress, quiet = clock(), 0
            elif self._complete():
                quiet += 1
            else:
                await self._send_an_end()
            await asyncio.sleep(POLL)
        done = handlings(row for row in self._rows if row.id in self.sent)
        run = Run(
            self.sent, acknowledged=self.acknowledged, handled=done, refused=self.refused, unknown=self.unknown,
            dead_lettered=(), ledger=self._rows, crashes=self.crashes, in_flight=len(self.sent),
        )  # fmt: skip
        return Seen(self.cell, run, self._disturbed(settled=quiet >= QUIET))

    def _disturbed(self, *, settled: bool) -> str:
        if self.unknown:
            return f"of {len(self.unknown)} events the sender was told neither yes nor no"
        if 0 < len(self.refused) < len(self.sent):
            return f"the sender was told of {len(self.refused)} events that they were not sent"
        if not self.taken:
            return f"{PATIENCE:g} s after the last event the broker was still not done with them"
        if self.frozen > FROZEN.get(self.cell.transport, math.inf):
            return f"the reader stood still for {self.frozen:.1f} s, and {self.cell.transport} hangs up on it at 10"
        return "" if settled else f"nothing came for {PATIENCE:g} s, and the last event was not seen"

    async def _look(self) -> bool:
        """Read the rows that are new; whether one is an event's."""
        rows: Sequence[Row] = await self.book.rows(after=self._read)
        self._read += len(rows)
        mine = [row for row in rows if row.service == self.name]
        self._rows += mine
        return any(row.id in self.sent for row in mine)

    def _complete(self) -> bool:
        """Whether each replica has handled an event sent after all others, and whatever the broker kept has come."""
        last = {row.replica for row in self._rows if row.id not in self.sent}
        if len(last) < self.service.plan.replicas:
            return False
        kept = self.cell.service == (self.cell.sender or self.cell.service) == "at-least-once"
        times = Counter(row.id for row in self._rows if row.id in self.sent)
        again = self.cell.fault != "killed" or any(number > 1 for number in times.values())
        return not kept or (again and set(self.acknowledged) <= times.keys())

    async def _send_an_end(self) -> None:
        """One more event, which is not counted. Whoever reads in order has read all others when it has this one."""
        self._ends += 1
        with suppress(PostOfficeError):
            await self.client.emit(self.pattern, {"id": f"{self.name} end {self._ends}", "total": 0})
