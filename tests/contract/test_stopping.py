"""A service that stops: what is under way is finished, and nothing waits for ever."""

import asyncio
import signal
from pathlib import Path

import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import (
    ConnectError,
    ConnectionLost,
    NoHandlerError,
    PostOfficeError,
    RequestTimeout,
    RpcError,
    event_pattern,
    message_pattern,
)

MODULE = """
import asyncio
from postoffice import message_pattern, event_pattern

@message_pattern("slow")
async def slow(data):
    print("begun", flush=True)
    await asyncio.sleep(data["seconds"])
    return "x" * data["size"]

@event_pattern("noted")
async def noted(data):
    print("noting", flush=True)
    await asyncio.sleep(data)
    print("noted", flush=True)
"""


class Slow:
    """Handlers that wait until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.done = 0

    @message_pattern("slow")
    async def slow(self, data):
        self.begun += 1
        await self.go.wait()
        self.done += 1
        return data

    @event_pattern("event")
    async def event(self):
        self.begun += 1
        await self.go.wait()
        self.done += 1

    @message_pattern("stubborn")
    async def stubborn(self):
        self.begun += 1
        while True:
            try:
                await self.go.wait()
                return "at last"
            except asyncio.CancelledError:
                pass


async def test_what_is_under_way_is_finished_and_answered(place: Place) -> None:
    """Requests get their answers and events run to their end before stop() returns."""
    slow = Slow()
    service = await place.serve(slow, grace=LIMIT)
    client = await place.connect()
    calls = [asyncio.create_task(client.send("slow", number)) for number in range(10)]
    await client.emit("event")
    await eventually(lambda: slow.begun == 11)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    slow.go.set()
    assert await asyncio.gather(*calls) == list(range(10))
    await stopping
    assert slow.done == 11


async def test_a_stopped_service_is_gone(place: Place) -> None:
    """A caller learns it at once or by its limit; on RabbitMQ the queue keeps the request."""
    service = await place.serve(Slow())
    client = await place.connect()
    await service.stop()
    with pytest.raises(PostOfficeError) as caught:
        await client.send("slow", 1, timeout=0.3)
    expected = {
        "tcp": (ConnectError, ConnectionLost),  # the latter when the request is faster than the news
        "redis": NoHandlerError,
        "nats": NoHandlerError,
        "rabbitmq": RequestTimeout,
        "mqtt": RequestTimeout,
    }
    assert isinstance(caught.value, expected[place.kind])
    await service.stop()


async def test_a_handler_that_outlasts_the_grace_is_cancelled(place: Place) -> None:
    """Its caller is told, and stop() returns even if the handler will not end."""
    slow = Slow()
    service = await place.serve(slow, grace=0.1)
    client = await place.connect()
    call = asyncio.create_task(client.send("slow", 1))
    stubborn = asyncio.create_task(client.send("stubborn", timeout=0.5))
    await eventually(lambda: slow.begun == 2)
    async with asyncio.timeout(LIMIT):
        await service.stop()
    with pytest.raises(RpcError, match="cancelled before it had finished"):
        await call
    with pytest.raises(PostOfficeError):
        await stubborn
    slow.go.set()


async def test_callers_that_never_pause_do_not_keep_a_service_from_stopping(place: Place) -> None:
    """Ten callers, one request after the other: whoever comes late is refused or gets no answer, and learns it."""
    served = 0

    @message_pattern("work")
    async def work():
        nonlocal served
        served += 1
        await asyncio.sleep(0.02)
        return "done"

    service = await place.serve(work, grace=LIMIT)
    client = await place.connect()
    seen: list[str] = []

    async def caller() -> None:
        while "error" not in seen:
            try:
                assert await client.send("work", timeout=1) == "done"
            except PostOfficeError:
                seen.append("error")

    callers = [asyncio.create_task(caller()) for _ in range(10)]
    await eventually(lambda: served > 30)
    async with asyncio.timeout(LIMIT / 2):
        await service.stop()
    await asyncio.gather(*callers)


async def test_sigterm_lets_a_process_finish(place: Place, tmp_path: Path) -> None:
    """The answer, a long one, arrives whole; the event's handler ends; the exit status is 0."""
    # below the max_payload of NATS, and the 16 MiB that RabbitMQ 4 takes
    size = {"nats": 1_000_000, "rabbitmq": 10_000_000}.get(place.kind, 20_000_000)
    process = await place.run(MODULE, tmp_path)
    client = await place.connect()
    call = asyncio.create_task(client.send("slow", {"seconds": 0.5, "size": size}))
    await client.emit("noted", 0.5)
    await eventually(lambda: "begun" in process.log and "noting" in process.log)
    process.signal(signal.SIGTERM)
    assert await call == "x" * size
    assert await process.ended() == 0
    assert "noted" in process.log
    assert "Traceback" not in process.log


async def test_a_process_that_is_asked_twice_ends_at_once(place: Place, tmp_path: Path) -> None:
    """The second SIGTERM is not waited out."""
    process = await place.run(MODULE, tmp_path, "--grace", "1000")
    client = await place.connect()
    call = asyncio.create_task(client.send("slow", {"seconds": 3600, "size": 1}, timeout=1))
    await eventually(lambda: "begun" in process.log)
    process.signal(signal.SIGTERM)
    await eventually(lambda: "finishes what is under way" in process.log)
    process.signal(signal.SIGTERM)
    assert await process.ended() == -signal.SIGTERM
    with pytest.raises(PostOfficeError):
        await call
