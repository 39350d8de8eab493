"""The whole chain on a real broker: numbered events, a service killed in the middle, the ledger, the checkers."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from classroom.brokers import Broker, BrokerError, start_broker
from classroom.checks.invariants import (
    Run,
    duplicates,
    ends,
    handlings,
    lost,
    one_effect_per_id,
    one_effect_per_key,
    same_reply,
    tally,
    unexpected,
    verify,
)
from classroom.events import Event
from classroom.ledger import Book, LedgerError, Rows, start_ledger
from classroom.supervisor import Child, supervisor
from postoffice import Client

N = 200  # messages
HOLD = 50  # the handlers of these and later ones do not end, in the first process: effect done, not acknowledged
PREFETCH = 16  # what a service has in flight
LIMIT = 30.0  # seconds for what takes a few
HANDLER = """
import asyncio, os
from postoffice import event_pattern
from classroom.ledger import ledger

@event_pattern("order.placed")
async def charge(data):
    await ledger.charge(data["id"], amount=10, idempotency_key={key})
    if data["id"] >= int(os.environ["HOLD"]):
        await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def rabbit() -> Iterator[Broker]:
    """RabbitMQ, by whatever serves it here."""
    try:
        broker = asyncio.run(start_broker("rabbitmq", name="verdicts"))
    except BrokerError as error:
        pytest.skip(f"nothing serves RabbitMQ here: {error}")
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture
async def book() -> AsyncIterator[Book]:
    async with await start_ledger() as one:
        yield one


class Shop:
    """One service process on the broker, started again as often as it takes."""

    def __init__(self, rabbit: Broker, folder: Path, key: str, delivery: str) -> None:
        self.queue = f"payments_{secrets.token_hex(4)}"
        (folder / "payments.py").write_text(HANDLER.format(key=key))
        self.argv = [sys.executable, "-m", "postoffice", "run", str(folder / "payments.py"), "--url", rabbit.url]
        self.argv += ["--name", self.queue, "--delivery", delivery, "--ready-fd", "{ready_fd}"]
        self.log = folder / "log"
        self.child: Child | None = None

    async def start(self, hold: int = N) -> None:
        environment = {**os.environ, "CLASSROOM_SERVICE": "payments", "HOLD": str(hold)}
        self.child = supervisor().spawn(self.argv, env=environment, log=self.log, pass_ready=True)
        await self.child.ready_line(LIMIT)


async def rows_when(book: Book, enough: int, patience: float = LIMIT) -> Rows:
    """The rows once so many ids are there, or after that time."""
    end = time.monotonic() + patience
    while len(set((rows := await book.rows()).ids)) < enough and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return rows


async def killed_in_the_middle(rabbit: Broker, book: Book, folder: Path, key: str, delivery: str) -> Run:
    """Send half; freeze the service when as many as it can take are under way; send the rest; kill it; start again."""
    shop = Shop(rabbit, folder, key, delivery)
    await shop.start(HOLD)
    assert shop.child
    attempted, acknowledged = dict[int, float](), dict[int, float]()

    async def send(number: int) -> None:
        attempted[number] = time.time()
        await client.emit("order.placed", {"id": number})
        acknowledged[number] = time.time()

    async with await Client.connect(rabbit.url, queue=shop.queue, delivery="at-least-once") as client:
        for number in range(N // 2):
            await send(number)
        await rows_when(book, HOLD + PREFETCH)
        shop.child.pause()
        for number in range(N // 2, N):
            await send(number)
        shop.child.kill()
        killed = Event(time.time(), "payments 0", "killed", "", "SIGKILL")
    await shop.start()
    rows = await rows_when(book, N, LIMIT if delivery == "at-least-once" else 1)
    shop.child.kill()
    return Run(attempted, acknowledged, handlings(rows), dead_lettered=[], ledger=rows, crashes=1, in_flight=PREFETCH,
               events=[killed])  # fmt: skip


async def test_at_least_once_loses_nothing_and_repeats_what_was_in_flight(rabbit: Broker, book: Book, tmp_path: Path):
    """Without a key, a repeat is a second charge: the checker shows whose, and how it came about."""
    run = await killed_in_the_middle(rabbit, book, tmp_path, "None", "at-least-once")
    assert verify(run, ends, lost, unexpected, duplicates).passed, verify(run)
    numbers = tally(run)
    assert (numbers.attempted, numbers.acknowledged, numbers.handled, numbers.lost) == (N, N, N, 0)
    assert numbers.duplicated == PREFETCH
    charged_twice = one_effect_per_id(run)
    assert charged_twice.passed is False
    assert charged_twice.count == numbers.duplicated
    what = [event.what for event in charged_twice.life if event.what not in ("handled", "acknowledged")]
    assert what == ["attempted", "charge: effect", "killed", "charge: effect"]  # a confirm may come after the effect


async def test_with_an_idempotency_key_nobody_pays_twice(rabbit: Broker, book: Book, tmp_path: Path):
    run = await killed_in_the_middle(rabbit, book, tmp_path, 'str(data["id"])', "at-least-once")
    checkers = (ends, lost, unexpected, duplicates, one_effect_per_key, one_effect_per_id, same_reply)
    assert verify(run, *checkers).passed, verify(run)
    assert tally(run).duplicated == PREFETCH
    assert (await book.effects()).total == 10 * N


async def test_at_most_once_loses_and_it_is_seen(rabbit: Broker, book: Book, tmp_path: Path):
    """The same, without acks: what the service had taken and not done is gone, and the checker names it."""
    run = await killed_in_the_middle(rabbit, book, tmp_path, "None", "at-most-once")
    gone = lost(run)
    assert gone.passed is False
    assert gone.count == tally(run).lost == N - tally(run).handled
    assert [event.what for event in gone.life] == ["attempted", "acknowledged", "killed", "lost"]
    assert duplicates(run).passed
    assert tally(run).duplicated == 0


async def test_a_ledger_that_cannot_be_read_is_no_verdict(book: Book):
    """The ledger is gone: its reader is told, and what hangs on its rows is unknown, neither pass nor fail."""
    book.kill()
    with pytest.raises(LedgerError):
        await book.rows()
    run = Run([1], [1], handled=None, ledger=None)
    assert {finding.mark for finding in verify(run, lost, one_effect_per_id, same_reply).conditions} == {"unknown"}
