"""Time limits: of a call, of a client, of handing a message over to a broker that is paused."""

import asyncio
import contextlib

import pytest
from contract_help import BROKERS, KAFKA_TOO, LIMIT, Place, eventually

from postoffice import ConnectionLost, RequestTimeout, UsageError, event_pattern, message_pattern

gates: dict[str, asyncio.Event] = {}


@message_pattern("wait")
async def wait(data):
    await gates.setdefault(data, asyncio.Event()).wait()
    return f"late {data}"


@message_pattern("echo")
async def echo(data):
    return data


@event_pattern("noted")
async def noted():
    pass


@KAFKA_TOO
async def test_a_late_reply_is_dropped(place: Place) -> None:
    """The call ends at its limit with an unknown outcome; the next call gets its own answer."""
    gates.clear()
    await place.serve(wait, echo)
    client = await place.connect()
    with pytest.raises(
        RequestTimeout, match=r"no answer to 'wait' within 0\.5 s.*The work may have happened"
    ) as caught:
        await client.send("wait", "one", timeout=0.5)
    assert caught.value.may_have_happened
    gates["one"].set()
    gates["two"] = asyncio.Event()
    gates["two"].set()
    assert await client.send("wait", "two") == "late two"
    assert await client.send("echo", "on") == "on"


@KAFKA_TOO
async def test_the_clients_limit_holds_where_the_call_gives_none(place: Place) -> None:
    """And a call's own limit, longer or shorter, goes before it."""
    gates.clear()
    await place.serve(wait)
    client = await place.connect(timeout=0.1)
    with pytest.raises(RequestTimeout, match=r"within 0\.1 s"):
        await client.send("wait", "x")
    longer = asyncio.create_task(client.send("wait", "x", timeout=LIMIT))
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
        await client.send("wait", "y", timeout=0.2)
    gates["x"].set()
    assert await longer == "late x"
    gates["y"].set()


@KAFKA_TOO
async def test_limits_end_in_their_own_order(place: Place) -> None:
    """Many waiting calls, one timer: the shortest limit ends first, whatever was sent first."""
    gates.clear()
    await place.serve(wait, grace=0.1)
    client = await place.connect()
    ended: list[float] = []

    async def call(limit: float) -> None:
        with pytest.raises(RequestTimeout):
            await client.send("wait", "never", timeout=limit)
        ended.append(limit)

    await asyncio.gather(*(call(limit) for limit in (0.5, 0.1, 0.4, 0.2, 0.3)))
    assert ended == [0.1, 0.2, 0.3, 0.4, 0.5]


@KAFKA_TOO
async def test_a_cancelled_call_leaves_nothing(place: Place) -> None:
    """Its late reply is dropped, the client goes on."""
    gates.clear()
    await place.serve(wait, echo)
    client = await place.connect()
    call = asyncio.create_task(client.send("wait", "x"))
    await eventually(lambda: "x" in gates)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gates["x"].set()
    assert await client.send("echo", "on") == "on"
    assert not client._pending


@KAFKA_TOO
async def test_closing_a_client_ends_the_calls_that_wait(place: Place) -> None:
    """With a ConnectionLost, at once; afterwards the client says that it is closed."""
    gates.clear()
    await place.serve(wait, grace=0.1)
    client = await place.connect()
    calls = [asyncio.create_task(client.send("wait", "x", timeout=1000)) for _ in range(3)]
    await eventually(lambda: len(client._pending) == 3 and "x" in gates)
    await client.close()
    for call in calls:
        with pytest.raises(ConnectionLost, match=r"this client was closed .* The work may have happened"):
            await asyncio.wait_for(call, LIMIT)
    for use in (client.send("echo"), client.emit("noted"), anext(client.stream("echo"))):
        with pytest.raises(UsageError, match=r"this client is closed\. Nothing was sent"):
            await use
    await client.close()


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_paused_broker_holds_nobody_beyond_the_limit(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A request and many events end within their limit, and all works when the broker goes on."""
    assert place.broker
    service = await place.serve(echo, noted)
    client = await place.connect(timeout=0.5)
    place.broker.pause()
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(RequestTimeout):
            await client.send("echo", 1)
        for _ in range(20):
            with contextlib.suppress(RequestTimeout):  # until then, buffers take it
                await client.emit("noted", "x" * 100_000)
        assert loop.time() - began < LIMIT
    finally:
        await place.broker.resume()
    assert await client.send("echo", 2, timeout=LIMIT) == 2
    assert service.url == place.url
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("kind", BROKERS)
async def test_stopping_and_closing_end_while_the_broker_is_paused(place: Place) -> None:
    """Nothing of a paused broker is waited for without limit."""
    assert place.broker
    service = await place.serve(echo, grace=0.3)
    client = await place.connect()
    place.broker.pause()
    try:
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(service.stop(), client.close())
    finally:
        await place.broker.resume()
