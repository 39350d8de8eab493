"""`start_broker`: the first source on this machine that can serve a broker does."""

from __future__ import annotations

import asyncio
import threading
import weakref

from classroom.brokers.broker import EXTERNAL_LIMIT, Broker, Engine, running
from classroom.brokers.catalogue import Kind, kind_of
from classroom.brokers.container_engine import ContainerEngine
from classroom.brokers.errors import BrokerError, BrokerFailed, NoBroker, PortTaken
from classroom.brokers.finding import Candidate, PassedOver, chosen_engine, command_for, fetch_packages, find
from classroom.brokers.ports import Port
from classroom.brokers.process_engine import ProcessEngine

FIRST_PORTS = 5  # ports tried at a first start, should another program take one in between

_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = weakref.WeakKeyDictionary()


async def start_broker(kind: str, *, engine: str | None = None, name: str | None = None) -> Broker:
    """Start a broker and wait until it answers; prints what it is, and what that cannot show.

    `kind` is "redis", "nats", "rabbitmq", "mosquitto" or "kafka". `engine` is "container", "process" or "auto" (the
    default, or CLASSROOM_ENGINE): the first source that works, in the order of `classroom doctor`. Starting one under
    a `name` (by default its kind) that is in use replaces the one before.
    Raises ValueError for an unknown kind or engine, NoBroker when nothing here can serve it, BrokerError with the last
    log lines when it does not start. A start that fails or is cancelled leaves nothing.
    """
    entry, engine, name = kind_of(kind), chosen_engine(engine), name or kind
    lock = _locks.setdefault(asyncio.get_running_loop(), {}).setdefault(name, asyncio.Lock())
    async with lock:
        if name in running:
            await running[name].stop()
        broker = await _first_that_works(entry, engine, name)
        running[name] = broker
    print(repr(broker).partition(": running, ")[0] + f" is ready.\n{broker.limits}", flush=True)
    return broker


async def _first_that_works(kind: Kind, engine: str, name: str) -> Broker:
    reasons: list[str] = []
    failed = False
    sources = find(kind, engine)
    while (source := await asyncio.to_thread(next, sources, None)) is not None:
        if isinstance(source, PassedOver):
            reason, surprising = source.reason, source.surprising
        else:
            try:
                return await _started(source, name)
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


async def _started(candidate: Candidate, name: str) -> Broker:
    if candidate.engine == "external":
        return await _ready(Broker(name, candidate.kind, candidate.source, None, candidate.url, None))
    if candidate.engine == "process" and candidate.program is None:
        candidate = await _fetched(candidate)
    for left in reversed(range(FIRST_PORTS)):
        try:
            return await _on_a_port(candidate, name)
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


async def _on_a_port(candidate: Candidate, name: str) -> Broker:
    port = Port()
    engine: Engine = ProcessEngine(candidate) if candidate.engine == "process" else ContainerEngine(candidate)
    broker = Broker(name, candidate.kind, candidate.source, engine, candidate.kind.url(port.number), port)
    try:
        await engine.create(port.number)
        return await _ready(broker)
    except BaseException:  # cancelled, too
        await asyncio.shield(broker.stop())
        raise


async def _ready(broker: Broker) -> Broker:
    await broker.ready(EXTERNAL_LIMIT if broker.engine == "external" else None)
    broker.state = "running"
    return broker
