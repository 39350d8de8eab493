"""Hostile callers of the TCP port: the others are served all the time."""

import asyncio
import contextlib
import logging
import random
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from postoffice import Client, Service, event_pattern, message_pattern
from postoffice.transports import peer, tcp
from postoffice.transports.framing import frame

LIMIT = 20.0


@message_pattern("echo")
async def echo(data):
    return data


@message_pattern("endless")
async def endless():
    while True:
        yield "x" * 10_000


@message_pattern("large")
async def large(data):
    return "x" * data


@contextlib.asynccontextmanager
async def serving(*handlers: Any, **options: Any) -> AsyncIterator[tuple[Service, Client]]:
    """A service and a client that is well-behaved."""
    async with (
        Service(*handlers, url="tcp://127.0.0.1:0", **{"grace": 0.2, **options}) as service,
        await Client.connect(service.url, timeout=LIMIT) as client,
    ):
        yield service, client


async def opened(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = service.url.removeprefix("tcp://").split(":")
    return await asyncio.open_connection(host, int(port))


def memory() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def eventually(look: Any, what: str = "the condition") -> None:
    end = asyncio.get_running_loop().time() + LIMIT
    while not look():
        assert asyncio.get_running_loop().time() < end, f"{what} was not seen within {LIMIT:g} s"
        await asyncio.sleep(0.005)


async def test_megabytes_of_noise() -> None:
    """Each connection is closed; a client beside them is served all the time."""
    noise = random.Random(1).randbytes(2_000_000)
    async with serving(echo) as (service, client):
        for _ in range(20):
            reader, writer = await opened(service)
            with contextlib.suppress(ConnectionError):
                writer.write(noise)
                async with asyncio.timeout(LIMIT):
                    await reader.read()
            writer.close()
            assert await client.send("echo", "well") == "well"


@pytest.mark.parametrize(
    "packet",
    [
        b'{"pattern":"echo","data":' + b"[" * 200_000 + b"]" * 200_000 + b',"id":1}',
        b'{"pattern":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b',"data":1,"id":1}',
        b'{"pattern":"echo","data":NaN,"id":1}',
        b'{"pattern":"echo","data":' + b"9" * 100_000 + b',"id":1}',
        b'{"pattern":"echo","data":"\\ud800","id":1}',
        b'{"pattern":"echo","data":"\xff","id":1}',
        b'{"pattern":"echo","data":1,"id":"' + b"i" * 1_000_000 + b'"}',
        b'{"pattern":"' + b"p" * 1_000_000 + b'","data":1,"id":1}',
        b'{"id":1,"id":2,"pattern":"x","pattern":"echo","data":1,"data":2}',
    ],
    ids=range(9),
)
async def test_a_packet_that_is_meant_to_hurt(packet: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered, or its connection is closed; nothing else happens."""
    async with serving(echo) as (service, client):
        reader, writer = await opened(service)
        writer.write(frame(packet))
        async with asyncio.timeout(LIMIT):
            assert await reader.read(10) is not None
        writer.close()
        assert await client.send("echo", "well") == "well"
    assert "Fatal error" not in caplog.text
    assert "never retrieved" not in caplog.text


async def test_one_id_for_many_requests() -> None:
    """Every request is answered with the id it came with, as often as it came."""
    async with serving(echo) as (service, _):
        reader, writer = await opened(service)
        writer.write(frame(b'{"pattern":"echo","data":5,"id":"same"}') * 100)
        answer = frame(b'{"response":5,"isDisposed":true,"id":"same"}')
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(len(answer) * 100) == answer * 100
        writer.close()


async def test_patterns_without_end_are_not_all_remembered(caplog: pytest.LogCaptureFixture) -> None:
    """5,000 unknown patterns of 20,000 characters each would be 100 MB."""
    caplog.set_level(logging.CRITICAL, "postoffice")
    async with serving(echo) as (service, client):
        before = memory()
        _, writer = await opened(service)
        for number in range(5_000):
            writer.write(frame(b'{"pattern":"%d%b","data":1}' % (number, b"x" * 20_000)))
            if number % 100 == 0:
                await writer.drain()
        assert await client.send("echo", 1) == 1
        await eventually(lambda: memory() - before < 40_000_000, "little memory")
        writer.close()


async def test_silence_in_the_middle_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed after the limit; one between two frames may be silent for as long as it likes."""
    monkeypatch.setattr(peer, "INCOMPLETE_TIMEOUT", 0.1)
    async with serving(echo) as (service, client):
        reader, writer = await opened(service)
        writer.write(b"100#{")
        async with asyncio.timeout(LIMIT):
            assert await reader.read() == b""
        writer.close()
        assert await client.send("echo", 1) == 1


async def test_a_silence_that_we_asked_for_closes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stopped reading because it has too much to do must not blame its callers."""
    monkeypatch.setattr(peer, "INCOMPLETE_TIMEOUT", 0.05)
    async with serving(echo) as (service, _):
        reader, writer = await opened(service)
        packet = frame(b'{"pattern":"echo","data":1,"id":1}')
        writer.write(packet[:10])
        await eventually(lambda: any(one._frames.incomplete for one in service._transport._callers))
        service._transport.pause()
        writer.write(packet[10:])
        await asyncio.sleep(0.2)
        service._transport.resume()
        async with asyncio.timeout(LIMIT):
            assert (await reader.readuntil(b"}")).endswith(b'"id":1}')
        writer.close()


async def test_a_caller_that_never_reads_its_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests are read no further, its stream waits, memory stays bounded, and stop() does not wait for it."""
    monkeypatch.setattr(tcp, "CLOSE_TIMEOUT", 0.2)
    async with serving(echo, endless, large) as (service, client):
        before = memory()
        _, writer = await opened(service)
        writer.write(frame(b'{"pattern":"endless","data":1,"id":1}'))
        for number in range(30_000):  # 600 MB of replies; one read takes in some 5,000 requests
            writer.write(frame(b'{"pattern":"large","data":20000,"id":%d}' % number))
        for _ in range(100):
            assert await client.send("echo", 1) == 1
        assert memory() - before < 250_000_000
    writer.transport.abort()


async def test_large_requests_and_large_answers_at_once_do_not_wait_for_each_other() -> None:
    """100 MB in both directions over one connection: whoever waits to write still reads."""
    async with serving(echo) as (_, client):
        async with asyncio.timeout(LIMIT):
            answers = await asyncio.gather(*(client.send("echo", f"{n}" + "x" * 1_000_000) for n in range(100)))
        assert [answer[:4].rstrip("x") for answer in answers] == [str(n) for n in range(100)]


async def test_a_thousand_connections() -> None:
    """Opened, used and closed: none is left in the service."""
    async with serving(echo) as (service, client):
        opened_here = []
        for _ in range(1_000):
            opened_here.append(await opened(service))
        await eventually(lambda: len(service._transport._callers) == 1_001)
        for _, writer in opened_here[::2]:
            writer.write(frame(b'{"pattern":"echo","data":1,"id":1}'))
        assert await client.send("echo", 1) == 1
        for _, writer in opened_here:
            writer.transport.abort()
        await eventually(lambda: len(service._transport._callers) == 1)


async def test_events_that_come_faster_than_they_are_handled() -> None:
    """The service stops reading at a bound, and reads on later: nothing is lost, nothing piles up."""
    from postoffice import dispatch

    most = done = 0
    gate = asyncio.Event()

    @event_pattern("work")
    async def work():
        nonlocal done, most
        most += 1
        await gate.wait()
        done += 1

    async with serving(work, echo, grace=LIMIT) as (_, client):
        for number in range(20_000):
            await client.emit("work", number)
            if number == 10_000:
                assert most < dispatch.MAX_RUNNING + 5_000
                gate.set()
        await eventually(lambda: done == 20_000, "all events")
        assert await client.send("echo", 1) == 1
