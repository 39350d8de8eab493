"""Streams of replies, and what a caller sees of one that fails."""

import asyncio

import pytest
from contract_help import KAFKA_TOO, LIMIT, Place, eventually

from postoffice import Client, RequestTimeout, RpcError, message_pattern

pytestmark = KAFKA_TOO
closed: list[str] = []


@message_pattern("count")
async def count(data: int):
    try:
        for value in range(data):
            yield value
            await asyncio.sleep(0)
    finally:
        closed.append("count")


@message_pattern("fails")
async def fails(data):
    yield 1
    raise RpcError(data)


@message_pattern("leaks")
async def leaks():
    yield 1
    raise ValueError("secret")


@message_pattern("unwritable")
async def unwritable():
    try:
        yield 1
        yield object()
    finally:
        closed.append("unwritable")


@message_pattern("stalls")
async def stalls():
    yield 1
    await asyncio.sleep(3600)


@pytest.fixture
async def client(place: Place) -> Client:
    closed.clear()
    await place.serve(count, fails, leaks, unwritable, stalls, grace=0.1)
    return await place.connect()


async def collected(
    client: Client, pattern: str, data: object = None, timeout: float = LIMIT
) -> tuple[list[object], Exception | None]:
    """The values of a stream, and the error that ended it."""
    values: list[object] = []
    try:
        async for value in client.stream(pattern, data, timeout=timeout):
            values.append(value)
    except Exception as error:
        return values, error
    return values, None


@pytest.mark.parametrize("length", [0, 1, 3, 500])
async def test_a_stream_arrives_value_by_value(client: Client, place: Place, length: int) -> None:
    """None, one, several, many: in order, and then it ends."""
    assert await collected(client, "count", length) == ([*map(place.arrives, range(length))], None)


async def test_send_takes_the_last_value_of_a_stream(client: Client, place: Place) -> None:
    """And None of an empty one."""
    assert await client.send("count", 3) == place.arrives(2)
    assert await client.send("count", 0) is None


async def test_a_stream_that_fails_half_way(client: Client, place: Place) -> None:
    """The values before the error arrive; then comes the error, which says no more than any other."""
    values, error = await collected(client, "fails", {"code": 7})
    assert isinstance(error, RpcError)
    assert (values, error.error) == ([place.arrives(1)], {"code": 7})
    for pattern in ("leaks", "unwritable"):
        values, error = await collected(client, pattern)
        assert (values, str(error)) == ([place.arrives(1)], "Internal server error")
    await eventually(lambda: "unwritable" in closed, "the end of the generator")


async def test_streams_run_side_by_side(client: Client, place: Place) -> None:
    """Their values do not mix."""
    results = await asyncio.gather(*(collected(client, "count", n) for n in range(20)))
    assert results == [([*map(place.arrives, range(n))], None) for n in range(20)]


async def test_the_limit_of_a_stream_holds_for_all_of_it(client: Client, place: Place) -> None:
    """A stream that stalls ends by RequestTimeout."""
    values, error = await collected(client, "stalls", timeout=0.5)
    assert values == [place.arrives(1)]
    assert isinstance(error, RequestTimeout)
    assert "no answer to 'stalls' within 0.5 s" in str(error)


async def test_a_caller_that_stops_listening_disturbs_nobody(client: Client, place: Place) -> None:
    """What still comes is dropped, and the next call is unaffected."""
    async for value in client.stream("count", 500):
        if value == place.arrives(3):
            break
    assert await client.send("count", 3) == place.arrives(2)
