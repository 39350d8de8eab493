"""A copy of the learner's service, with queues of its own, on the warm broker: sent to, broken, and accounted for.

    async with rehearsal(result, "payments", payments, rabbit, book) as stage:
        await stage.send("order.placed", number, {"id": number, "total": 10})
        await stage.settle()
        lost(stage.run())

Nothing here goes by the clock: a letter has come to its end when the ledger or a dead-letter queue has it, and is gone
for good when the service has drained and no queue holds it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from typing import Any

from classroom.checks.desks import DESKS, Desk
from classroom.checks.needs import FIRST_CELL, need_broker, need_ledger, need_service, no_verdict
from classroom.checks.result import Result
from classroom.checks.runs import Run, handlings
from classroom.checks.serving import comes_up
from classroom.events import Event
from classroom.faults.crash import Crash
from classroom.ledger import Book, LedgerError
from classroom.ledger.rows import Row
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError
from postoffice import Client, DeadLetter, dead_letters
from postoffice.points import Point

__all__ = ["LIMIT", "Stage", "new_ids", "rehearsal"]

LIMIT = 40.0  # seconds for what takes one or two
POLL = 0.02  # seconds
WORDS = 2.0  # seconds for a line to come through a service's log
QUIET = 5  # looks in a row that find all queues empty, before the service is asked to drain
PREFETCH = 16  # where the cell does not say
_numbers = count(1000 * secrets.randbelow(1_000_000))


def new_ids(number: int) -> list[int]:
    """Ids that no run of this kernel has used: the ledger remembers the old ones."""
    return [next(_numbers) for _ in range(number)]


class Stage:
    """One rehearsal: `service` is the copy, `sent` and `acknowledged` what it was sent since `begin()`."""

    def __init__(self, service: ServiceHandle, book: Book, client: Client, desk: Desk) -> None:
        self.service, self.book = service, book
        self.url = service.url
        self._client, self._desk = client, desk
        self._patterns: set[str] = set()  # of all that was sent
        self._marks: dict[str, int] = {}  # message id -> id
        self._dead: dict[str, Sequence[DeadLetter]] = {}  # queue -> what lies there
        self._seen = 0  # rows of the ledger before `begin()`
        self.sent: dict[int, float] = {}
        self.acknowledged: dict[int, float] = {}
        self.events: list[Event] = []
        self.crashes = 0

    async def begin(self, *, up: bool = True) -> None:
        """Forget what was sent so far; the service is up then, or stopped."""
        self._seen = len(await self.book.rows())
        self.sent, self.acknowledged, self.events, self.crashes = {}, {}, [], 0
        if self.service.alive != up:
            await (self.service.restart() if up else self.service.stop())

    @property
    def in_flight(self) -> int:
        """How many letters its replicas may hold together."""
        plan = self.service.plan
        return prefetch(self.service) * plan.replicas if plan.delivery == "at-least-once" else len(self.sent)

    async def send(self, pattern: str, number: int, data: Mapping[str, Any], *, copy: str = "") -> None:
        """Send an event, and wait for the broker's promise. A `copy` is a message of its own, with the same id."""
        mark = f"{self.service.name}-{number}{copy}"
        self._marks[mark] = number
        self._patterns.add(pattern)
        self.sent[number] = time.time()
        await self._client.emit(pattern, data, message_id=mark)
        self.acknowledged[number] = time.time()

    async def crash(self, point: Point, nth: int) -> Crash:
        """Have it die at a point of its work."""
        crash: Crash = await self.service.crash_at(point, nth)
        return crash

    async def restart_after(self, crash: Crash) -> None:
        """Wait for that, and start it again. Raises TimeoutError when it does not come."""
        await crash.wait(LIMIT)
        self.crashes += 1
        self.events.append(Event(time.time(), self.service.name, "killed", ""))
        await self.service.scale(self.service.plan.replicas)  # those that live go on

    async def rows(self) -> list[Row]:
        """What the ledger has since `begin()`: of this service, and of what was sent, whoever called."""
        rows, name = await self.book.rows(after=self._seen), self.service.name
        return [row for row in rows if row.id in self.sent or row.service == name]

    async def letters(self, *, glance: bool = False) -> list[DeadLetter]:
        """The dead letters among what was sent. At a `glance` queues are read only where their length has changed."""
        for queue in self.service.queues[1:]:
            length, known = await self._desk.dead(queue), self._dead.get(queue, [])
            if length != len(known) or (length and not glance):
                async with dead_letters(self.url, queue) as office:
                    self._dead[queue] = await office.list()
        return [one for found in self._dead.values() for one in found if one.id in self._marks]

    async def send_back(self) -> None:
        """Send what it gave up to it once more, as an operator does, and wait until that has come to its end."""
        given_up = {letter.id for letter in await self.letters()}
        for queue in self.service.queues[1:]:
            async with dead_letters(self.url, queue) as office:
                for ident in given_up & {letter.id for letter in await office.list()}:
                    await office.requeue(ident)
        if given_up:
            await self.settle()

    def number(self, letter: DeadLetter) -> int:
        """The id of a dead letter, as it was sent."""
        return self._marks[letter.id]

    async def waiting(self) -> int:
        """Letters that may still come to it: now, or at their next attempt."""
        return await self._desk.waiting(self._patterns)

    async def missing(self) -> set[int]:
        """Acknowledged ids that neither the ledger nor a dead-letter queue has."""
        left = set(self.acknowledged) - {row.id for row in await self.rows() if row.outcome in ("effect", "repeat")}
        return left - {self.number(one) for one in await self.letters(glance=True)} if left else left

    async def settle(self, limit: float = LIMIT, enough: Callable[[], bool] = lambda: False) -> bool:
        """Wait until everything sent has come to its end; False when it did not within `limit` seconds, or `enough`."""
        end, quiet = asyncio.get_running_loop().time() + limit, 0
        while await self.missing():
            if asyncio.get_running_loop().time() > end or enough():
                return False
            quiet = 0 if await self.waiting() else quiet + 1
            if quiet >= QUIET and self.service.state in ("ready", "stopped"):
                await self.service.stop()  # what it holds is done, or back in its queue
                if not await self.waiting():
                    return True
                with suppress(ServiceError):  # it crashed as it started
                    await self.service.restart()
                quiet = 0
            await asyncio.sleep(POLL)
        return True

    async def idle(self, limit: float = LIMIT) -> bool:
        """Wait until no letter waits; its replicas may hold some. False when some still do after `limit` seconds."""
        end = asyncio.get_running_loop().time() + limit
        while await self.waiting():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(POLL)
        return True

    async def drain(self) -> bool:
        """Wait until everything sent, every copy of it, has come to its end. The service is stopped then.

        False when something still waits after `LIMIT` seconds.
        """
        await self.settle()
        while await self.idle():
            await self.service.stop()  # what it holds is done, or waits again
            if not await self.waiting():
                return True
            await self.service.restart()
        return False

    async def run(self, poison: set[int] | None = None) -> Run:
        """What is known, for the checkers. The work of a letter is its effect in the ledger."""
        rows = await self.rows()
        return Run(
            self.sent,
            acknowledged=self.acknowledged,
            handled=handlings(row for row in rows if row.outcome == "effect"),
            dead_lettered=[self.number(one) for one in await self.letters()],
            ledger=rows,
            crashes=self.crashes,
            in_flight=self.in_flight,
            poison=poison,
            events=self.events,
        )

    async def close(self) -> None:
        """Nothing of it is left: no process, no queue, no letter."""
        self.service.kill()
        for queue in self.service.queues[1:]:
            if not queue.startswith(self.service.name):
                await self._drop(queue)
        await self._desk.clear(self._patterns)

    async def _drop(self, queue: str) -> None:
        async with dead_letters(self.url, queue) as office:
            for letter in await office.list():
                if letter.id in self._marks:
                    await office.drop(letter)


def prefetch(service: ServiceHandle) -> int:
    """How many letters a replica may hold."""
    words = service.plan.queue
    given = [int(number) for word, number in pairwise(words) if word == "--prefetch"]
    return given[-1] if given else PREFETCH


def copy_of(service: ServiceHandle, name: str, url: str, desk: type[Desk]) -> ServiceHandle:
    """The same cell as a service of another name, at the address where its sender meets it; it starts at once."""
    address, words = desk.address(url), desk.words if service.plan.delivery == "at-least-once" else ()
    return service.twin(name, broker_url=lambda: address, queue=(*service.plan.queue, *words))


def last_words(service: ServiceHandle) -> str:
    """The last line that a service printed, for a hint."""
    return f"the last line that it printed: {' '.join(service.logs(1).split())[:300] or '(nothing)'}"


async def words_of(service: ServiceHandle, failed: bool) -> str:
    """As `last_words`; of a service that has just failed, the line that says why may come a moment after its answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WORDS if failed else 0):
            while " is ready on " in service.logs(1):  # noqa: ASYNC110  (nothing tells of a new line)
                await asyncio.sleep(POLL)
    return last_words(service)


@asynccontextmanager
async def rehearsal(
    result: Result, name: str, service: Any, broker: Any, book: Any, kind: str = "rabbitmq"
) -> AsyncIterator[Stage]:
    """A copy of a service, once it is up; it is gone at the end, and so is all that it had.

    Raises Over where something is missing, or breaks down on the way, as a broker may.
    """
    need_broker(result, DESKS[kind].variable, broker, kind)
    need_ledger(result, book)
    need_service(result, name, service)
    twin = copy_of(service, f"{name}_{secrets.token_hex(3)}", broker.url, DESKS[kind])
    desk = DESKS[kind](twin)
    try:
        with no_verdict(result, lambda: f"{last_words(twin)}. {FIRST_CELL}"):
            await comes_up(result, name, twin)
            await desk.open()
            try:
                async with await Client.connect(twin.url, **desk.sender) as client:
                    stage = Stage(twin, book, client, desk)
                    try:
                        await stage.begin()
                        yield stage
                    finally:
                        await stage.close()
            finally:
                await desk.close()
    finally:
        twin.kill()
        with suppress(LedgerError):
            await book.up()
