"""Services and brokers that die in mid-request: an error, never a hang, and the same client works afterwards."""

import asyncio
import signal
from pathlib import Path

import pytest
from contract_help import BROKERS, LIMIT, Place, eventually

from postoffice import (
    Client,
    ConnectError,
    ConnectionLost,
    NoHandlerError,
    PostOfficeError,
    RequestTimeout,
    Service,
    event_pattern,
    message_pattern,
)

MODULE = """
import asyncio
from postoffice import message_pattern

@message_pattern("slow")
async def slow():
    print("begun", flush=True)
    await asyncio.sleep(3600)

@message_pattern("echo")
async def echo(data):
    return data
"""


class Office:
    def __init__(self) -> None:
        self.begun = 0
        self.events: list[object] = []

    @message_pattern("slow")
    async def slow(self):
        self.begun += 1
        await asyncio.sleep(3600)

    @message_pattern("echo")
    async def echo(self, data):
        return data

    @event_pattern("event")
    async def event(self, data):
        self.events.append(data)


async def answered(client: Client, value: object) -> object:
    """The answer to an echo as soon as there is one again."""
    end = asyncio.get_running_loop().time() + LIMIT
    while True:
        try:
            return await client.send("echo", value, timeout=0.5)
        except PostOfficeError:
            assert asyncio.get_running_loop().time() < end, "the client does not work again"
            await asyncio.sleep(0.02)


async def test_a_service_killed_in_mid_request(place: Place, tmp_path: Path) -> None:
    """TCP notices at once; through a broker only the limit tells. The client goes on once the service is back."""
    first = await place.run(MODULE, tmp_path)
    client = await place.connect()
    call = asyncio.create_task(client.send("slow", timeout=1))
    await eventually(lambda: "begun" in first.log)
    first.signal(signal.SIGKILL)
    with pytest.raises(ConnectionLost if place.kind == "tcp" else RequestTimeout) as caught:
        await call
    assert caught.value.may_have_happened
    await first.ended()
    if place.kind == "tcp":
        with pytest.raises(ConnectError, match=r"nobody answers .*Nothing was sent"):
            await client.send("echo", 1)
        with pytest.raises(ConnectError, match=r"nobody answers .*Nothing was sent"):
            await client.emit("echo", 1)
    elif place.kind in ("redis", "nats"):
        with pytest.raises(NoHandlerError):
            await client.send("echo", 1)
    await place.run(MODULE, tmp_path)
    assert await answered(client, "back") == "back"


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_a_queue_keeps_a_request_until_its_service_is_back(place: Place) -> None:
    """Nobody runs: the request waits in the queue, and is answered when the service starts within the limit."""
    client = await place.connect()
    call = asyncio.create_task(client.send("echo", 1))
    await asyncio.sleep(0.1)
    assert not call.done()
    await place.serve(Office())
    assert await call == 1


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_broker_killed_in_mid_request(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The caller learns it at once; after the restart the same client and the same service go on."""
    assert place.broker
    office = Office()
    await place.serve(office, grace=0.1)
    client = await place.connect()
    call = asyncio.create_task(client.send("slow", timeout=1000))
    stream = asyncio.create_task(anext(client.stream("slow", timeout=1000)))
    await eventually(lambda: office.begun == 2)
    place.broker.kill()
    for lost in (call, stream):
        with pytest.raises(ConnectionLost, match=r"broke while a reply was awaited.*The work may have happened"):
            await asyncio.wait_for(lost, LIMIT)
    with pytest.raises(PostOfficeError):
        await client.send("echo", 1, timeout=0.1)
    with pytest.raises(ConnectError, match=r"no .* broker could be reached"):
        await Client.connect(place.url, queue=place.queue)
    await place.broker.restart()
    assert await answered(client, "back") == "back"
    await client.emit("event", "again")
    await eventually(lambda: office.events == ["again"])
    assert "connecting again" in caplog.text


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_service_that_started_again_outlives_its_broker(place: Place) -> None:
    """Stopped and started once more, it is kept connected as before."""
    assert place.broker
    service = await place.serve(Office())
    await service.stop()
    await service.start()
    client = await place.connect()
    assert await answered(client, 1) == 1
    place.broker.kill()
    await place.broker.restart()
    assert await answered(client, "back") == "back"


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_broker_that_dies_again_and_again(place: Place) -> None:
    """Three times, also while the client is about to connect again."""
    assert place.broker
    await place.serve(Office())
    client = await place.connect()
    for round_number in range(3 if place.kind != "rabbitmq" else 2):
        assert await answered(client, round_number) == round_number
        place.broker.kill()
        await place.broker.restart()
    assert await answered(client, "back") == "back"


@pytest.mark.parametrize("kind", BROKERS)
async def test_calls_under_load_all_end_when_the_broker_dies(place: Place) -> None:
    """100 callers in a row each: every call has a result or an error, within its limit."""
    assert place.broker
    await place.serve(Office())
    client = await place.connect()
    outcomes: list[object] = []
    stop = False

    async def caller() -> None:
        while not stop:
            try:
                outcomes.append(await client.send("echo", 1, timeout=0.5))
            except PostOfficeError as error:
                outcomes.append(type(error))

    callers = [asyncio.create_task(caller()) for _ in range(100)]
    try:
        await eventually(lambda: len(outcomes) > 200)
        place.broker.kill()
        await eventually(lambda: ConnectionLost in outcomes)
        await place.broker.restart()
        before = outcomes.count(1)
        await eventually(lambda: outcomes.count(1) > before + 200, "answers after the restart")
    finally:
        stop = True  # a caller of a client that is closed would never let anybody else have a turn
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*callers)
    assert set(outcomes) <= {1, ConnectionLost, RequestTimeout, NoHandlerError, ConnectError}
    assert not client._pending


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_service_that_cannot_reach_its_broker_says_so(place: Place) -> None:
    """At start, with the address; nothing is left open."""
    dead = {"redis": "redis", "nats": "nats", "rabbitmq": "amqp", "mqtt": "mqtt"}[place.kind] + "://127.0.0.1:9"
    service = Service(Office(), url=dead, name="x")
    with pytest.raises(ConnectError, match=r"no .* broker could be reached at 127\.0\.0\.1:9 .*Nothing was sent"):
        await service.start()
    await service.stop()
