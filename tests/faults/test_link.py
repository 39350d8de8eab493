"""The link by itself: each fault by what it does to bytes and connections, and that it undoes itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from contract_help import eventually
from link_help import LIMIT, Line, Wire, wired

from classroom.brokers.ports import HOST
from classroom.faults import Link, LinkError, start_link


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with wired() as wire:
        yield wire


async def test_latency_each_way(wire: Wire) -> None:
    """A round trip with latency both ways takes twice that of one way; undone, it is quick again."""
    line = await wire.line()
    plain = await line.quickest()
    async with wire.link.latency(0.04, direction="upstream"):
        one_way = await line.quickest(2)
    async with wire.link.latency(0.04):
        both = await line.quickest(2)
    assert one_way >= 0.04
    assert both >= 0.08
    assert await line.quickest() < one_way / 2
    assert plain < one_way / 2


async def test_latency_does_not_add_up_and_keeps_the_order(wire: Wire) -> None:
    """100 messages sent at once are all under way at once; jitter puts none before another."""
    line = await wire.line()
    async with wire.link.latency(0.05, jitter=0.05, direction="upstream", seed=7):
        for number in range(100):
            line.writer.write(b"%03d" % number)
            await asyncio.sleep(0)
        async with asyncio.timeout(2):  # one after the other would be 5 s
            got = await line.reader.readexactly(300)
    assert got == b"".join(b"%03d" % number for number in range(100))


async def test_jitter_is_the_same_for_the_same_seed(wire: Wire) -> None:
    """The delays of a connection depend on the seed; another seed gives others."""

    async def delays(seed: int) -> list[float]:
        async with wire.link.latency(0.02, jitter=0.02, direction="upstream", seed=seed):
            return [await line.trip() for _ in range(8)]

    line = await wire.line()
    first, again, other = await delays(1), await delays(1), await delays(2)
    gap = max(abs(a - b) for a, b in zip(first, again, strict=True))
    assert gap < max(abs(a - b) for a, b in zip(first, other, strict=True))
    assert max(first) - min(first) > 0.005


async def test_bandwidth(wire: Wire) -> None:
    """Twice the rate takes about half the time; the sender has to wait rather than fill memory."""
    line = await wire.line()
    times = {}
    for rate in (200_000, 400_000):
        async with wire.link.bandwidth(rate, direction="upstream"):
            times[rate] = await line.trip(bytes(60_000))
    assert times[200_000] >= 0.28
    assert 1.4 < times[200_000] / times[400_000] < 2.6


async def test_a_slow_link_makes_its_sender_wait(wire: Wire) -> None:
    """Of 64 MiB sent, only buffers are taken: what the link holds is bounded."""
    line = await wire.line()
    async with wire.link.bandwidth(1000):
        line.writer.write(bytes(64 * 1024 * 1024))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.writer.drain(), 0.5)
        left = line.writer.transport.get_write_buffer_size()
        assert left > 32 * 1024 * 1024
        line.writer.transport.abort()


async def test_slow_close(wire: Wire) -> None:
    """The last bytes come at once, the end later."""
    wire.echo.greeting = b"bye"
    loop = asyncio.get_running_loop()
    async with wire.link.slow_close(0.3, direction="downstream"):
        line = await wire.line()
        begin = loop.time()
        assert await line.reader.readexactly(3) == b"bye"
        bytes_at = loop.time() - begin
        assert await line.how_it_ends() == (b"", "eof")
        assert loop.time() - begin >= 0.3 > bytes_at


async def test_timeout_loses_what_is_sent_and_closes(wire: Wire) -> None:
    """After its time; with 0 only when it is undone. The target never gets the bytes."""
    line = await wire.line()
    await line.trip()
    async with wire.link.timeout(0.2):
        line.writer.write(b"lost")
        assert await line.silent(0.1)
        assert await line.how_it_ends() == (b"", "eof")
    line = await wire.line()
    await line.trip()
    async with wire.link.timeout():
        line.writer.write(b"lost")
        assert await line.silent(0.4)
    assert await line.how_it_ends() == (b"", "eof")
    assert b"".join(wire.echo.arrived) == b"xx"


async def test_reset_peer(wire: Wire) -> None:
    """Both ends see a reset: connections that are open, after `timeout`, and new ones; undone, a new one works."""
    line = await wire.line()
    await line.trip()
    async with wire.link.reset_peer(0.2):
        await line.trip()  # until then all is well
        assert await line.how_it_ends() == (b"", "reset")
        await eventually(lambda: wire.echo.ended == ["reset"])
    async with wire.link.reset_peer():
        try:
            ends = await (await wire.line()).how_it_ends()
        except ConnectionResetError:  # so soon that connecting was not over yet
            ends = (b"", "reset")
        assert ends == (b"", "reset")
    await (await wire.line()).trip()


async def test_slicer(wire: Wire) -> None:
    """The same bytes, in many small pieces; the gaps between them add up."""
    line = await wire.line()
    data = bytes(range(250)) * 4
    await line.trip(data)
    whole = len(wire.echo.arrived)
    async with wire.link.slicer(100, size_variation=50, delay=0.01, direction="upstream", seed=3):
        took = await line.trip(data)
    slices = [len(piece) for piece in wire.echo.arrived[whole:]]
    assert whole == 1
    assert sum(slices) == 1000
    assert 7 <= len(slices) <= 20
    assert took >= 0.01 * (len(slices) - 2)


async def test_limit_data(wire: Wire) -> None:
    """So many bytes go through, then the connection closes; each connection has its own."""
    async with wire.link.limit_data(100, direction="downstream"):
        for _ in range(2):
            line = await wire.line()
            line.writer.write(bytes(1000))
            got, end = await line.how_it_ends()
            assert (len(got), end) == (100, "eof")
    await (await wire.line()).trip(bytes(1000))


async def test_cut_and_heal(wire: Wire) -> None:
    """Nothing arrives and nothing closes; healed, all that was sent arrives, once and in order."""
    line = await wire.line()
    await line.trip()
    await wire.link.cut()
    line.writer.write(b"first ")
    assert await line.silent()
    line.writer.write(b"second")
    assert await line.silent()
    assert wire.echo.arrived == [b"x"]
    await wire.link.heal()
    assert await line.reader.readexactly(12) == b"first second"
    await line.trip()


async def test_a_cut_of_one_direction(wire: Wire) -> None:
    """Upstream cut: the target hears nothing. Downstream cut: it hears, and nobody hears it."""
    line = await wire.line()
    await line.trip()
    async with wire.link.cut(direction="upstream"):
        line.writer.write(b"a")
        assert await line.silent()
        assert wire.echo.arrived == [b"x"]
    assert await line.reader.readexactly(1) == b"a"
    async with wire.link.cut(direction="downstream"):
        line.writer.write(b"b")
        await eventually(lambda: wire.echo.arrived[-1] == b"b")
        assert await line.silent()
    assert await line.reader.readexactly(1) == b"b"


async def test_what_a_cut_hides(wire: Wire) -> None:
    """A client that dies, or gives up a new connection, meanwhile: the target learns only afterwards, or never."""
    line = await wire.line()
    await line.trip()
    await wire.link.cut()
    line.writer.close()
    gives_up, waits = await wire.line(), await wire.line()
    gives_up.writer.write(b"do it")
    gives_up.writer.close()
    waits.writer.write(b"hello")
    assert await waits.silent()
    assert (wire.echo.opened, wire.echo.ended) == (1, [])
    await wire.link.heal()
    assert await waits.reader.readexactly(5) == b"hello"
    await eventually(lambda: wire.echo.ended == ["eof"])
    assert wire.echo.opened == 2
    assert b"do it" not in b"".join(wire.echo.arrived)


async def test_toxicity_strikes_a_part_of_the_connections_by_the_seed(wire: Wire) -> None:
    """About half of 40, the same ones for the same seed, none of them and all of them at the ends."""
    lines = [await wire.line() for _ in range(40)]
    await asyncio.gather(*(line.trip() for line in lines))

    async def struck(toxicity: float, seed: int) -> list[int]:
        async with wire.link.latency(0.1, direction="upstream", toxicity=toxicity, seed=seed):
            times = await asyncio.gather(*(line.trip() for line in lines))
        return [number for number, took in enumerate(times) if took >= 0.1]

    half = await struck(0.5, 1)
    assert 10 <= len(half) <= 30
    assert await struck(0.5, 1) == half
    assert await struck(0.5, 2) != half
    assert await struck(0.0, 1) == []
    assert len(await struck(1.0, 1)) == 40


async def test_faults_undo_themselves_when_the_body_fails_or_is_cancelled(wire: Wire) -> None:
    """And they add up: two at once, undone in any order, lose no byte."""
    with contextlib.suppress(ZeroDivisionError):
        async with wire.link.cut():
            raise ZeroDivisionError
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1), wire.link.latency(1):
            await asyncio.sleep(LIMIT)
    line = await wire.line()
    cut = await wire.link.cut()
    async with cut:  # on already: once is enough
        await cut
        assert len((await wire.link.state())["toxics"]) == 1
    await line.trip()
    latency = await wire.link.latency(0.3)
    slicer = await wire.link.slicer(3)
    assert len((await wire.link.state())["toxics"]) == 2
    line.writer.write(bytes(100))
    await asyncio.sleep(0.05)
    await latency.undo()
    await latency.undo()
    assert await line.reader.readexactly(100) == bytes(100)
    await slicer.undo()
    assert (await wire.link.state())["toxics"] == []


async def how_a_new_one_ends(link: Link) -> str:
    """A reset may come while it connects, too."""
    try:
        line = Line(*await asyncio.open_connection(HOST, int(link.url.rpartition(":")[2])))
    except ConnectionResetError:
        return "reset"
    return (await line.how_it_ends())[1]


async def test_the_ends_of_a_connection_go_through(wire: Wire) -> None:
    """A half close, a reset by either side, a target that is not there."""
    line = await wire.line()
    line.writer.write(b"last words")
    line.writer.write_eof()
    assert await line.how_it_ends() == (b"last words", "eof")
    line = await wire.line()
    await line.trip()
    line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.writer.transport.abort()
    await eventually(lambda: wire.echo.ended == ["eof", "reset"])
    assert (await wire.link.state())["connections"] == 0
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        link = await start_link(f"{HOST}:{unused.getsockname()[1]}")
        assert await how_a_new_one_ends(link) == "reset"
        await link.stop()


async def test_much_data_goes_through_whole(wire: Wire) -> None:
    """8 MiB there and back while toxics come and go: every byte, in order."""
    line = await wire.line()
    data = bytes(range(256)) * 32768

    async def disturb() -> None:
        for _ in range(5):
            async with wire.link.latency(0.01, jitter=0.01), wire.link.slicer(50_000, size_variation=10_000):
                await asyncio.sleep(0.03)
            async with wire.link.cut():
                await asyncio.sleep(0.03)

    disturbance = asyncio.create_task(disturb())
    await line.trip(data)
    await disturbance


async def test_what_is_refused(wire: Wire) -> None:
    """Bad arguments, with both numbers; a link that has ended."""
    link = wire.link
    with pytest.raises(ValueError, match=r"jitter is a number from 0 to latency \(0.01\); got 0.05"):
        link.latency(0.01, jitter=0.05)
    with pytest.raises(ValueError, match="rate is a number from 1; got 0"):
        link.bandwidth(0)
    with pytest.raises(ValueError, match=r'"both"; got \'sideways\''):
        link.cut(direction="sideways")
    with pytest.raises(ValueError, match="toxicity is a number from 0 to 1"):
        link.cut(toxicity=2)
    with pytest.raises(ValueError, match="has no port"):
        await start_link("redis://127.0.0.1")
    async with link.cut():  # undone with the link itself
        await link.stop()
    with pytest.raises(LinkError, match="does not answer"):
        await link.cut()


async def test_strangers_cannot_break_a_link(wire: Wire) -> None:
    """Whoever finds the control port has no token; garbage does not end the process."""
    port, _ = wire.link._control
    for line in (b'{"op": "heal", "token": "guess"}\n', b"garbage\n", b"[]\n", b'{"op": "nothing"}\n', b"\n"):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(line)
        assert b'"error"' in await asyncio.wait_for(reader.readline(), LIMIT)
        writer.close()
    await (await wire.line()).trip()


async def test_its_own_cost_is_measured(wire: Wire) -> None:
    """Directly and through it in turns, in one run; its faults do not count, and nothing stays open."""
    async with wire.link.latency(1):
        cost = await wire.link.cost(300)
    print(cost)
    assert cost.n == 300
    assert 0 < cost.direct < cost.through < 1
    assert cost.ratio == pytest.approx(cost.through / cost.direct)
    assert f"ratio {cost.ratio:.1f}" in repr(cost)
