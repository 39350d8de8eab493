"""One cell of the table: numbered messages to a service that is broken in their midst, and what became of each."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from classroom.brokers import Broker
from classroom.brokers.ports import Port
from classroom.checks.invariants import (
    Handling,
    Run,
    Tally,
    dead_letter_copies,
    dead_letter_ids,
    duplicates,
    lost,
    tally,
    unexpected,
)
from postoffice import Client, PostOfficeError, dead_letters

from .breaks import Break
from .configs import PREFETCH, Config
from .expected import expectation
from .workers import Worker, command

__all__ = ["Cell", "Row", "run_cell"]

UNDER_WAY = 16  # messages that the sender has under way at once
EMIT_LIMIT = 15.0  # seconds until the sender of one message gives up
SENDING = 2.0  # seconds over which the messages are spread at least, so that a break has a before and an after
LIMIT = 150.0  # seconds that a cell may take at all


@dataclass
class Row:
    """What became of the messages of one cell.

    Attributes:
        attempted to inversions: as in `Tally`. refused: not sent, for certain. crashes: breaks after which what was
            not acknowledged comes again. seconds: from the last sending and the end of the break to the last handling.
        offences: what was not as expected; life: of one message that it befell. error: why the cell came to no end.
    """

    config: str
    fault: str
    seed: int
    attempted: int = 0
    acknowledged: int = 0
    handled: int = 0
    lost: int = 0
    duplicated: int = 0
    recovered: int = 0
    dead_lettered: int = 0
    unknown: int = 0
    inversions: int = 0
    refused: int = 0
    crashes: int = 0
    seconds: float = 0.0
    expected: str = ""
    offences: list[str] = field(default_factory=list)
    life: str = ""
    error: str = ""

    @property
    def good(self) -> bool:
        return not (self.offences or self.error)


NUMBERS = tuple(one.name for one in fields(Tally))


class Cell:
    """A run under way. `broker` and `link` are what a break may break."""

    def __init__(self, config: Config, fault: Break, seed: int, broker: Any, messages: int) -> None:
        self.config, self.fault, self.seed, self.broker, self.messages = config, fault, seed, broker, messages
        self.random = random.Random(f"{config.name} {fault.name} {seed}")
        self.name = f"cell_{secrets.token_hex(6)}"
        self.event = f"numbered.{self.name}"  # of this cell alone: a new group reads all that its topic holds
        self.interruptions = 0  # breaks of the broker or of the network, after which unacknowledged messages come again
        self.workers: list[Worker] = []
        self.attempted: dict[int, float] = {}
        self.acknowledged: dict[int, float] = {}
        self.unknown: list[int] = []
        self.refused: list[int] = []
        self.special = self._special()
        # what can never be handled: poison, and a deadly event where deliveries are counted
        ends_dead = fault.what is not None and (
            fault.what[0] == "poison" or (fault.what[0] == "deadly" and config.counts)
        )
        self.poison = self.special if ends_dead else set()
        self._when = self.random.randint(messages // 5, messages // 2)  # the message in whose moment it breaks
        self._middle = asyncio.Event()

    def _special(self) -> set[int]:
        if self.fault.what is None:
            return set()
        every = self.fault.what[1]
        return set(self.random.sample(range(self.messages), self.messages // every if every else 1))

    @property
    def link(self) -> Any:
        return self.broker.link

    def worker(self) -> Worker:
        """One of the replicas, by the seed."""
        return self.random.choice(self.workers)

    async def next_death(self, within: float) -> Worker | None:
        """The next replica that has ended; None when none does, so many seconds."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            for worker in self.workers:
                if not worker.running:
                    return worker
            await asyncio.sleep(0.02)
        return None

    def have_mercy(self) -> None:
        """From now on the deadly event is handled like any other."""
        Path(f"{self.effects}.mercy").touch()

    async def run(self, folder: Path) -> Row:
        self.effects = folder / "effects"
        self.effects.touch()
        url = self.broker.url if self.broker else f"tcp://127.0.0.1:{Port().number}"
        try:
            self.workers = [self._worker(url, folder, number) for number in range(self.config.replicas)]
            await asyncio.gather(*(one.start() for one in self.workers))
            queue = self.name if self.config.broker == "rabbitmq" else None
            async with await Client.connect(
                url, queue=queue, delivery=self.config.delivery, timeout=EMIT_LIMIT
            ) as client:
                broken = asyncio.create_task(self._break())
                await self._send(client)
                await broken
                began = time.monotonic()
                last = await self._settled()
            await asyncio.gather(*(one.stop() for one in self.workers))
            return await self._row(url, max(0.0, last - began))
        finally:
            await asyncio.gather(*(one.abandon() for one in self.workers))

    def _worker(self, url: str, folder: Path, number: int) -> Worker:
        environment = {"EFFECTS": str(self.effects), "EVENT": self.event}
        if self.config.durable:
            environment["GRAVES"] = f"{self.name}.graves"
        if self.fault.crash and number == 0:
            environment["CRASH"] = f"{self.fault.crash}:{self.random.randint(2, 4 if self.fault.what else 10)}"
        return Worker(command(url, self.name, self.config.arguments(self.name)), environment, folder / f"log{number}")

    async def _break(self) -> None:
        await self._middle.wait()
        await self.fault.act(self)

    async def _send(self, client: Client) -> None:
        """Every message once: what the sender is told about each is noted, and nothing is sent twice."""
        free = asyncio.Semaphore(UNDER_WAY)
        pause = SENDING * UNDER_WAY / self.messages

        async def send(number: int) -> None:
            async with free:
                self.attempted[number] = time.time()
                if number == self._when:
                    self._middle.set()
                data: dict[str, int | str] = {"number": number}
                if number in self.special and self.fault.what:
                    data["what"] = self.fault.what[0]
                try:
                    await client.emit(self.event, data, message_id=f"{self.name}-{number}")
                    self.acknowledged[number] = time.time()
                except PostOfficeError as error:
                    (self.unknown if error.may_have_happened else self.refused).append(number)
                await asyncio.sleep(pause)

        await asyncio.gather(*(send(number) for number in range(self.messages)))

    async def _settled(self) -> float:
        """Wait until all that was acknowledged has ended, or nothing has happened for a while; when that was."""
        seen, last = -1, time.monotonic()
        while True:
            handlings = self._handlings()
            done = {one.id for one in handlings if one.end == "handled"} | (self.poison & {one.id for one in handlings})
            if set(self.acknowledged) <= done:
                return time.monotonic()
            if len(handlings) != seen:
                seen, last = len(handlings), time.monotonic()
            if time.monotonic() - last > self.config.waits:
                return last
            await asyncio.sleep(0.05)

    def _handlings(self) -> list[Handling]:
        lines = [line.split() for line in self.effects.read_text(encoding="utf-8").splitlines()]
        return [
            Handling(int(number), float(at), f"service {pid}", int(attempt), "failed" if end == "failed" else "handled")
            for end, number, at, pid, attempt in lines
        ]

    async def _row(self, url: str, recovered: float) -> Row:
        run = Run(
            attempted=self.attempted,
            acknowledged=self.acknowledged,
            handled=self._handlings(),
            unknown=self.unknown,
            refused=self.refused,
            dead_lettered=await self._graves(url),
            crashes=self.interruptions + sum(one.crashes for one in self.workers),
            in_flight=PREFETCH * len(self.workers) + 1,
            poison=self.poison,
        )
        return _judged(self, run, recovered)

    async def _graves(self, url: str) -> list[int]:
        if not self.config.durable:
            return []
        async with dead_letters(url, f"{self.name}.graves") as office:
            return [int(letter.data["number"]) for letter in await office.list()]


def _judged(cell: Cell, run: Run, recovered: float) -> Row:
    """The numbers, and what an expectation is compared with."""
    expected = expectation(cell.config, cell.fault)
    found = [lost(run), unexpected(run), duplicates(run), dead_letter_ids(run), dead_letter_copies(run)]
    numbers = tally(run)
    row = Row(
        cell.config.name, cell.fault.name, cell.seed,
        **{name: getattr(numbers, name) for name in NUMBERS},
        refused=len(run.refused), crashes=run.crashes or 0, seconds=round(recovered, 2), expected=str(expected),
    )  # fmt: skip
    allowed = {0: expected.lost, 2: expected.duplicates, 3: expected.dead}
    wrong = [one for place, one in enumerate(found) if one.passed is False and allowed.get(place) != "may"]
    row.offences = [f"{one.text}: {one.seen}" for one in wrong]
    row.life = next((repr(one.life) for one in wrong if one.life), "")
    return row


async def run_cell(config: Config, fault: Break, seed: int, broker: Broker | None, messages: int) -> Row:
    """One cell, on a broker that runs; nothing of the cell is left but its messages in the broker."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        async with asyncio.timeout(LIMIT):
            return await Cell(config, fault, seed, broker, messages).run(Path(folder))
