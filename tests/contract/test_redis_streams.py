"""What is Redis Streams' own: keys, groups, consumers, what stays and what goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
from contract_help import LIMIT, Place, eventually

from classroom.brokers import start_broker
from postoffice import Client, Retry, Service, UnsupportedError, UsageError, dead_letters, event_pattern
from postoffice.transports import redis_consumer

pytestmark = pytest.mark.parametrize("kind", ["redis"])
AT_LEAST_ONCE: dict[str, Any] = {"delivery": "at-least-once"}


@pytest.fixture
async def server(place: Place) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(place.url, decode_responses=True) as server:
        yield server


def noting(pattern: str, seen: list[Any]) -> Any:
    @event_pattern(pattern)
    async def note(data: Any) -> None:
        seen.append(data)

    return note


async def test_entries_that_others_add_are_handled(place: Place, server: redis.Redis) -> None:
    """A packet, a value, text, and fields of their own; the entry's id is their identity. Odd headers do no harm."""
    seen: list[Any] = []
    ids: list[Any] = []

    @event_pattern(place.job)
    async def job(data: Any, ctx: Any) -> None:
        seen.append(data)
        ids.append(ctx.message_id)

    await place.serve(job, **AT_LEAST_ONCE)
    key = f"events:{place.job}"
    first = await server.xadd(key, {"body": '{"pattern":"x","data":{"a":1}}'})
    for fields in ({"body": "5"}, {"body": "text", "headers": "no json"}, {"order": "7", "total": "10"}):
        await server.xadd(key, fields)
    await server.xadd(key, {b"\xff": b"\xfe", "headers": "[1]"})
    await eventually(lambda: len(seen) == 5)
    assert seen == [{"a": 1}, 5, "text", {"order": "7", "total": "10"}, {"�": "�", "headers": "[1]"}]
    assert ids[0] == first


async def test_settled_entries_go_and_others_stay(
    place: Place, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trimmed is what every group has settled; the entries of a service that is away wait for it."""
    monkeypatch.setattr(redis_consumer, "TIDY", 0.0)
    monkeypatch.setattr(redis_consumer, "KEPT", 0.0)
    one: list[Any] = []
    two: list[Any] = []
    await place.serve(noting(place.job, one), name=f"{place.name}.one", ack_wait=0.3, **AT_LEAST_ONCE)
    away = await place.serve(noting(place.job, two), name=f"{place.name}.two", ack_wait=0.3, **AT_LEAST_ONCE)
    await away.stop()
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(10):
        await client.emit(place.job, number)
    await eventually(lambda: len(one) == 10)
    await asyncio.sleep(0.3)  # three rounds
    assert await server.xlen(f"events:{place.job}") == 10
    await away.start()
    await eventually(lambda: sorted(two) == list(range(10)))
    async with asyncio.timeout(10):
        while await server.xlen(f"events:{place.job}") > 1:  # noqa: ASYNC110 - the last one marks the place
            await asyncio.sleep(0.02)


async def test_consumers_that_are_gone_are_removed(
    place: Place, server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stops removes itself; one that was killed is removed when what it held is settled."""
    monkeypatch.setattr(redis_consumer, "TIDY", 0.0)
    monkeypatch.setattr(redis_consumer, "GONE", 0.0)
    text = (
        f"import asyncio\nfrom postoffice import event_pattern\n@event_pattern({place.job!r})\n"
        "async def job(data):\n    print('JOB', data, flush=True)\n    await asyncio.sleep(3600)\n"
    )
    killed = await place.run(text, tmp_path, "--delivery", "at-least-once", "--ack-wait", "0.3")
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "held")
    await eventually(lambda: "JOB held" in killed.log)
    killed.signal(signal.SIGKILL)
    await killed.ended()
    seen: list[Any] = []
    await place.serve(noting(place.job, seen), ack_wait=0.3, **AT_LEAST_ONCE)
    stopped = await place.serve(noting(place.job, seen), ack_wait=0.3, **AT_LEAST_ONCE)
    await eventually(lambda: seen == ["held"])
    await stopped.stop()
    async with asyncio.timeout(10):
        while len(await server.xinfo_consumers(f"events:{place.job}", place.name)) != 1:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.02)


async def test_a_message_that_kills_takes_no_others_with_it(place: Place, tmp_path: Path) -> None:
    """Its fellows of the first crashes are handled, and only it becomes a dead letter."""
    text = (
        "import os, signal\nfrom postoffice import Retry, event_pattern\n"
        f"@event_pattern({place.job!r}, retry=Retry(attempts=4))\nasync def job(data):\n"
        "    print('JOB', data, flush=True)\n"
        "    if data == 5:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    options = ("--delivery", "at-least-once", "--ack-wait", "0.3")
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(12):
        await client.emit(place.job, number)
    logs = []
    for _ in range(4):
        process = await place.run(text, tmp_path, *options)
        logs.append(process)
        assert await process.ended() == -signal.SIGKILL
    logs.append(await place.run(text, tmp_path, *options))

    def handled() -> set[int]:
        return {int(line.removeprefix("JOB ")) for one in logs for line in one.log.splitlines() if "JOB" in line}

    await eventually(lambda: handled() == set(range(12)))
    async with dead_letters(place.url, f"{place.name}.dead") as office, asyncio.timeout(10):
        while not (letters := await office.list()):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.02)
    assert [(one.data, one.kind, one.attempts) for one in letters] == [(5, "crashed", 4)]


async def test_streams_that_were_deleted_are_made_again(place: Place, server: redis.Redis) -> None:
    """By the service that reads them; a flushed Redis is a new one."""
    seen: list[Any] = []
    await place.serve(noting(place.job, seen), **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, 1)
    await eventually(lambda: seen == [1])
    for key in [key async for key in server.scan_iter(f"*{place.job}*")]:
        await server.delete(key)
    await client.emit(place.job, 2)
    await eventually(lambda: seen == [1, 2])


async def test_a_key_that_is_something_else_is_said_at_start(place: Place, server: redis.Redis) -> None:
    """And a service with wildcards, which streams have not."""
    await server.set(f"events:{place.job}", "mine")
    with pytest.raises(UsageError, match=rf"cannot keep events under the key 'events:{place.job}'"):
        await place.serve(noting(place.job, []), **AT_LEAST_ONCE)
    with pytest.raises(UnsupportedError, match="Redis Streams has no wildcards"):
        Service(noting(place.job, []), url=place.url, name="x", wildcards=True, **AT_LEAST_ONCE)


async def test_names_with_odd_characters_stay_apart(place: Place) -> None:
    """A service `a:b` of the pattern `c` and a service `a` of the pattern `b:c` share nothing."""
    seen: dict[str, list[Any]] = {"a:b": [], "a": []}

    def failing(pattern: str, name: str) -> Any:
        @event_pattern(pattern, retry=Retry(attempts=3, initial=0.02, jitter=0))
        async def fail(data: Any) -> None:
            seen[name].append(data)
            if len(seen[name]) < 3:
                raise ValueError(data)

        return fail

    await place.serve(failing(f"c{place.name}", "a:b"), name="a:b", **AT_LEAST_ONCE)
    await place.serve(failing(f"b:c{place.name}", "a"), name="a", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(f"c{place.name}", 1)
    await client.emit(f"b:c{place.name}", 2)
    await eventually(lambda: seen == {"a:b": [1, 1, 1], "a": [2, 2, 2]}, f"{seen}")


async def test_with_every_write_synced_a_killed_redis_loses_nothing(place: Place) -> None:
    """Stored before any service runs, while one handles them, and while copies wait for their next attempt."""
    seen: list[Any] = []

    @event_pattern(place.job, retry=Retry(attempts=9, initial=0.3, jitter=0))
    async def job(data: Any, ctx: Any) -> None:
        if ctx.attempt == 1 and data % 3 == 0:
            raise ValueError("not yet")
        seen.append(data)

    async with (
        await start_broker("redis", name=place.name, sync="always") as broker,
        await Client.connect(broker.url, timeout=LIMIT, **AT_LEAST_ONCE) as client,
    ):
        for number in range(20):
            await client.emit(place.job, number)
        broker.kill()
        await broker.restart()
        async with Service(job, url=broker.url, name=place.name, **AT_LEAST_ONCE):
            await eventually(lambda: len(seen) >= 13, "what is not tried again")
            broker.kill()
            await broker.restart()
            await client.emit(place.job, 20)
            await eventually(lambda: len(seen) == 21, f"all in {sorted(seen)}")
    assert sorted(seen) == list(range(21))
