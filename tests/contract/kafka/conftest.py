"""Apache Kafka, a place in it for each test, and a service with a client there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest
from contract_help import Place
from kafka_help import Caller, Office

from classroom.brokers import Broker


@pytest.fixture
async def broker(warm_broker: Callable[[str], Broker]) -> Broker:
    """Apache Kafka, the same for all tests."""
    return await asyncio.to_thread(warm_broker, "kafka")


@pytest.fixture
async def place(broker: Broker) -> AsyncIterator[Place]:
    """Where a test serves and calls, in topics of its own."""
    here = Place("kafka", broker, f"test-{secrets.token_hex(4)}")
    yield here
    await here.close()


@pytest.fixture
async def office(place: Place) -> Office:
    """A service that has started."""
    office = Office(place.name)
    await place.serve(*office.handlers)
    return office


@pytest.fixture
async def caller(place: Place, office: Office) -> Caller:
    return Caller(await place.connect(), place.name)
