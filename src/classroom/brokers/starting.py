"""`start_broker`: the first source on this machine that can serve a broker does."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from classroom.brokers.broker import EXTERNAL_LIMIT, Broker, Urls, running
from classroom.brokers.catalogue import Kind, kind_of
from classroom.brokers.container_engine import ContainerEngine
from classroom.brokers.engine import Engine
from classroom.brokers.errors import BrokerError, BrokerFailed, NoBroker, NoDisk, NotOurs, PortTaken
from classroom.brokers.finding import Candidate, PassedOver, chosen_engine, command_for, fetch_packages, find
from classroom.brokers.ports import Ports
from classroom.brokers.process_engine import ProcessEngine
from classroom.faults.disk import bytes_of
from classroom.faults.link import start_link

FIRST_PORTS = 5  # ports tried at a first start, should another program take one in between

_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = weakref.WeakKeyDictionary()


async def start_broker(
    kind: str,
    *,
    engine: str | None = None,
    name: str | None = None,
    link: bool = False,
    disk: str | int | None = None,
    sync: Literal["default", "always"] = "default",
) -> Broker:
    """Start a broker and wait until it answers; prints what it is, and what that cannot show.

    `kind` is "redis", "nats", "rabbitmq", "mosquitto" or "kafka". `engine` is "container", "process" or "auto" (the
    default, or CLASSROOM_ENGINE): the first source that works, in the order of `classroom doctor`. Starting one under
    a `name` (by default its kind) that is in use replaces the one before. With `link`, its `url` goes through
    `broker.link`, where the network can be broken. `disk`, such as "64M", is the size of a disk of its own for its
    data, which `broker.disk_full()` fills; 32 MiB at least. `sync="always"` has Redis (by its append-only file) and
    NATS write to disk before they acknowledge.
    Raises ValueError for an unknown kind or engine or a size that is none, NoDisk where it cannot have that disk,
    NoBroker when nothing here can serve it, BrokerError with the last log lines when it does not start. A start that
    fails or is cancelled leaves nothing.
    """
    entry, engine, name = kind_of(kind), chosen_engine(engine), name or kind
    if sync == "always":
        entry = entry.synced_always
    extras = Extras(link, bytes_of(disk) if disk is not None else 0)
    lock = _locks.setdefault(asyncio.get_running_loop(), {}).setdefault(name, asyncio.Lock())
    async with lock:
        if name in running:
            await running[name].stop()
        broker = await _first_that_works(entry, engine, name, extras)
        running[name] = broker
    print(repr(broker).partition(": running, ")[0] + f" is ready.\n{broker.limits}", flush=True)
    return broker


@dataclass(frozen=True)
class Extras:
    """What a broker gets besides: a link, and a disk of so many bytes (0: none)."""

    link: bool = False
    disk: int = 0


async def _first_that_works(kind: Kind, engine: str, name: str, extras: Extras) -> Broker:
    reasons: list[str] = []
    failed = False
    sources = find(kind, engine)
    while (source := await asyncio.to_thread(next, sources, None)) is not None:
        if isinstance(source, PassedOver):
            reason, surprising = source.reason, source.surprising
        else:
            try:
                return await _started(source, name, extras)
            except NoDisk:
                raise
            except BrokerError as error:
                if source.engine == "external":
                    raise
                reason, surprising = f"{source.source}: {error}", True
                failed = failed or isinstance(error, BrokerFailed)
        if surprising:
            print(f"{kind.title}: {reason}", flush=True)
        reasons.append(reason)
    asked = "" if engine == "auto" else f" (engine {engine!r} was asked for)"
    lines = "".join(f"\n- {reason}" for reason in reasons)
    if failed:
        raise BrokerFailed(f"{kind.title} does not start{asked}.{lines}")
    command = command_for(kind, engine)
    raise NoBroker(f"nothing on this machine can serve {kind.title}{asked}.{lines}\nThis would: {command}")


async def _started(candidate: Candidate, name: str, extras: Extras) -> Broker:
    if candidate.engine == "external":
        return await _someone_elses(candidate, name, extras)
    if candidate.engine == "process" and candidate.program is None:
        candidate = await _fetched(candidate)
    for left in reversed(range(FIRST_PORTS)):
        try:
            return await _on_a_port(candidate, name, extras)
        except PortTaken:
            if not left:
                raise
    raise AssertionError("the last round returned or raised")


async def _fetched(candidate: Candidate) -> Candidate:
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(fetch_packages, candidate, cancelled)
    finally:
        cancelled.set()  # an interrupted cell ends the download


async def _on_a_port(candidate: Candidate, name: str, extras: Extras) -> Broker:
    kind = candidate.kind
    ports = Ports(extras.link, kind.direct_port != 0)
    kinds: dict[str, Callable[[Candidate, Ports, int], Engine]] = {
        "process": ProcessEngine,
        "container": ContainerEngine,
    }
    engine = kinds[candidate.engine](candidate, ports, extras.disk)
    urls = Urls(kind.url(ports.public.number), kind.url(ports.direct.number))
    broker = Broker(name, kind, candidate.source, engine, urls, ports)
    try:
        if extras.link:
            broker.add_link(await start_link(kind.url(ports.server.number), port=ports.public))
        await engine.create()
        return await _ready(broker)
    except BaseException:  # cancelled, too
        await asyncio.shield(broker.stop())
        raise


async def _someone_elses(candidate: Candidate, name: str, extras: Extras) -> Broker:
    """One that runs already: a link can be put before it, unless it tells its clients another address."""
    kind = candidate.kind
    if extras.disk:
        raise NoDisk(f"{kind.title} at {kind.variable} is run by someone else: its disk cannot be chosen from here")
    if not extras.link:
        return await _ready(Broker(name, kind, candidate.source, None, Urls(candidate.url, candidate.url), None))
    if kind.direct_port:
        raise NotOurs(
            f"{kind.title} at {kind.variable} tells its clients an address of its own, so they would go past the link. "
            f"Without {kind.variable} in the environment, the course starts one that tells them the link's."
        )
    link = await start_link(candidate.url)
    broker = Broker(name, kind, candidate.source, None, Urls(link.url, candidate.url), None)
    broker.add_link(link)
    try:
        return await _ready(broker)
    except BaseException:
        await asyncio.shield(broker.stop())
        raise


async def _ready(broker: Broker) -> Broker:
    await broker.ready(EXTERNAL_LIMIT if broker.engine == "external" else None)
    broker.state = "running"
    return broker
