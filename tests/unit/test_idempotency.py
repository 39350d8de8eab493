"""Idempotency keys: one effect a key, whoever comes, and whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from classroom.brokers import Broker, start_broker
from postoffice import Client, Context, HandlerError, PermanentError, RpcError, Service, UsageError, message_pattern
from postoffice.database import Database
from postoffice.idempotency import (
    NOT_DONE,
    InProgress,
    KeyReused,
    KeyStore,
    OutcomeUnknown,
    fingerprint,
    idempotent,
    once,
    run_again,
)
from postoffice.idempotency_stores import MemoryKeys, RedisKeys, SqliteKeys

MakeStore = Callable[..., KeyStore]


@pytest.fixture(scope="module")
def warm_redis() -> Iterator[Callable[[], str]]:
    """The URL of one Redis for the module, started when it is first wanted."""
    started: list[Broker] = []

    def url() -> str:
        if not started:
            started.append(asyncio.run(start_broker("redis", name="idempotency")))
        return started[0].url

    yield url
    for broker in started:
        asyncio.run(broker.stop())


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path, warm_redis: Callable[[], str]
) -> AsyncIterator[MakeStore]:
    """Makes stores of one kind that share their records, as replicas would (memory: one store)."""
    if request.param == "memory":
        made: list[MemoryKeys] = []

        def memory(ttl: float | None = None) -> KeyStore:
            made[:] = made or [MemoryKeys(ttl)]
            return made[0]

        yield memory
    elif request.param == "sqlite":
        files: list[Database] = []

        def sqlite(ttl: float | None = None) -> KeyStore:
            files.append(Database(tmp_path / "keys.db"))
            return SqliteKeys(files[-1], ttl)

        yield sqlite
        for file in files:
            await file.close()
    else:
        client = redis.asyncio.from_url(await asyncio.to_thread(warm_redis))
        yield lambda ttl=None: RedisKeys(client, tmp_path.name, ttl)
        await client.aclose()


class Effect:
    """Counts how often it took place."""

    def __init__(self, *errors: BaseException, pause: float = 0) -> None:
        self.count = 0
        self.errors = list(errors)
        self.pause = pause
        self.began = asyncio.Event()

    async def __call__(self) -> Any:
        self.count += 1
        self.began.set()
        await asyncio.sleep(self.pause)
        if self.errors:
            raise self.errors.pop(0)
        return {"number": self.count}


async def test_every_retry_gets_the_first_reply(stores: MakeStore) -> None:
    """From this replica and from another; key order in the data is no matter, other keys are other work."""
    effect = Effect()
    first = await once(stores(), "a", {"x": 1, "y": 2}, effect)
    again = [await once(stores(), "a", {"y": 2, "x": 1}, effect) for _ in range(3)]
    assert [first, *again] == [{"number": 1}] * 4
    assert await once(stores(), "b", {"x": 1, "y": 2}, effect) == {"number": 2}


async def test_concurrent_duplicates_wait_for_one_reply(stores: MakeStore) -> None:
    """Twenty at once: one runs."""
    effect = Effect(pause=0.05)
    keys = [stores(), stores()]
    replies = await asyncio.gather(*(once(keys[n % 2], "a", 1, effect) for n in range(20)))
    assert replies == [{"number": 1}] * 20
    assert effect.count == 1


async def test_who_cannot_wait_longer_is_told(stores: MakeStore) -> None:
    """And does nothing."""
    effect = Effect(pause=0.5)
    store = stores()
    slow = asyncio.create_task(once(store, "a", 1, effect))
    await effect.began.wait()
    with pytest.raises(InProgress, match=r"no reply within 0\.05 s\. This call did nothing"):
        await once(store, "a", 1, effect, wait=0.05)
    assert await slow == {"number": 1}


async def test_a_changed_payload_is_refused(stores: MakeStore) -> None:
    """While the first is under way, after it, and when its outcome is unknown."""
    effect = Effect(ValueError())
    store = stores()
    with pytest.raises(ValueError):  # noqa: PT011 - its own
        await once(store, "unknown", {"total": 10}, effect)
    await once(store, "done", {"total": 10}, effect)
    slow = Effect(pause=0.2)
    busy = asyncio.create_task(once(store, "busy", {"total": 10}, slow))
    await slow.began.wait()
    for key in ("unknown", "done", "busy"):
        with pytest.raises(KeyReused, match=r"used before, with other data\. Nothing was done"):
            await once(store, key, {"total": 11}, effect)
    assert await busy == {"number": 1}
    assert await once(store, "unknown", {"total": 10}, effect, resolve=run_again) == {"number": 3}


async def test_an_error_leaves_an_unknown_outcome(stores: MakeStore) -> None:
    """Nobody guesses: without `resolve` every retry says so."""
    effect = Effect(RuntimeError("after the effect, or before?"))
    with pytest.raises(RuntimeError):
        await once(stores(), "a", 1, effect)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="its effect may have taken place"):
            await once(stores(), "a", 1, effect)
    assert effect.count == 1


async def test_the_owner_of_the_effect_says_what_happened(stores: MakeStore) -> None:
    """It took place: its reply stands. It did not: the work is run."""

    async def found() -> Any:
        return {"number": "from the ledger"}

    async def not_found() -> Any:
        return NOT_DONE

    for key, resolve, reply in [("a", found, {"number": "from the ledger"}), ("b", not_found, {"number": 2})]:
        effect = Effect(RuntimeError())
        with pytest.raises(RuntimeError):
            await once(stores(), key, 1, effect)
        assert [await once(stores(), key, 1, effect, resolve=resolve) for _ in range(2)] == [reply, reply]


async def test_an_owner_who_cannot_be_asked_leaves_it_unknown(stores: MakeStore) -> None:
    """The next retry asks again, at once."""
    effect, ask = Effect(RuntimeError()), Effect(ConnectionError())
    with pytest.raises(RuntimeError):
        await once(stores(), "a", 1, effect)
    with pytest.raises(ConnectionError):
        await once(stores(), "a", 1, effect, resolve=ask)
    assert await once(stores(), "a", 1, effect, resolve=ask) == {"number": 2}
    assert effect.count == 1


async def test_a_permanent_error_is_an_answer(stores: MakeStore) -> None:
    """Every retry gets the same refusal."""
    effect = Effect(PermanentError({"code": 7, "message": "no such article"}))
    for _ in range(3):
        with pytest.raises(PermanentError, match="no such article") as caught:
            await once(stores(), "a", 1, effect)
        assert caught.value.error["code"] == 7
    assert effect.count == 1


async def test_a_dead_owner_is_taken_over_when_its_lease_ends(stores: MakeStore) -> None:
    """As after kill -9: the record stays `started`, nobody renews it."""
    store = stores()
    record = await store.claim("a", fingerprint(1), "the dead one", 0.2)
    assert record.state == "mine"
    effect = Effect()
    with pytest.raises(InProgress):
        await once(store, "a", 1, effect, resolve=run_again, wait=0)
    assert await once(store, "a", 1, effect, resolve=run_again, wait=5) == {"number": 1}


async def test_a_slow_owner_keeps_its_lease(stores: MakeStore) -> None:
    """Alive for six leases: nobody takes over."""
    effect = Effect(pause=0.9)
    store = stores()
    slow = asyncio.create_task(once(store, "a", 1, effect, lease=0.15))
    await effect.began.wait()
    assert await once(store, "a", 1, effect, lease=0.15, wait=5, resolve=run_again) == {"number": 1}
    assert await slow == {"number": 1}
    assert effect.count == 1


async def test_an_owner_that_comes_back_late_gets_the_reply_that_stands(stores: MakeStore) -> None:
    """Paused past its lease, it did the work twice; both tell the same reply, the first that was written."""
    store = stores()
    mark = fingerprint(1)
    await store.claim("a", mark, "paused", 0)
    assert await once(store, "a", 1, Effect(), resolve=run_again) == {"number": 1}
    assert await store.finish("a", mark, b'{"reply":"late"}') == b'{"reply":{"number":1}}'


async def test_a_finished_record_expires(stores: MakeStore) -> None:
    """After its ttl the work can be done again; a started one is never forgotten."""
    store, effect = stores(ttl=0.1), Effect()
    await once(store, "done", 1, effect)
    await store.claim("started", fingerprint(1), "dead", 0)
    await asyncio.sleep(0.15)
    assert await once(store, "done", 1, effect) == {"number": 2}
    with pytest.raises(OutcomeUnknown):
        await once(store, "started", 1, effect)


async def test_a_reply_that_cannot_be_kept_is_unknown() -> None:
    """The effect took place, so nobody may say that it did not."""

    async def work() -> Any:
        return object()

    store = MemoryKeys()
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        await once(store, "a", 1, work)
    with pytest.raises(OutcomeUnknown):
        await once(store, "a", 1, work)


@pytest.mark.parametrize("key", ["", None, 7])
async def test_a_key_that_is_none(key: Any) -> None:
    """Said before anything is done."""
    effect = Effect()
    with pytest.raises(UsageError, match="an idempotency key is a text"):
        await once(MemoryKeys(), key, 1, effect)
    assert effect.count == 0


async def test_memory_does_not_grow_with_what_has_expired() -> None:
    """Ten thousand keys, each kept for a second, in a hundred seconds."""
    now = [0.0]
    store = MemoryKeys(ttl=1, clock=lambda: now[0])
    for number in range(10_000):
        now[0] += 0.01
        await once(store, str(number), 1, Effect())
    assert len(store._records) <= 2000


async def test_memory_says_that_it_forgets() -> None:
    """In its repr, where a learner looks."""
    assert "forgotten when this process ends" in repr(MemoryKeys())


async def test_effect_and_key_in_one_transaction(tmp_path: Path) -> None:
    """Nothing is ever unknown: an error undoes both, a duplicate gets the reply."""
    async with Database(tmp_path / "orders.db") as db:
        db.tables("CREATE TABLE IF NOT EXISTS orders (id INTEGER, total INTEGER)")
        keys = SqliteKeys(db)

        def place(tx: Any, fail: bool = False) -> int:
            tx.execute("INSERT INTO orders VALUES (7, 10)")
            if fail:
                raise RuntimeError("in the middle")
            return int(tx.execute("SELECT count(*) FROM orders").fetchone()[0])

        with pytest.raises(RuntimeError):
            await keys.transact("a", 1, lambda tx: place(tx, fail=True))
        assert await asyncio.gather(*(keys.transact("a", 1, place) for _ in range(5))) == [1] * 5
        with pytest.raises(KeyReused):
            await keys.transact("a", 2, place)
        await keys.claim("started", fingerprint(1), "someone", 0)
        with pytest.raises(OutcomeUnknown):
            await keys.transact("started", 1, place)
        assert await db.run(lambda tx: tx.execute("SELECT count(*) FROM orders").fetchone()[0]) == 1


async def test_a_handler_runs_once_a_key() -> None:
    """Over a service: a request sent three times, typed data still checked; two handlers do not share keys."""
    calls = []

    @message_pattern("charge")
    @idempotent(MemoryKeys(), key=lambda data, ctx: data["id"])
    async def charge(data: dict[str, int | str], ctx: Context) -> int:
        calls.append(data)
        return len(calls)

    async with Service(charge, url="tcp://127.0.0.1:0") as service, await Client.connect(service.url) as client:
        assert [await client.send("charge", {"id": "7", "total": 10}) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(RpcError, match="with other data"):
            await client.send("charge", {"id": "7", "total": 11})
        with pytest.raises(RpcError, match="invalid payload"):
            await client.send("charge", [1])


async def test_a_method_runs_once_a_key() -> None:
    """Decorators in either order, on an object's methods."""

    class Office:
        count = 0

        @idempotent(MemoryKeys(), key=lambda data, ctx: ctx.headers["key"])
        @message_pattern("stamp")
        async def stamp(self, data: Any, ctx: Context) -> int:
            self.count += 1
            return self.count

    async with Service(Office(), url="tcp://127.0.0.1:0") as service, await Client.connect(service.url) as client:
        assert [await client.send("stamp", 1, headers={"key": key}) for key in "aabb"] == [1, 1, 2, 2]


def test_a_handler_that_cannot_be_made_idempotent() -> None:
    """No context, a stream, not async: said when it is decorated."""

    async def no_context(data):
        return data

    async def stream(data, ctx):
        yield data

    def blocking(data, ctx):
        return data

    for function in (no_context, stream, blocking):
        with pytest.raises(HandlerError, match="cannot be made idempotent: it must be `async def"):
            idempotent(MemoryKeys(), key=lambda data, ctx: "a")(function)
