"""A link before a service that has an address of its own: TCP and gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from classroom import measure
from classroom.faults import Link, start_link
from postoffice import Client, ConnectionLost, PostOfficeError, RequestTimeout, Service, grpc_method, message_pattern

LIMIT = 20.0  # seconds that any wait of these tests may take
PROTO = """
syntax = "proto3";
package shop;
service Shop { rpc Double (Number) returns (Number); }
message Number { int32 value = 1; }
"""
Call = Callable[[int, float], Awaitable[int]]


@message_pattern("double")
async def over_tcp(value: int) -> int:
    return 2 * value


@grpc_method("Shop", "Double")
async def over_grpc(data):
    return {"value": 2 * data["value"]}


@pytest.fixture(params=["tcp", "grpc"])
async def linked(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Link, Call]]:
    """A link to a service, and a call through it: a number and a limit in seconds, answered with its double."""
    proto = tmp_path / "shop.proto"
    proto.write_text(PROTO)
    options = {"proto": proto} if request.param == "grpc" else {}
    handler = over_grpc if options else over_tcp
    async with contextlib.AsyncExitStack() as opened:
        service = await opened.enter_async_context(Service(handler, url=f"{request.param}://127.0.0.1:0", **options))
        link = await start_link(service.url)
        opened.push_async_callback(link.stop)
        client = await opened.enter_async_context(await Client.connect(link.url, **options))

        async def call(value: int, limit: float) -> int:
            if not options:
                return await client.send("double", value, timeout=limit)
            return (await client.service("Shop").Double({"value": value}, timeout=limit))["value"]

        yield link, call


async def works(call: Call) -> None:
    """Wait until the same client is answered again."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                assert await call(21, 1) == 42
                return
            except PostOfficeError:
                await asyncio.sleep(0.02)


async def test_cut_and_heal(linked: tuple[Link, Call]) -> None:
    """The caller's limit tells; healed, the same client goes on."""
    link, call = linked
    assert await call(1, LIMIT) == 2
    async with link.cut():
        with pytest.raises(RequestTimeout):
            await call(2, 0.3)
    await works(call)


async def test_a_reset_in_mid_request(linked: tuple[Link, Call]) -> None:
    """The caller learns at once that the answer is lost; the next call opens a new connection."""
    link, call = linked
    assert await call(1, LIMIT) == 2
    async with link.latency(5, direction="downstream"):
        lost = asyncio.create_task(call(2, LIMIT))
        await asyncio.sleep(0.1)
        async with link.reset_peer():
            with pytest.raises(ConnectionLost):
                async with asyncio.timeout(3):
                    await lost
    await works(call)


async def test_a_measurement_says_that_a_link_is_in_the_path() -> None:
    """And nothing of it where none is."""
    async with Service(over_tcp, url="tcp://127.0.0.1:0") as service:
        link = await start_link(service.url)
        through = await measure.send(link.url, "double", 1, n=20)
        direct = await measure.send(service.url, "double", 1, n=20)
        await link.stop()
        after = await measure.send(service.url, "double", 1, n=20)
    assert "over tcp through a link, 1 at a time" in repr(through)
    assert "link" not in repr(direct) + repr(after)


async def test_a_slow_and_sliced_link(linked: tuple[Link, Call]) -> None:
    """It takes its time, and the answer is right."""
    link, call = linked
    await call(1, LIMIT)
    loop = asyncio.get_running_loop()
    async with link.latency(0.1), link.slicer(3):
        begin = loop.time()
        assert await call(4, LIMIT) == 8
        assert loop.time() - begin >= 0.2
