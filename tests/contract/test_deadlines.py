"""Deadlines that travel: on every transport, through services that call services, and out of a queue."""

import asyncio
import time
from typing import Any

import pytest
from contract_help import LIMIT, Place

from postoffice import Client, Context, RequestTimeout, RpcError, UsageError, event_pattern, message_pattern
from postoffice.deadlines import DeadlinePassed, current, left, within

seen: list[Any] = []


@message_pattern("remaining")
async def remaining(data: Any, ctx: Context) -> Any:
    return [ctx.remaining, sorted(name for name in ctx.headers if name.endswith("-ms"))]


@message_pattern("note")
async def note(data: Any) -> Any:
    seen.append(data)
    return data


async def test_a_handler_knows_how_long_its_caller_waits(place: Place) -> None:
    """Inside a deadline the shorter of it and the timeout; outside nothing travels, and the wire is as it was."""
    await place.serve(remaining)
    client = await place.connect()
    assert await client.send("remaining") == [None, []]
    with within(10):
        longest, names = await client.send("remaining")
        assert 5 < longest <= 10
        assert names == ["sent-ms", "timeout-ms"]
        assert (await client.send("remaining", timeout=4))[0] <= 4
        with within(60):
            assert (await client.send("remaining"))[0] <= 10, "an inner one does not give more"
        with within(3):
            assert (await client.send("remaining"))[0] <= 3
    assert await client.send("remaining", timeout=5) == [None, []]


async def test_what_a_handler_calls_has_what_is_left(place: Place) -> None:
    """A hundred at once, each with its own; the inner timeouts of 60 s give way."""
    inner: list[Client] = []

    @message_pattern("outer")
    async def outer(data: Any, ctx: Context) -> Any:
        await asyncio.sleep(0.05)
        before = ctx.remaining
        return [before, (await inner[0].send("remaining", timeout=60))[0]]

    await place.serve(outer, remaining)
    inner.append(await place.connect())
    client = await place.connect()

    async def call(limit: float) -> None:
        with within(limit):
            before, after = await client.send("outer")
        assert 0 < after <= before <= limit - 0.05

    await asyncio.gather(*(call(5 + n / 10) for n in range(100)))
    assert (await client.send("outer"))[0] is None


async def test_a_request_that_comes_too_late_is_not_run(place: Place) -> None:
    """Its caller is told both numbers; what is no number is no deadline."""
    seen.clear()
    await place.serve(note)
    client = await place.connect()
    late = {"timeout-ms": "200", "sent-ms": str(int(time.time() * 1000) - 5000)}
    with pytest.raises(RpcError, match=r"waits for 0\.2 s, and the request came 5\.\d+ s after .* did not run"):
        await client.send("note", 1, headers=late)
    for strange in ({"timeout-ms": "soon"}, {"timeout-ms": "1e9"}, {"timeout-ms": "9" * 400}):
        assert await client.send("note", 2, headers=strange) == 2
    assert seen == [2, 2, 2]


async def test_nothing_is_sent_after_the_deadline(place: Place) -> None:
    """Nor does a request wait longer."""
    seen.clear()
    await place.serve(note)
    client = await place.connect()
    with within(0), pytest.raises(DeadlinePassed, match="was not sent. Nothing was done"):  # noqa: RUF043 - plain
        await client.send("note", 1)
    assert seen == []

    @message_pattern("never")
    async def never() -> None:
        await asyncio.sleep(60)

    other = Place(place.kind, place.broker, place.name + "x")
    await other.serve(never, grace=0.1)
    began = time.monotonic()
    with within(0.2), pytest.raises(RequestTimeout):
        await (await other.connect()).send("never", timeout=60)
    assert time.monotonic() - began < LIMIT
    await other.close()


async def test_an_event_has_no_deadline(place: Place) -> None:
    """Nobody waits for it, even where its sender forwards what it was sent."""
    found: asyncio.Queue[Any] = asyncio.Queue()

    @event_pattern(place.job)
    async def job(data: Any, ctx: Context) -> None:
        found.put_nowait((ctx.deadline, current()))

    with within(LIMIT):  # what stands where a service is started is no matter to its messages
        await place.serve(job)
        client = await place.connect()
        await client.emit(place.job, 1, headers={"timeout-ms": "1", "sent-ms": "1"})
    async with asyncio.timeout(LIMIT):
        assert await found.get() == (None, None)


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_what_waited_in_a_queue_for_too_long_is_not_run(place: Place) -> None:
    """The service was away; its queue kept the request; its caller gave up."""
    seen.clear()
    service = await place.serve(note)
    client = await place.connect()
    assert await client.send("note", "before") == "before"
    await service.stop()
    with within(0.3), pytest.raises(RequestTimeout):
        await client.send("note", "too late")
    await place.serve(note)
    assert await client.send("note", "after") == "after"
    assert seen == ["before", "after"]


async def test_the_block_itself() -> None:
    """Left and current inside, nothing outside; a number that is none."""
    assert left() is None
    with within(5):
        assert 4 < (left() or 0) <= 5
    assert current() is None
    with pytest.raises(UsageError, match="0 or more; got -1"), within(-1):
        pass
