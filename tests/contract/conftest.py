"""Brokers that stay warm for the whole session, and the transports that each test runs on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from contract_help import TRANSPORTS, Place

from classroom.brokers import Broker, NoBroker, start_broker
from classroom.observe import Observed, observe


@pytest.fixture(scope="session")
def warm_broker() -> Iterator[Callable[[str], Broker]]:
    """A running broker of a kind: started when first wanted, running again where a test has killed it."""
    started: dict[str, Broker] = {}

    def broker(kind: str) -> Broker:
        if kind not in started:
            name = {"mqtt": "mosquitto"}.get(kind, kind)
            try:
                started[kind] = asyncio.run(start_broker(name, name=f"contract {kind}"))
            except NoBroker as error:
                if kind != "kafka":  # which no set-up fetches: it is large
                    raise
                pytest.skip(f"there is no Kafka here: {error}")
        return started[kind]

    yield broker
    for one in started.values():
        asyncio.run(one.stop())


@pytest.fixture(params=TRANSPORTS)
def kind(request: pytest.FixtureRequest) -> str:
    """The transport; a test of some of them says `@pytest.mark.parametrize("kind", [...])`."""
    return str(request.param)


@pytest.fixture
async def place(
    kind: str, warm_broker: Callable[[str], Broker], request: pytest.FixtureRequest
) -> AsyncIterator[Place]:
    """Where this test serves and calls; nothing of it is left afterwards."""
    broker = None if kind == "tcp" else await asyncio.to_thread(warm_broker, kind)
    here = Place(kind, broker, f"test_{secrets.token_hex(6)}")
    yield here
    await here.close()


@pytest.fixture
async def seen() -> AsyncIterator[Observed]:
    """The spans of this process, and of those that it starts from now on."""
    seen = await observe()
    yield seen
    await seen.stop()
