"""Faults of a service's processes, and crashes at named points of their work."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from contract_help import eventually

from classroom.brokers import start_broker
from classroom.faults import Crash, crash
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan, ServiceError
from postoffice import Client, ConnectionLost, PostOfficeError, RequestTimeout
from postoffice.points import Point

SOURCE = """
from postoffice import message_pattern

@message_pattern("work")
async def work(data, ctx):
    print("did", data, flush=True)
    return data
"""


def deployed(url: str | None = None, replicas: int = 1, delivery: str = "at-most-once", source: str = SOURCE):
    """A service as a %%service cell starts it."""
    plan = Plan(source, "tcp", lambda: url, delivery, None, replicas, False)
    handle = ServiceHandle("worker", plan, lambda name: False)
    handle.deploy(plan)
    return handle


@pytest.fixture
async def worker() -> AsyncIterator[ServiceHandle]:
    """A service on TCP."""
    handle = await deployed()
    yield handle
    await handle.stop()


async def outcomes(handle: ServiceHandle, count: int) -> list[object]:
    """What calls of a client of their own end with: the answer, or the kind of error."""
    found: list[object] = []
    async with await Client.connect(handle.url, timeout=10) as client:
        for number in range(count):
            try:
                found.append(await client.send("work", number))
            except PostOfficeError as error:
                found.append(type(error))
    return found


def done(handle: ServiceHandle) -> list[str]:
    """The work that was done, by its own word."""
    return [line for line in handle.logs(100).splitlines() if line.startswith("did")]


async def test_killed_paused_and_stopped_undo_themselves(worker: ServiceHandle) -> None:
    """Also when the body fails; what the body has seen to itself is left alone."""
    with contextlib.suppress(ZeroDivisionError):
        async with worker.killed():
            assert worker.state == "killed"
            raise ZeroDivisionError
    assert worker.state == "ready"
    async with worker.paused():
        assert worker.state == "paused"
        async with await Client.connect(worker.url) as client:
            with pytest.raises(RequestTimeout):
                await client.send("work", 1, timeout=0.2)
    assert worker.state == "ready"
    async with worker.stopped():
        assert worker.state == "stopped"
    assert await outcomes(worker, 1) == [0]
    async with worker.killed():
        await worker.restart()
        pid = worker.replicas[0].pid
    assert worker.replicas[0].pid == pid


@pytest.mark.parametrize(
    ("point", "works"), [("received", 2), ("before-handler", 2), ("after-handler", 3), ("replied", 3)]
)
async def test_a_crash_at_a_named_point(worker: ServiceHandle, point: str, works: int) -> None:
    """The third call loses its connection; whether its work was done depends on the point. It happens once."""
    async with worker.crash_at(point, nth=3) as planned:
        first, second, third, *_ = await outcomes(worker, 4)
        await planned.wait()
        assert worker.state == "killed"
        assert worker.replicas[0].returncode == -9
        await worker.restart()
        assert await outcomes(worker, 5) == list(range(5))
    assert (first, second) == (0, 1)
    assert third is ConnectionLost or (third == 2 and point == "replied")
    assert len(done(worker)) == works + 5


async def test_undone_it_is_called_off_or_the_service_is_back(worker: ServiceHandle) -> None:
    """Which of the two depends on whether it has happened."""
    async with worker.crash_at("before-handler") as planned:
        pass
    assert await outcomes(worker, 3) == [0, 1, 2]
    assert not planned.fired
    async with worker.crash_at("before-handler") as planned:
        await outcomes(worker, 1)
        await planned.wait()
    assert planned.fired
    assert worker.state == "ready"


async def test_a_service_that_is_down_crashes_after_its_start(worker: ServiceHandle) -> None:
    """And its next start lives on."""
    worker.kill()
    planned = await worker.crash_at("after-handler")
    await worker.restart()
    assert await outcomes(worker, 1) == [ConnectionLost]
    await planned.wait()
    await worker.restart()
    assert await outcomes(worker, 1) == [0]


async def test_the_seed_chooses_the_message(worker: ServiceHandle) -> None:
    """With a probability: the same message for the same seed, not the first one for all seeds."""

    async def answered(seed: int) -> int:
        async with worker.crash_at("before-handler", probability=0.2, seed=seed):
            found = await outcomes(worker, 100)
        return found.index(ConnectionLost)

    first = await answered(1)
    assert await answered(1) == first
    assert {first, await answered(2), await answered(3)} != {first}


async def test_of_several_replicas_one_crashes() -> None:
    """The first to arrive at the point, or the one that was asked for; the others work on."""
    async with await start_broker("redis", engine="process", name="for crashes") as redis:
        handle = await deployed(redis.url, replicas=3)  # on Redis each replica gets every message
        async with handle.crash_at("before-handler", nth=2) as planned:
            async with await Client.connect(redis.url) as client:
                for number in range(6):
                    await client.send("work", number)
            await planned.wait()
            assert sorted(one.state for one in handle.replicas) == ["killed", "ready", "ready"]
        assert [one.state for one in handle.replicas] == ["ready"] * 3
        async with handle.crash_at("before-handler", replica=1) as planned:
            async with await Client.connect(redis.url) as client:
                await client.send("work", 1)
            await planned.wait()
            assert {one.number: one.state for one in handle.replicas}[1] == "killed"
        async with handle.killed(2):
            assert {one.number: one.state for one in handle.replicas} == {0: "ready", 1: "ready", 2: "killed"}
        assert handle.state == "ready"
        await handle.stop()


async def test_what_is_refused(worker: ServiceHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such point, no such message; a process that cannot hear of it."""
    with pytest.raises(ValueError, match=r"'before-lunch' is no point .*: choose from received, before-handler"):
        worker.crash_at("before-lunch")
    with pytest.raises(ValueError, match="from 1; got 0"):
        worker.crash_at("acked", nth=0)
    with pytest.raises(ValueError, match="at most 1, for each message; got 2"):
        worker.crash_at("acked", probability=2)
    monkeypatch.setattr(crash, "ARM_LIMIT", 0.3)
    async with worker.paused():
        with pytest.raises(TimeoutError, match=r"does not answer\. Is it paused"):
            await worker.crash_at("acked")
    assert await outcomes(worker, 2) == [0, 1]  # nothing of it is left
    with pytest.raises(ServiceError, match="has no replica 7"):
        await worker.killed(7)


async def test_a_process_that_nobody_told_pays_nothing(worker: ServiceHandle) -> None:
    """No watcher is there until a crash is planned, and none is left when it is called off."""
    from postoffice import points

    assert points.watchers == []
    source = """
from postoffice import message_pattern, points

@message_pattern("watchers")
async def watchers():
    return len(points.watchers)
"""
    handle = await deployed(source=source)
    async with await Client.connect(handle.url) as client:
        assert await client.send("watchers") == 0
        planned = await handle.crash_at("acked", nth=1000)
        assert await client.send("watchers") == 1
        await planned.undo()
        for _ in range(100):
            if await client.send("watchers") == 0:
                break
        assert await client.send("watchers") == 0
    await handle.stop()


def test_every_point_can_be_named() -> None:
    """Those of postoffice, all of them."""
    for point in get_args(Point):
        assert crash.plan(point, 1, None, None, 0)["point"] == point


async def test_an_event_at_least_once_is_delivered_again() -> None:
    """Crashed after the work and before the ack, the work is done twice; after the ack, once."""
    source = """
from postoffice import event_pattern

@event_pattern("paid")
async def paid(data, ctx):
    print("did", data, flush=True)
"""
    async with await start_broker("rabbitmq", engine="process", name="for crashes") as rabbit:
        handle = await deployed(rabbit.url, delivery="at-least-once", source=source)
        async with await Client.connect(rabbit.url, queue="worker", delivery="at-least-once") as client:
            for point, times in (("before-handler", 1), ("after-handler", 2), ("acked", 1)):
                planned: Crash
                async with handle.crash_at(point) as planned:
                    await client.emit("paid", point)
                    await planned.wait()
                await client.emit("paid", "last")  # handled after all that came before
                await eventually(lambda: handle.logs(100).splitlines()[-1].endswith("last"))
                assert done(handle).count(f"did {point}") == times
        await handle.stop()


async def test_many_at_once_do_not_get_in_each_others_way(worker: ServiceHandle) -> None:
    """Two plans for one process: the first to be reached happens, the other one stays for the next process."""
    early, late = await worker.crash_at("before-handler", nth=2), await worker.crash_at("before-handler", nth=4)
    assert (await outcomes(worker, 2))[0] == 0
    await early.wait()
    assert not late.fired
    await early.undo()
    assert [type(one) for one in await outcomes(worker, 4)][:3] == [int, int, int]
    await late.wait()
    await late.undo()
    assert await outcomes(worker, 5) == [0, 1, 2, 3, 4]
