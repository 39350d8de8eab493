"""The outbox: what is committed is sent, in order per key; what is not, is not. Over a real RabbitMQ and TCP."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from classroom.brokers import Broker, start_broker
from postoffice import Client, ConnectError, PayloadError, Service, UsageError, event_pattern
from postoffice.database import Database
from postoffice.outbox import Outbox


@pytest.fixture(scope="module")
def warm_rabbit() -> Iterator[Callable[[], Broker]]:
    """One RabbitMQ for the module, started when it is first wanted."""
    started: list[Broker] = []

    def broker() -> Broker:
        if not started:
            started.append(asyncio.run(start_broker("rabbitmq", name="outbox")))
        return started[0]

    yield broker
    for one in started:
        asyncio.run(one.stop())


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "orders.db") as db:
        db.tables("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
        yield db


class Sender:
    """In a client's place where a test wants certain errors: keeps what is sent, refuses what it is told to."""

    durable = True

    def __init__(self, refuse: Callable[[Any], Exception | None] = lambda data: None) -> None:
        self.refuse = refuse
        self.sent: list[tuple[str, Any, str]] = []

    async def emit(self, pattern: str, data: Any, *, headers: Any, message_id: str) -> None:
        await asyncio.sleep(0)
        if (error := self.refuse(data)) is not None:
            raise error
        self.sent.append((pattern, data, message_id))


async def place(db: Database, outbox: Outbox, number: int, key: str | None = None) -> str:
    def both(tx: Any) -> str:
        tx.execute("INSERT INTO orders VALUES (?)", (number,))
        return outbox.add(tx, "order.placed", number, key=key)

    return await db.run(both)


async def test_state_and_event_are_one(db: Database) -> None:
    """An error after both undoes both."""
    outbox = Outbox(db)

    def both(tx: Any) -> None:
        tx.execute("INSERT INTO orders VALUES (1)")
        outbox.add(tx, "order.placed", 1)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await db.run(both)
    with pytest.raises(PayloadError):
        await db.run(lambda tx: outbox.add(tx, "order.placed", object()))
    assert await outbox.waiting() == []
    await place(db, outbox, 2)
    assert [one.data for one in await outbox.waiting()] == [2]
    assert await db.run(lambda tx: tx.execute("SELECT id FROM orders").fetchall()) == [(2,)]


async def test_a_broker_that_is_away_loses_nothing(db: Database) -> None:
    """Each is sent once it is back, in order per key, with the id it was given."""
    outbox, away = Outbox(db), True
    ids = [await place(db, outbox, n, key=str(n % 3)) for n in range(9)]
    client = Sender(lambda data: ConnectError("away") if away and data in (0, 4) else None)
    assert await outbox.flush(client) == 4, "2, 5, 8 and 1: 0 and 4 hold their keys"
    away = False
    assert await outbox.flush(client) == 5
    assert await outbox.flush(client) == 0
    assert {data: id for _, data, id in client.sent} == dict(enumerate(ids))
    for key in range(3):
        assert [data for _, data, _ in client.sent if data % 3 == key] == [key, key + 3, key + 6]


async def test_an_event_that_cannot_be_sent_holds_its_key_only(db: Database) -> None:
    """Until a human decides: try again, or drop."""
    outbox = Outbox(db)
    too_large = True
    client = Sender(lambda data: PayloadError("2 bytes exceed 1") if too_large and data == 1 else None)
    ids = [await place(db, outbox, n, key=key) for n, key in [(0, "a"), (1, "b"), (2, "b"), (3, "a"), (4, None)]]
    while await outbox.flush(client):
        pass
    assert sorted(data for _, data, _ in client.sent) == [0, 3, 4]
    assert [(one.data, one.error) for one in await outbox.waiting()] == [(1, "2 bytes exceed 1"), (2, None)]
    too_large = False
    await outbox.retry(ids[1])
    assert await outbox.flush(client) == 2
    assert [data for _, data, _ in client.sent][-2:] == [1, 2]
    assert await outbox.purge(60) == 0
    assert await outbox.purge(-1) == 5


async def test_an_event_can_be_given_up(db: Database) -> None:
    """The later ones of its key go on; one that merely waits is not dropped."""
    outbox = Outbox(db)
    client = Sender(lambda data: PayloadError("never") if data == 1 else None)
    ids = [await place(db, outbox, n, key="a") for n in (1, 2)]
    await outbox.flush(client)
    for id in ids:
        await outbox.drop(id)
    assert await outbox.flush(client) == 1
    assert [data for _, data, _ in client.sent] == [2]


async def test_two_relays_keep_the_order_of_first_sendings(db: Database) -> None:
    """Duplicates there may be; the first copies are in order."""
    outbox = Outbox(db)
    for n in range(60):
        await place(db, outbox, n, key="a")
    client = Sender()
    await asyncio.gather(*(outbox.flush(client, batch=7) for _ in range(2) for _ in range(10)))
    while await outbox.flush(client):
        pass
    assert list(dict.fromkeys(data for _, data, _ in client.sent)) == list(range(60))


async def test_a_client_that_sends_at_most_once_is_refused(db: Database) -> None:
    """Its emit returns too early."""

    @event_pattern("x")
    async def handler() -> None: ...

    async with Service(handler, url="tcp://127.0.0.1:0") as service, await Client.connect(service.url) as client:
        with pytest.raises(UsageError, match="sends at most once"):
            await Outbox(db).flush(client)


async def test_the_relay_over_a_broker(db: Database, warm_rabbit: Callable[[], Broker]) -> None:
    """Over RabbitMQ, which is restarted meanwhile: each event arrives, with its id."""
    rabbit = await asyncio.to_thread(warm_rabbit)
    queue = f"outbox_{secrets.token_hex(4)}"
    outbox, arrived, enough = Outbox(db), [], asyncio.Event()

    @event_pattern("order.placed")
    async def take(data: Any, ctx: Any) -> None:
        arrived.append((data, ctx.message_id))
        if len({id for _, id in arrived}) == 100:
            enough.set()

    service = Service(take, url=rabbit.url, name=queue, delivery="at-least-once")
    async with service, await Client.connect(rabbit.url, queue=queue, delivery="at-least-once", timeout=2) as client:
        relay = asyncio.create_task(outbox.relay(client, pause=0.01))
        ids = [await place(db, outbox, n, key="a") for n in range(50)]
        rabbit.kill()
        ids += [await place(db, outbox, n, key="a") for n in range(50, 100)]
        await rabbit.restart()
        async with asyncio.timeout(60):
            await enough.wait()
            while await outbox.waiting():  # noqa: ASYNC110 - the relay marks them when the broker has confirmed
                await asyncio.sleep(0.01)
        relay.cancel()
        await asyncio.wait([relay])
    assert dict(arrived) == dict(enumerate(ids))
