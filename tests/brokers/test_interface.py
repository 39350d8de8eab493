"""What every broker does, whatever kind it is and whatever runs it."""

import asyncio
import time

import pytest
from letters import LETTER, collect, post

from classroom.brokers import Broker, BrokerError, start_broker
from classroom.brokers.catalogue import KINDS
from classroom.brokers.probes import NOT_READY, probe
from classroom.brokers.process_engine import END_LIMIT

KEEPS_AFTER_A_KILL = {"nats", "rabbitmq", "kafka"}  # in the set-up of this course; see the catalogue's `limits`


@pytest.fixture(params=list(KINDS))
async def broker(request: pytest.FixtureRequest, engine: str, serve):
    """A broker of its own for one test."""
    serve(request.param, engine)
    async with await start_broker(request.param, engine=engine, name=f"test-{request.param}") as broker:
        yield broker


async def answers(broker: Broker) -> bool:
    try:
        await asyncio.wait_for(probe(broker.kind, broker.url), 0.5)
    except NOT_READY:
        return False
    return True


async def test_a_life(broker: Broker):
    """Started, paused, resumed, restarted, killed, restarted, stopped: the same address, and data as promised."""
    url = broker.url
    assert broker.alive
    assert await answers(broker)
    await post(broker.kind, url)

    broker.pause()
    assert broker.alive
    assert not await answers(broker)
    await broker.resume()
    assert await collect(broker.kind, url) == LETTER

    if broker.kind == "rabbitmq":  # collecting takes a letter out of a queue
        await post(broker.kind, url)
    broker.pause()
    begin = time.monotonic()
    await broker.restart()  # a frozen server cannot end cleanly: it is let go on first
    assert time.monotonic() - begin < END_LIMIT  # it was not killed for its silence
    assert await collect(broker.kind, url) == LETTER

    if broker.kind == "rabbitmq":
        await post(broker.kind, url)

    broker.kill()
    assert not broker.alive
    assert not await answers(broker)
    await broker.restart()
    assert (broker.url, broker.state, broker.alive) == (url, "running", True)
    if broker.kind in KEEPS_AFTER_A_KILL:
        assert await collect(broker.kind, url) == LETTER

    await broker.stop()
    assert not broker.alive
    assert not await answers(broker)
    with pytest.raises(BrokerError, match=f'stopped: `await start_broker\\("{broker.kind}"\\)`'):
        broker.kill()


async def test_what_it_tells(broker: Broker):
    """Its version in its own words, a repr of two lines, its log; and why it does not answer."""
    assert tuple(map(int, broker.version.split(".")[:2])) >= KINDS[broker.kind].minimum
    first, second = repr(broker).splitlines()
    assert f"{broker.product} {broker.version}" in first
    assert broker.url in first
    assert broker.limits == second
    assert 1 <= len(broker.logs(2).splitlines()) <= 2
    broker.pause()
    with pytest.raises(BrokerError, match=r"does not answer within 0.2 s .* is paused: `resume\(\)`"):
        await broker.ready(timeout=0.2)
    broker.kill()
    with pytest.raises(BrokerError, match=r"has ended .*`restart\(\)`"):
        await broker.ready(timeout=60)
