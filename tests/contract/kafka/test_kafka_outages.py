"""Kafka where things end: replicas that share and take over, a broker that is killed or paused under load."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from contract_help import LIMIT, Place, Process, eventually
from kafka_help import Caller, Office

from postoffice import Client, ConnectError, ConnectionLost, PostOfficeError, RequestTimeout

MODULE = """
import asyncio
from postoffice import event_pattern, message_pattern

@message_pattern("{prefix}.echo")
async def echo(data):
    return data

@event_pattern("{prefix}.counted")
async def counted(data):
    print("begun", data["n"], flush=True)
    await asyncio.sleep(0.05)
"""


async def partitions(place: Place, topic: str, count: int) -> None:
    """Give a topic more partitions; a service that starts afterwards knows them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.url.removeprefix("kafka://"))
    await admin.start()
    try:
        answer = await admin.create_partitions({topic: NewPartitions(count)})
        assert all(error[1] == 0 for error in answer.topic_errors), answer
    finally:
        await admin.close()


async def test_replicas_share_and_groups_each_get_all(place: Place) -> None:
    """Replicas of one name: each message once, both at work. Another group gets every message too."""
    first = await place.serve(*Office(place.name).handlers)
    await first.stop()  # its topics are there now
    await partitions(place, f"{place.name}.event", 4)
    one, two, other = (Office(place.name) for _ in range(3))
    await place.serve(*one.handlers)
    await place.serve(*two.handlers)
    await place.serve(*other.handlers, group=f"{place.name}-audit")
    client = await place.connect()
    for number in range(200):
        await client.emit(f"{place.name}.event", {"n": number}, headers={"kafka_messageKey": str(number)})
    await eventually(lambda: len(one.events) + len(two.events) == 200 and len(other.events) == 200)
    assert sorted(event["n"] for event in one.events + two.events) == list(range(200))
    assert one.events
    assert two.events


def begun(process: Process) -> list[str]:
    """What its handler has printed."""
    return [line for line in process.log.splitlines() if line.startswith("begun")]


async def test_a_killed_replica_repeats_nothing(place: Place, tmp_path: Path) -> None:
    """SIGKILL in the middle of 400 events: the other takes over, and what was begun is not begun again."""
    module = MODULE.format(prefix=place.name)
    first = await place.run(module, tmp_path)
    client = await place.connect()
    for number in range(200):
        await client.emit(f"{place.name}.counted", {"n": number})
    await eventually(lambda: "begun" in first.log)
    first.signal(signal.SIGKILL)
    await first.ended()
    second = await place.run(module, tmp_path)
    for number in range(200, 400):
        await client.emit(f"{place.name}.counted", {"n": number})
    await eventually(lambda: "begun 399" in second.log and "begun 200" in second.log)
    both = begun(first) + begun(second)
    assert len(both) == len(set(both))
    assert {f"begun {number}" for number in range(200, 400)} <= set(both)


async def test_a_broker_killed_in_mid_request(place: Place, office: Office, caller: Caller) -> None:
    """Requests end at once, long before their limit; the same client and the same service go on after the restart."""
    assert place.broker
    assert await caller.send("echo", "before") == "before"
    patient = asyncio.create_task(caller.send("slow", "0.5", timeout=1000))
    await eventually(lambda: office.begun == 1)
    place.broker.kill()
    with pytest.raises(ConnectionLost, match="the connection to the Kafka broker") as caught:
        await asyncio.wait_for(patient, LIMIT)
    assert caught.value.may_have_happened
    with pytest.raises(ConnectError, match="no Kafka broker could be reached"):
        await Client.connect(place.url)
    await place.broker.restart()
    assert await caller.answered("back") == "back"
    await caller.emit("event", "again")
    await eventually(lambda: office.events == ["again"])


async def test_load_while_the_broker_dies(place: Place, caller: Caller, office: Office) -> None:
    """Every call ends, no event is handled twice."""
    assert place.broker
    outcomes: list[object] = []
    stop = False

    async def calling() -> None:
        while not stop:
            try:
                outcomes.append(await caller.send("echo", "x", timeout=1))
            except PostOfficeError as error:
                outcomes.append(type(error))

    callers = [asyncio.create_task(calling()) for _ in range(50)]
    try:
        for number in range(100):
            await caller.emit("event", {"n": number})
        await eventually(lambda: len(outcomes) > 200)
        place.broker.kill()
        await eventually(lambda: ConnectionLost in outcomes)
        await place.broker.restart()
        before = outcomes.count("x")
        await eventually(lambda: outcomes.count("x") > before + 200, "answers after the restart", 2 * LIMIT)
    finally:
        stop = True  # a caller of a client that is closed would never let anybody else have a turn
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*callers)
    assert set(outcomes) <= {"x", RequestTimeout, ConnectionLost}
    assert not caller.client._pending
    numbers = [event["n"] for event in office.events]
    assert len(numbers) == len(set(numbers))


async def test_a_paused_broker_holds_nobody(place: Place) -> None:
    """Calls end at their limit; client and service close in seconds and leave no task behind."""
    assert place.broker
    before = asyncio.all_tasks()
    office = Office(place.name)
    service = await place.serve(*office.handlers)
    client = await place.connect()
    assert await client.send(f"{place.name}.echo", "up") == "up"
    place.broker.pause()
    try:
        with pytest.raises(RequestTimeout):
            await client.send(f"{place.name}.echo", "down", timeout=0.5)
        async with asyncio.timeout(LIMIT):
            await client.close()
            await service.stop()
    finally:
        await place.broker.resume()
    assert asyncio.all_tasks() <= before
