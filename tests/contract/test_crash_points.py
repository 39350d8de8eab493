"""A service that is killed -9 at a named point of its work: nothing is lost, and repeated is only what was in flight.

The same 200 events go to several services, each of which dies at another point, so that the waiting is done once.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest
from contract_help import LIMIT, Place, Process, eventually

from postoffice import Context, Retry, dead_letters, event_pattern

KINDS = ("kafka", "mqtt")
POINTS = ("received", "before-handler", "after-handler", "acked", "retried", "dead-lettered")
EVENTS = 200
PREFETCH = 8
IN_FLIGHT = {"kafka": PREFETCH, "mqtt": 2 * PREFETCH}  # on MQTT so many events, and as many copies of failed ones

SERVICE = """
import os, signal, sys
from pathlib import Path
from postoffice import Context, PermanentError, Retry, event_pattern, points

name = sys.argv[-1]
point = name.rpartition(".")[2]
died = Path(__file__).with_name(name + ".died")
passed = 0

def watch(reached, delivery):
    global passed
    if reached == point and not died.exists():
        passed += 1
        if passed == (5 if point in ("retried", "dead-lettered") else 50):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

points.watchers.append(watch)

@event_pattern("PATTERN", retry=Retry(attempts=3, initial=0.05, jitter=0))
async def job(data: int | str, ctx: Context):
    if int(data) % 10 == 7:
        raise PermanentError("poison")
    if int(data) % 10 == 3 and ctx.attempt == 1:
        raise ValueError("not yet")
    print("DONE", data, flush=True)
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_point_loses_nothing(place: Place, tmp_path: Path) -> None:
    """Handled: all but the poison, each at least once, at most so many more than once as were in flight. The poison is
    in the dead letters."""
    source = SERVICE.replace("PATTERN", place.job)
    names = [f"{place.name}.{point}" for point in POINTS]
    options = ["--delivery", "at-least-once", "--prefetch", str(PREFETCH), "--name"]

    async def start(name: str) -> Process:
        return await place.run(source, tmp_path, *options, name)

    first = await asyncio.gather(*map(start, names))
    client = await place.connect(delivery="at-least-once")
    for number in range(EVENTS):
        await client.emit(place.job, number, message_id=str(number))
    for one in first:
        assert await one.ended() == -signal.SIGKILL
    second = await asyncio.gather(*map(start, names))
    poison = {*range(7, EVENTS, 10)}
    good = {*range(EVENTS)} - poison
    for point, name, *lives in zip(POINTS, names, first, second, strict=True):

        def done(lives: list[Process] = lives) -> Counter[int]:
            lines = "".join(one.log for one in lives).splitlines()
            return Counter(int(line.split()[1]) for line in lines if line.startswith("DONE "))

        await eventually(lambda done=done: done().keys() >= good, f"all events, after a crash at {point}", 2 * LIMIT)
        assert done().keys() == good
        again = done().total() - len(good)
        assert again <= IN_FLIGHT[place.kind], f"{again} done again after a crash at {point}"
        async with dead_letters(place.url, f"{name}.dead") as office:
            async with asyncio.timeout(LIMIT):
                while {int(one.data) for one in await office.list()} != poison:  # noqa: ASYNC110 - the broker tells nobody
                    await asyncio.sleep(0.02)
            assert len(await office.list()) <= len(poison) + IN_FLIGHT[place.kind]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_stop_interrupts_comes_again(place: Place) -> None:
    """A handler that does not finish in time is cancelled; its event, and one at its second attempt, come again."""
    seen: list[tuple[str, int]] = []
    go = asyncio.Event()

    @event_pattern(place.job, retry=Retry(attempts=4, initial=0.05, jitter=0))
    async def job(data: str, ctx: Context) -> None:
        seen.append((data, ctx.attempt))
        if data == "again" and ctx.attempt == 1 and not go.is_set():
            raise ValueError("not yet")
        if data != "quick":
            await go.wait()

    service = await place.serve(job, delivery="at-least-once", grace=0.1)
    client = await place.connect(delivery="at-least-once")
    for data in ("slow", "again", "quick"):
        await client.emit(place.job, data)
    await eventually(lambda: {("slow", 1), ("again", 2), ("quick", 1)} <= {*seen})
    await service.stop()
    seen.clear()
    go.set()
    await service.start()
    await client.emit(place.job, "end")
    # "again" lies behind "slow", so its first attempt was not acknowledged either
    await eventually(lambda: (data := Counter(one for one, _ in seen))["again"] == 2 and data.keys() >= {"slow", "end"})
    assert ("again", 2) in seen
    await service.stop()
    seen.clear()
    await service.start()
    await client.emit(place.job, "next")
    await eventually(lambda: ("next", 1) in seen)
    assert seen == [("next", 1)], "all the others were acknowledged"
