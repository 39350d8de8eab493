"""One postoffice and one NestJS service as replicas of each other: a Python service in a NestJS system."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aio_pika

from postoffice import Service

from .casework import NotApplicable, same
from .handlers import Attempts
from .node import Node
from .peers import Call, NestClient, NestService, OurClient, OurService, Pair, Place
from .wires import Wire

Case = Callable[[Wire, Place, Node, Path], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


@contextlib.asynccontextmanager
async def started(*peers: Any) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for peer in peers:
            await peer.start()
            stack.push_async_callback(peer.stop)
        yield


def shared(wire: Wire, place: Place) -> Place:
    if not wire.shares:
        raise NotApplicable("replicas cannot share messages here, NestJS's or ours")
    return replace(place, queue=f"shared-{wire.variant}") if wire.shares == "queue" else replace(place, group="sorters")


for caller in ("ours", "Nest"):

    @case(f"100 requests by {caller} reach one replica each")
    async def _share(wire: Wire, place: Place, node: Node, packages: Path, caller: str = caller) -> None:
        place = shared(wire, place)
        ours, theirs = OurService(place), NestService(place, node, packages, wire.nest_wire)
        client = OurClient(place) if caller == "ours" else NestClient(place, node, packages, wire.nest_wire)
        async with started(ours, theirs, client):
            outcomes = []
            # a client of ours sends what it has at one time to one of Kafka's partitions; on MQTT NestJS's client loses
            # answers to what it asks at one time
            at_once = 1 if caller == "Nest" and place.transport == "mqtt" else 5
            for _ in range(100 // at_once):
                outcomes += await client.calls([Call("counted", {"n": n}) for n in range(at_once)])
            answered = [one.values[0] for one in outcomes]
            same(set(answered), {"ours", "nest"})
            same(len(await ours.seen()), answered.count("ours"))
            same(len(await theirs.seen()), answered.count("nest"))


@case("without a group each replica handles each event")
async def _all(wire: Wire, place: Place, node: Node, packages: Path) -> None:
    if wire.broker is None or wire.shares == "queue" or wire.null_ends_streams:
        raise NotApplicable("one replica gets a message, always")
    ours, theirs, client = OurService(place), NestService(place, node, packages, wire.nest_wire), OurClient(place)
    async with started(ours, theirs, client):
        await client.calls([Call("noted", n, emit=True) for n in range(20)])
        for service in (ours, theirs):
            found = await Pair(place, wire, client, service).seen(20)
            same(sorted(data for _, data in found), list(range(20)))


MANUAL = {"noAck": False, "prefetchCount": 2}


def acknowledged(wire: Wire, place: Place, queue: str) -> Place:
    if wire.title != "rabbitmq":
        raise NotApplicable("NestJS acknowledges by hand on a RabbitMQ queue only")
    return replace(place, queue=queue)


async def waiting(place: Place) -> int:
    """The messages in the queue that nobody has taken or acknowledged."""
    async with await aio_pika.connect(place.url) as connection:
        channel = await connection.channel()
        return (await channel.declare_queue(place.queue, passive=True)).declaration_result.message_count or 0


@case("a NestJS service that acknowledges by hand takes our events, and the queue is empty then")
async def _by_hand(wire: Wire, place: Place, node: Node, packages: Path) -> None:
    place = acknowledged(wire, place, "by-hand")
    service, client = NestService(place, node, packages, MANUAL), OurClient(place)
    async with started(service, client):
        await client.calls([Call("parcel.by-hand", n, emit=True) for n in range(20)])
        same(await Pair(place, wire, client, service).seen(20), [["by hand", n] for n in range(20)])
    same(await waiting(place), 0)


@case("what a killed NestJS service had not acknowledged comes to our service, at attempt 2")
async def _taken_over(wire: Wire, place: Place, node: Node, packages: Path) -> None:
    place = acknowledged(wire, place, "taken-over")
    first, client = NestService(place, node, packages, MANUAL), NestClient(place, node, packages)
    attempts = Attempts()
    second = Service(attempts, url=place.url, name=place.queue, delivery="at-least-once")
    async with started(first, client):
        await client.calls([Call("parcel.by-hand", "keep", emit=True)])
        await Pair(place, wire, client, first).seen(1)
        first.kill()
        async with second:
            await asyncio.wait_for(attempts.came.wait(), 10)
    same(attempts.seen, [["attempt 2", "keep"]])
    same(await waiting(place), 0)
