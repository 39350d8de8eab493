"""Orders and their events, over a real RabbitMQ; the process that places and relays is killed -9 at every step."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crashes import MortalDatabase, crash_everywhere, step

from classroom.brokers import start_broker
from postoffice import Client, Service, event_pattern
from postoffice.database import Database
from postoffice.outbox import Outbox

QUEUE = "crash_outbox"
ORDERS = 2


@pytest.fixture(scope="module")
def rabbit_url() -> Iterator[str]:
    """A RabbitMQ that stays up: only the process with the outbox dies."""
    broker = asyncio.run(start_broker("rabbitmq", name="crash outbox"))
    yield broker.url
    asyncio.run(broker.stop())


async def life(folder: Path) -> None:
    """Place the orders that are not placed yet; send what waits."""
    async with (
        MortalDatabase(folder / "orders.db") as db,
        await Client.connect(os.environ["TEST_RABBIT"], queue=QUEUE, delivery="at-least-once") as client,
    ):
        db.tables("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY)")
        outbox = Outbox(db)

        def place(tx: Any, number: int) -> None:
            if tx.execute("INSERT OR IGNORE INTO orders VALUES (?)", (number,)).rowcount:
                outbox.add(tx, "order.placed", {"folder": folder.name, "number": number}, key="one customer")

        for number in range(ORDERS):
            await db.run(lambda tx, number=number: place(tx, number))
            step("between order and relay")
        while await outbox.flush(client):
            step("after a flush")
        assert await outbox.waiting() == []


async def dual_write_life(folder: Path) -> None:
    """What the outbox is for: first the database, then the broker."""
    async with (
        MortalDatabase(folder / "orders.db") as db,
        await Client.connect(os.environ["TEST_RABBIT"], queue=QUEUE, delivery="at-least-once") as client,
    ):
        db.tables("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY)")
        placed = "INSERT OR IGNORE INTO orders VALUES (?)"
        for number in range(ORDERS):
            if (await db.run(lambda tx, n=number: tx.execute(placed, (n,)))).rowcount:
                step("between database and broker")
                await client.emit("order.placed", {"folder": folder.name, "number": number})


async def arrived(url: str) -> dict[str, list[tuple[int, str]]]:
    """What came, by folder, until a mark that is sent last: (number, message id), in order."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    end = asyncio.Event()

    @event_pattern("order.placed")
    async def take(data: Any, ctx: Any) -> None:
        found[data["folder"]].append((data["number"], ctx.message_id))

    @event_pattern("end")
    async def last() -> None:
        end.set()

    service = Service(take, last, url=url, name=QUEUE, delivery="at-least-once", prefetch=1)
    async with service, await Client.connect(url, queue=QUEUE, delivery="at-least-once") as client:
        await client.emit("end")
        async with asyncio.timeout(30):
            await end.wait()
    return found


async def orders(folder: Path) -> tuple[list[int], list[str]]:
    async with Database(folder / "orders.db") as db:
        numbers = await db.run(lambda tx: [n for (n,) in tx.execute("SELECT number FROM orders ORDER BY number")])
        ids = await db.run(lambda tx: [i for (i,) in tx.execute("SELECT id FROM outbox ORDER BY position")])
    return numbers, ids


def test_orders_and_events_agree(tmp_path: Path, rabbit_url: str) -> None:
    """Every order has its event, with its id; first copies in order; extra copies only where a crash was."""
    lives = crash_everywhere(__file__, "life", tmp_path, TEST_RABBIT=rabbit_url)
    found = asyncio.run(arrived(rabbit_url))
    copies = 0
    for one in lives:
        folder = Path(one["folder"])
        numbers, ids = asyncio.run(orders(folder))
        assert numbers == list(range(ORDERS)), one
        assert list(dict.fromkeys(found[folder.name])) == list(zip(numbers, ids, strict=True)), one
        assert len(found[folder.name]) <= ORDERS * 3, one
        copies += len(found[folder.name]) - ORDERS
    assert copies > 0, "a crash between confirm and mark sends again, so at least once was seen to mean something"


def test_a_dual_write_loses(tmp_path: Path, rabbit_url: str) -> None:
    """The same without the outbox: an order without its event. It also shows that the test above would see a loss."""
    lives = crash_everywhere(__file__, "dual_write_life", tmp_path, TEST_RABBIT=rabbit_url)
    found = asyncio.run(arrived(rabbit_url))
    lost = {one["steps"][0] for one in lives if len({n for n, _ in found[Path(one["folder"]).name]}) < ORDERS}
    assert "between database and broker" in lost
