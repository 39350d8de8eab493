"""The event store: order, conflicts, replay, projections, snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postoffice import PayloadError, UsageError
from postoffice.database import Database
from postoffice.eventstore import BATCH, Event, EventStore, New, VersionConflict


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "events.db") as db:
        yield db


@pytest.fixture
def store(db: Database) -> EventStore:
    return EventStore(db)


def total(state: int, event: Event) -> int:
    return state + int(event.data)


async def test_events_are_kept_in_order_with_versions_and_positions(store: EventStore) -> None:
    """Versions per stream, one order over all."""
    assert await store.append("a", [New("x", 1), New("y", 2, {"correlation_id": "c"})], expected=0) == 2
    assert await store.append("b", [New("x", 3)], expected=0) == 1
    assert await store.append("a", [New("z", {"deep": [None]})], expected=2) == 3
    assert [(e.version, e.type, e.data) for e in await store.read("a")] == [
        (1, "x", 1),
        (2, "y", 2),
        (3, "z", {"deep": [None]}),
    ]
    assert (await store.read("a", after=1))[0].meta == {"correlation_id": "c"}
    assert [(e.stream, e.position) async for e in store.replay()] == [("a", 1), ("a", 2), ("b", 3), ("a", 4)]
    assert [e.position async for e in store.replay(after=2)] == [3, 4]
    assert await store.read("nobody") == []


async def test_who_comes_second_gets_a_conflict(store: EventStore) -> None:
    """With both versions; nothing of the append is kept."""
    await store.append("a", [New("x", 1)], expected=0)
    with pytest.raises(VersionConflict, match="'a' is at version 1, and version 0 was expected") as caught:
        await store.append("a", [New("y", 1), New("z", 1)], expected=0)
    assert not caught.value.may_have_happened
    assert len(await store.read("a")) == 1


async def test_data_that_is_no_json_undoes_the_whole_append(store: EventStore) -> None:
    """Its first event too."""
    with pytest.raises(PayloadError):
        await store.append("a", [New("x", 1), New("y", object())], expected=0)
    assert await store.read("a") == []


async def test_thirty_writers_at_once(tmp_path: Path) -> None:
    """Each reads, decides and appends until it gets through, over three connections: nothing is lost."""
    files = [Database(tmp_path / "events.db") for _ in range(3)]
    stores = [EventStore(file) for file in files]

    async def writer(number: int) -> None:
        store = stores[number % 3]
        while True:
            _, version = await store.load("a", total, 0)
            try:
                await store.append("a", [New("x", number)], expected=version)
                return
            except VersionConflict:
                continue

    await asyncio.gather(*map(writer, range(30)))
    events = await stores[0].read("a")
    assert sorted(e.data for e in events) == list(range(30))
    assert [e.version for e in events] == list(range(1, 31))
    await asyncio.gather(*(file.close() for file in files))


async def test_a_snapshot_is_a_shortcut_and_nothing_else(store: EventStore) -> None:
    """The state is the same with it, and without; an older one does not replace a newer one."""
    await store.append("a", [New("x", n) for n in range(10)], expected=0)
    seen: list[int] = []

    def watched(state: int, event: Event) -> int:
        seen.append(event.version)
        return total(state, event)

    await store.snapshot("a", 15, 6)
    await store.snapshot("a", 1, 2)
    assert await store.load("a", watched, 0) == (45, 10)
    assert seen == [7, 8, 9, 10]
    await store.forget_snapshots()
    assert await store.load("a", watched, 0) == (45, 10)
    assert await store.load("nobody", total, 0) == (0, 0)


async def test_a_projection_sees_each_event_once(db: Database, store: EventStore) -> None:
    """Over several batches, from where it was, two runners at once; an error undoes its batch."""
    db.tables("CREATE TABLE IF NOT EXISTS sums (stream TEXT PRIMARY KEY, total INTEGER)")

    def add(tx: Any, event: Event) -> None:
        if event.data == -1:
            raise ValueError("poison")
        tx.execute("INSERT OR IGNORE INTO sums VALUES (?, 0)", (event.stream,))
        tx.execute("UPDATE sums SET total = total + ? WHERE stream = ?", (event.data, event.stream))

    async def sums() -> dict[str, int]:
        return await db.run(lambda tx: dict(tx.execute("SELECT * FROM sums").fetchall()))

    count = 2 * BATCH + 7
    await store.append("a", [New("x", 1)] * count, expected=0)
    await asyncio.gather(*(store.project("sums", add) for _ in range(2)))
    assert await sums() == {"a": count}
    await store.append("b", [New("x", 5), New("x", -1)], expected=0)
    with pytest.raises(ValueError, match="poison"):
        await store.project("sums", add)
    assert await sums() == {"a": count}
    await store.rebuild("sums", lambda tx: tx.execute("DELETE FROM sums"))
    assert await sums() == {}
    with pytest.raises(ValueError, match="poison"):
        await store.project("sums", add)
    assert (await sums())["a"] == 2 * BATCH, "whole batches"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(-9, 9), max_size=4), st.integers(-1, 1)), max_size=15
    )
)
def test_the_state_is_the_fold_of_the_log(tmp_path_factory: pytest.TempPathFactory, story: list[Any]) -> None:
    """Whatever was appended, refused or snapshotted, against a dict of lists."""

    async def run() -> None:
        async with Database(tmp_path_factory.mktemp("story") / "events.db") as db:
            store, model = EventStore(db), dict[str, list[int]]({"a": [], "b": [], "c": []})
            for stream, numbers, off in story:
                version = len(model[stream])
                try:
                    await store.append(stream, [New("x", n) for n in numbers], expected=version + off)
                    assert off == 0
                    model[stream] += numbers
                except VersionConflict:
                    assert off != 0
                if numbers:
                    await store.snapshot(stream, sum(model[stream]), len(model[stream]))
            for stream, numbers in model.items():
                assert await store.load(stream, total, 0) == (sum(numbers), len(numbers))
                assert [e.data for e in await store.read(stream)] == numbers
            assert [e.position async for e in store.replay()] == list(range(1, sum(map(len, model.values())) + 1))

    asyncio.run(run())


async def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    """No folder; no database; async work: said in words, and the file is still usable."""
    with pytest.raises(UsageError, match="Does its folder exist"):
        async with Database(tmp_path / "no" / "x.db") as db:
            await EventStore(db).read("a")
    (tmp_path / "text.db").write_text("this is no database at all, " * 100)
    with pytest.raises(UsageError, match="is no SQLite database"):
        async with Database(tmp_path / "text.db") as db:
            await EventStore(db).read("a")

    async def work(tx: Any) -> None: ...

    async with Database(tmp_path / "x.db") as db:
        with pytest.raises(UsageError, match="a plain function"):
            await db.run(work)
        assert await EventStore(db).read("a") == []
