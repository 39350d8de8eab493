"""At least once where each replica fetches for itself: Redis Streams and JetStream. Crashes, silence, stopping."""

from __future__ import annotations

import asyncio
import collections
import signal
from pathlib import Path
from typing import Any

import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import Context, Retry, Service, UsageError, dead_letters, event_pattern

pytestmark = pytest.mark.parametrize("kind", ["redis", "nats"])
AT_LEAST_ONCE: dict[str, Any] = {"delivery": "at-least-once"}
POINTS = ("received", "before-handler", "after-handler", "acked", "retried", "dead-lettered")
PREFETCH = 8

MORTAL = """
import os, signal
from pathlib import Path
from postoffice import PermanentError, Retry, event_pattern, points

left = COUNT

def watch(point, delivery):
    global left
    left -= point == "POINT"
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

points.watchers.append(watch)

@event_pattern("PATTERN", retry=Retry(attempts=30, initial=0.05, max=0.1, jitter=0))
async def job(data, ctx):
    if data % 25 == 24:
        raise PermanentError("poison")
    if data % 10 == 3 and ctx.attempt == 1:
        raise ValueError("not the first time")
    with open("FILE", "a") as file:
        file.write(f"{data}\\n")
"""


async def test_a_service_that_dies_at_every_point_loses_nothing(place: Place, tmp_path: Path) -> None:
    """200 numbered messages, one life after the other, killed at each point in turn; the last life ends the work."""
    file = tmp_path / "handled"
    options = ("--delivery", "at-least-once", "--prefetch", str(PREFETCH), "--ack-wait", "0.5")
    client = await place.connect(**AT_LEAST_ONCE)

    async def live(point: str, count: int) -> Any:
        text = MORTAL.replace("POINT", point).replace("COUNT", str(count))
        return await place.run(text.replace("PATTERN", place.job).replace("FILE", str(file)), tmp_path, *options)

    emitting = asyncio.gather(*(client.emit(place.job, number, message_id=str(number)) for number in range(200)))
    for point in POINTS:
        life = await live(point, 3)
        assert await life.ended() == -signal.SIGKILL, point
    await emitting
    await live("never", 1)
    poison = {number for number in range(200) if number % 25 == 24}
    await eventually(lambda: set(_numbers(file)) == set(range(200)) - poison, "every message handled")
    async with dead_letters(place.url, f"{place.name}.dead") as office, asyncio.timeout(LIMIT):
        letters = await office.list()
        while {int(one.id) for one in letters} != poison:
            await asyncio.sleep(0.02)
            letters = await office.list()
    handled = collections.Counter(_numbers(file))
    assert sum(handled.values()) - len(handled) <= len(POINTS) * PREFETCH, "no more twice than were under way"
    assert {one.kind for one in letters} == {"permanent"}
    assert len(letters) == len(poison), "the copy and the acknowledgement are one step, or known to be the same"


def _numbers(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


class Worker:
    """Notes what it gets; waits where it is told to; fails where it is told to."""

    def __init__(self, pattern: str, retry: Retry | None = None) -> None:
        self.got: list[tuple[Any, int]] = []
        self.ids: list[str | None] = []
        self.fails: set[Any] = set()
        self.done: list[Any] = []
        self.go = asyncio.Event()
        self.go.set()

        @event_pattern(pattern, retry=retry)
        async def job(data: Any, ctx: Context) -> None:
            self.got.append((data, ctx.attempt))
            self.ids.append(ctx.message_id)
            await self.go.wait()
            if data in self.fails:
                raise ValueError(data)
            self.done.append(data)

        self.job = job


async def test_what_comes_again_comes_to_its_own_service_only(place: Place) -> None:
    """Two services of one pattern: each gets the event once; a retry, and a requeue, only the one that failed."""
    retry = Retry(attempts=2, initial=0.05, jitter=0)
    one, two = Worker(place.job, retry), Worker(place.job, retry)
    one.fails.add("bad")
    await place.serve(one.job, name=f"{place.name}.one", **AT_LEAST_ONCE)
    await place.serve(two.job, name=f"{place.name}.two", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "bad")
    async with dead_letters(place.url, f"{place.name}.one.dead") as office, asyncio.timeout(LIMIT):
        while not await office.list():  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.02)
        one.fails.clear()
        await office.requeue_all()
    await client.emit(place.job, "last")
    await eventually(lambda: len(one.done) == len(two.done) == 2, f"{one.got}, {two.got}")
    assert sorted(one.got) == [("bad", 1), ("bad", 1), ("bad", 2), ("last", 1)]
    assert two.got == [("bad", 1), ("last", 1)]
    async with dead_letters(place.url, f"{place.name}.two.dead") as office:
        assert await office.list() == []


async def test_a_handler_may_take_longer_than_ack_wait(place: Place) -> None:
    """Its replica says that it lives, so nobody else gets the message, and it is not delivered again."""
    one, two = Worker(place.job), Worker(place.job)
    one.go.clear()
    two.go.clear()
    for worker in (one, two):
        await place.serve(worker.job, ack_wait=0.3, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(6):
        await client.emit(place.job, number)
    await eventually(lambda: len(one.got + two.got) == 6)
    await asyncio.sleep(1.2)  # four times as long as silence is allowed
    one.go.set()
    two.go.set()
    await eventually(lambda: len(one.done + two.done) == 6)
    assert sorted(one.got + two.got) == [(number, 1) for number in range(6)]


async def test_a_paused_replica_loses_its_messages_to_another(place: Place, tmp_path: Path) -> None:
    """They are handled elsewhere meanwhile; when it goes on it does no harm, and gets new ones."""
    text = (
        "import asyncio\nfrom postoffice import event_pattern\n"
        f"@event_pattern({place.job!r})\nasync def job(data, ctx):\n"
        "    print('JOB', data, ctx.attempt, flush=True)\n"
        "    await asyncio.sleep(3600 if ctx.attempt == 1 and data == 'slow' else 0)\n"
        "    print('DONE', data, flush=True)\n"
    )
    options = ("--delivery", "at-least-once", "--ack-wait", "0.5")
    first = await place.run(text, tmp_path, *options)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "slow")
    await eventually(lambda: "JOB slow 1" in first.log)
    first.signal(signal.SIGSTOP)
    second = await place.run(text, tmp_path, *options)
    await eventually(lambda: "JOB slow 2\nDONE slow" in second.log, "it was taken over")
    second.signal(signal.SIGKILL)
    await second.ended()
    first.signal(signal.SIGCONT)
    await client.emit(place.job, "new")
    await eventually(lambda: "DONE new" in first.log, "the first one works again")
    assert "JOB slow 2" not in first.log


async def test_a_service_that_stops_leaves_its_messages_at_once(place: Place) -> None:
    """Those that it did not finish, and those that it had not begun, go to another replica long before ack_wait."""
    one, two = Worker(place.job), Worker(place.job)
    one.go.clear()
    service = await place.serve(one.job, ack_wait=600, prefetch=2, grace=0.1, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(6):
        await client.emit(place.job, number)
    await eventually(lambda: len(one.got) == 2)
    await service.stop()
    await place.serve(two.job, ack_wait=600, **AT_LEAST_ONCE)
    await eventually(lambda: sorted(two.done) == list(range(6)), f"all six in {two.done}")
    assert one.done == []
    await service.start()
    one.go.set()
    await client.emit(place.job, "again")
    await eventually(lambda: "again" in one.done + two.done)


async def test_what_is_done_while_the_broker_is_away_is_acknowledged_later(place: Place) -> None:
    """On the next connection: no message comes again, as long as the broker is back within ack_wait."""
    assert place.broker
    worker = Worker(place.job)
    worker.go.clear()
    await place.serve(worker.job, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for number in range(3):
        await client.emit(place.job, number)
    await eventually(lambda: len(worker.got) == 3)
    await place.broker.terminate()
    worker.go.set()
    await eventually(lambda: len(worker.done) == 3)
    await place.broker.restart()
    await client.emit(place.job, "last")
    await eventually(lambda: "last" in worker.done)
    assert set(worker.got) == {(0, 1), (1, 1), (2, 1), ("last", 1)}
    assert len(worker.got) == 4


async def test_a_paused_broker_loses_nothing(place: Place) -> None:
    """Nothing moves while it is paused; then everything does."""
    assert place.broker
    worker = Worker(place.job)
    await place.serve(worker.job, ack_wait=0.6, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    place.broker.pause()
    emits = [asyncio.create_task(client.emit(place.job, number)) for number in range(20)]
    await asyncio.sleep(1.0)
    assert not any(one.done() for one in emits)
    await place.broker.resume()
    await asyncio.gather(*emits)
    await eventually(lambda: set(worker.done) == set(range(20)))


async def test_what_a_nestjs_client_emits_is_kept_from_its_first_failure_on(place: Place) -> None:
    """At most once until then: core NATS and pub/sub bring it. Its identity stays what its sender gave it."""
    worker = Worker(place.job, Retry(attempts=2, initial=0.05, jitter=0))
    worker.fails.add("bad")
    await place.serve(worker.job, **AT_LEAST_ONCE)
    client = await place.connect()
    await client.emit(place.job, "good", message_id="g")
    await client.emit(place.job, "bad", message_id="b")
    async with dead_letters(place.url, f"{place.name}.dead") as office, asyncio.timeout(LIMIT):
        while not (letters := await office.list()):  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.02)
        assert [(one.id, one.data, one.attempts, one.kind) for one in letters] == [("b", "bad", 2, "exhausted")]
        worker.fails.clear()
        await office.requeue("b")
    await eventually(lambda: len(worker.done) == 2)
    assert worker.got == [("good", 1), ("bad", 1), ("bad", 2), ("bad", 1)]
    assert worker.ids == ["g", "b", "b", "b"]


async def test_many_patterns_share_one_prefetch(place: Place) -> None:
    """However many patterns, no more handlers than prefetch run at once; and more patterns than that all get theirs."""
    running = most = done = 0
    patterns = [f"{place.job}.{number}" for number in range(5)]

    async def job() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.003)
        running -= 1
        done += 1

    for pattern in patterns:
        event_pattern(pattern)(job)
    await place.serve(job, prefetch=3, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await asyncio.gather(*(client.emit(pattern) for pattern in patterns * 20))
    await eventually(lambda: done == 100, "100 jobs")
    assert most == 3


async def test_a_first_service_gets_what_waits_and_a_second_what_comes(place: Place) -> None:
    """Emitted before any service was ever started: stored, and handled when one comes."""
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "early")
    one, two = Worker(place.job), Worker(place.job)
    await place.serve(one.job, name=f"{place.name}.one", **AT_LEAST_ONCE)
    await eventually(lambda: one.done == ["early"])
    await place.serve(two.job, name=f"{place.name}.two", **AT_LEAST_ONCE)
    await client.emit(place.job, "late")
    await eventually(lambda: one.done == ["early", "late"] and two.done == ["late"], f"{one.done}, {two.done}")


async def test_two_services_that_share_their_dead_letters(place: Place) -> None:
    """One event fails in both: two letters of one identity, and each service gets its own back."""
    one, two = Worker(place.job), Worker(place.job)
    for name, worker in {"one": one, "two": two}.items():
        worker.fails.add("bad")
        await place.serve(shared_graves(place, worker), name=f"{place.name}.{name}", **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, "bad", message_id="same")
    async with dead_letters(place.url, f"{place.name}.graves") as office, asyncio.timeout(LIMIT):
        while len(await office.list()) < 2:  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.02)
        one.fails.clear()
        two.fails.clear()
        await office.requeue("same")
        assert await office.list() == []
    await eventually(lambda: one.done == two.done == ["bad"], f"{one.done}, {two.done}")


def shared_graves(place: Place, worker: Worker) -> Any:
    @event_pattern(place.job, dead_letter=f"{place.name}.graves")
    async def job(data: Any, ctx: Context) -> None:
        await worker.job(data, ctx)

    return job


async def test_a_service_without_a_name_is_refused(place: Place) -> None:
    """Two of them would be replicas of one."""
    with pytest.raises(UsageError, match="it needs one of its own"):
        Service(Worker(place.job).job, url=place.url, **AT_LEAST_ONCE)
