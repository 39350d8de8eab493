"""One effect a key, whichever step a process is killed at: between record and effect, effect and record, and inside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from crashes import MortalDatabase, crash_everywhere, step

from classroom.brokers import start_broker
from postoffice.idempotency import NOT_DONE, OutcomeUnknown, once
from postoffice.idempotency_stores import MemoryKeys, RedisKeys, SqliteKeys

LEASE = 0.02  # seconds
DATA = {"id": 7, "total": 10}


def effects(folder: Path) -> list[str]:
    """What the outside world has seen."""
    path = folder / "effects"
    return path.read_text().splitlines() if path.exists() else []


async def effect(folder: Path) -> str:
    step("before the effect")
    with (folder / "effects").open("a") as file:
        file.write("charged 10\n")
    step("after the effect")
    return "charged"


async def work(folder: Path, keys: Any, ask: bool = True) -> None:
    """Charge order 7, as a message that is redelivered after each crash asks for."""

    if (folder / "lived").exists():
        await asyncio.sleep(2 * LEASE)  # to start again takes longer than a lease
    (folder / "lived").touch()

    async def owner() -> Any:
        step("asking the owner")
        return "charged" if effects(folder) else NOT_DONE

    try:
        reply = await once(
            keys, "order-7", DATA, lambda: effect(folder), resolve=owner if ask else None, lease=LEASE, wait=20
        )
    except OutcomeUnknown as error:
        reply = type(error).__name__
    with (folder / "replies").open("a") as file:
        file.write(f"{reply}\n")


async def sqlite_life(folder: Path) -> None:
    async with MortalDatabase(folder / "keys.db") as db:
        await work(folder, SqliteKeys(db))


async def sqlite_life_without_owner(folder: Path) -> None:
    async with MortalDatabase(folder / "keys.db") as db:
        await work(folder, SqliteKeys(db), ask=False)


async def memory_life(folder: Path) -> None:
    await work(folder, MemoryKeys())


async def transaction_life(folder: Path) -> None:
    async with MortalDatabase(folder / "keys.db") as db:
        db.tables("CREATE TABLE IF NOT EXISTS charges (total INTEGER)")
        keys = SqliteKeys(db)
        await keys.transact("order-7", DATA, lambda tx: tx.execute("INSERT INTO charges VALUES (10)").rowcount)
        [count] = await db.run(lambda tx: tx.execute("SELECT count(*) FROM charges").fetchone())
        (folder / "count").write_text(str(count))


class MortalRedis(redis.asyncio.Redis):
    """Its process may die before each script, and after it."""

    async def eval(self, *arguments: Any) -> Any:
        step("before a script")
        answer = await super().eval(*arguments)
        step("after a script")
        return answer


async def redis_life(folder: Path) -> None:
    async with MortalRedis.from_url(os.environ["TEST_REDIS"]) as client:
        await work(folder, RedisKeys(client, str(folder)))


def folders(tmp_path: Path, life: str, **environment: str) -> list[tuple[Path, list[str | None]]]:
    return [(Path(one["folder"]), one["steps"]) for one in crash_everywhere(__file__, life, tmp_path, **environment)]


def test_with_sqlite_and_the_effects_owner(tmp_path: Path) -> None:
    """Killed before each SQL statement, the effect, and whatever follows it; twice each."""
    lives = folders(tmp_path, "sqlite_life")
    assert {"before the effect", "after the effect", "asking the owner"} <= {one for _, steps in lives for one in steps}
    assert len(lives) > 10
    for folder, steps in lives:
        assert effects(folder) == ["charged 10"], steps
        assert set((folder / "replies").read_text().split()) == {"charged"}, steps


def test_without_an_owner_nobody_guesses(tmp_path: Path) -> None:
    """Never twice; where it died in between, the outcome stays unknown and is told."""
    outcomes = set()
    for folder, steps in folders(tmp_path, "sqlite_life_without_owner"):
        assert len(effects(folder)) <= 1, steps
        last = (folder / "replies").read_text().split()[-1]
        assert effects(folder) == ["charged 10"] or last == "OutcomeUnknown", steps
        outcomes.add((last, len(effects(folder))))
    assert outcomes == {("charged", 1), ("OutcomeUnknown", 0), ("OutcomeUnknown", 1)}


def test_with_effect_and_key_in_one_transaction(tmp_path: Path) -> None:
    """Nothing is ever unknown, and no owner is asked."""
    for folder, steps in folders(tmp_path, "transaction_life"):
        assert (folder / "count").read_text() == "1", steps


def test_memory_forgets(tmp_path: Path) -> None:
    """As it says: after a crash the effect is there twice. It also shows that these tests would see it."""
    after, before = "after the effect", "before the effect"
    counts = {tuple(steps): len(effects(folder)) for folder, steps in folders(tmp_path, "memory_life")}
    assert counts == {(before, before): 1, (after, after): 3, (None, None): 3}


@pytest.fixture(scope="module")
def redis_url():
    """A Redis that stays up: only the process with the work dies."""
    broker = asyncio.run(start_broker("redis", name="crash idempotency"))
    yield broker.url
    asyncio.run(broker.stop())


def test_with_redis_and_the_effects_owner(tmp_path: Path, redis_url: str) -> None:
    """The same over Redis: killed before and after each script."""
    lives = folders(tmp_path, "redis_life", TEST_REDIS=redis_url)
    assert {"before a script", "after a script", "after the effect"} <= {one for _, steps in lives for one in steps}
    for folder, steps in lives:
        assert effects(folder) == ["charged 10"], steps
        assert set((folder / "replies").read_text().split()) == {"charged"}, steps
