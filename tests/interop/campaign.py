"""Every case, on every transport, with each pairing of client and service; and the table of what came out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from classroom.brokers import BrokerError, start_broker

from . import cases, cases_events, casework, grpc_cases, grpc_peers, peers, replicas  # noqa: F401 - two of them add their cases
from .kafka_topics import kafka_place
from .node import Node, install
from .peers import Pair, Place
from .wires import Wire

OURS_OURS, OURS_NEST, NEST_OURS, CONTROL = "ours to ours", "ours to Nest", "Nest to ours", "Nest to Nest"
REPLICAS = "both as replicas"
DIRECT = [NEST_OURS, OURS_NEST]  # all that is run with NestJS 11
PAIRINGS = [OURS_OURS, NEST_OURS, OURS_NEST, CONTROL, REPLICAS]


@dataclass(frozen=True)
class Result:
    """How one case ended: "passed", "failed", "not supported" (by us, as yet) or "does not apply", and why."""

    transport: str
    pairing: str
    case: str
    verdict: str
    reason: str = ""


async def campaign(wires: Iterable[Wire], node: Node, pairings: Iterable[str] = PAIRINGS) -> list[Result]:
    """Run it. One service at a time, for on some transports two would both answer. Raises NoNode."""
    results: list[Result] = []
    async with contextlib.AsyncExitStack() as stack:
        brokers: dict[str, str] = {}
        for wire in wires:
            wanted = [one for one in pairings if wire.nest == "nest12" or one in DIRECT]
            packages, began = install(wire.nest, node), time.monotonic()
            try:
                if wire.broker and wire.broker not in brokers:
                    brokers[wire.broker] = await stack.enter_async_context(_broker(wire.broker))
            except BrokerError as error:
                reason = str(error).splitlines()[0]
                results += [Result(wire.title, one, "every case", "does not apply", reason) for one in wanted]
                continue
            url = brokers[wire.broker] if wire.broker else f"{wire.name}://127.0.0.1:0"
            results += await _transport(wire, url, node, packages, wanted)
            print(f"{wire.title}: {time.monotonic() - began:.1f} s", flush=True)
    return results


@contextlib.asynccontextmanager
async def _broker(kind: str) -> AsyncIterator[str]:
    async with await start_broker(kind, name=f"interop-{kind}") as broker:
        yield broker.url


async def _transport(wire: Wire, url: str, node: Node, packages: Path, pairings: list[str]) -> list[Result]:
    results: list[Result] = []
    queue = f"office-{wire.variant}" if wire.shares == "queue" else ""
    place = Place(wire.name, url, queue=queue, text_only=not wire.objects, wild=wire.wild[0], ours=wire.ours)
    if wire.name == "kafka":
        place = await kafka_place(place)
    them = grpc_peers if wire.name == "grpc" else peers
    for service, wanted in (
        (them.OurService(place), {OURS_OURS: them.OurClient, NEST_OURS: them.NestClient}),
        (
            them.NestService(place, node, packages, wire.nest_wire),
            {OURS_NEST: them.OurClient, CONTROL: them.NestClient},
        ),
    ):
        if not wanted.keys() & set(pairings):
            continue
        try:
            here = replace(place, url=await service.start())
        except Exception as error:
            reason = f"the service did not start: {error}"
            results += [Result(wire.title, one, "every case", "failed", reason) for one in wanted]
            continue
        try:
            for pairing, kind in wanted.items():
                if pairing in pairings:
                    client = kind(here) if kind is them.OurClient else kind(here, node, packages, wire.nest_wire)
                    results += await _pair(Pair(here, wire, client, service), pairing)
        finally:
            await service.stop()
    if REPLICAS in pairings and wire.name != "grpc":  # there is nothing to share: a client calls one address
        results += [
            await _verdict(wire.title, REPLICAS, name, one(wire, place, node, packages))
            for name, one in replicas.CASES.items()
        ]
    return results


async def _pair(pair: Pair, pairing: str) -> list[Result]:
    try:
        await pair.client.start()
    except Exception as error:
        return [Result(pair.wire.title, pairing, "every case", "failed", f"the client did not start: {error}")]
    try:
        chosen = grpc_cases.CASES if pair.wire.name == "grpc" else casework.CASES
        return [await _verdict(pair.wire.title, pairing, name, casework.run(pair, one)) for name, one in chosen.items()]
    finally:
        await pair.client.stop()


async def _verdict(transport: str, pairing: str, name: str, work: Any) -> Result:
    try:
        await work
    except casework.NotSupported as error:
        return Result(transport, pairing, name, "not supported", str(error))
    except casework.NotApplicable as error:
        return Result(transport, pairing, name, "does not apply", str(error))
    except Exception as error:
        return Result(transport, pairing, name, "failed", f"{type(error).__name__}: {error}")
    return Result(transport, pairing, name, "passed")


def table(results: list[Result]) -> str:
    """Transports by pairings, each as passed/failed/not supported; then every case that did not pass, with why."""
    pairings = [one for one in PAIRINGS if any(result.pairing == one for result in results)]
    lines = ["passed / failed / not supported", "", f"{'':18}" + "".join(f"{one:>18}" for one in pairings)]
    for transport in dict.fromkeys(result.transport for result in results):
        cells = [_cell([r for r in results if (r.transport, r.pairing) == (transport, one)]) for one in pairings]
        lines.append(f"{transport:18}" + "".join(f"{cell:>18}" for cell in cells))
    lines.append(f"{'all':18}" + "".join(f"{_cell([r for r in results if r.pairing == p]):>18}" for p in pairings))
    for verdict in ("failed", "not supported", "does not apply"):
        grouped: dict[tuple[str, str], list[str]] = {}
        for one in results:
            if one.verdict == verdict:
                grouped.setdefault((one.case, one.reason), []).append(f"{one.transport}: {one.pairing}")
        lines += ["", f"{verdict}:{'' if grouped else ' none'}"]
        lines += [f"  {case}: {reason} ({'; '.join(_merged(where))})" for (case, reason), where in grouped.items()]
    return "\n".join(lines)


def _merged(where: list[str]) -> list[str]:
    """Transports with their pairings; a transport alone where all its pairings of client and service are meant."""
    by_transport: dict[str, list[str]] = {}
    for one in where:
        transport, _, pairing = one.partition(": ")
        by_transport.setdefault(transport, []).append(pairing)
    return [t if len(p) >= len(PAIRINGS) - 1 else f"{t}: {', '.join(p)}" for t, p in by_transport.items()]


def _cell(results: list[Result]) -> str:
    counts = [sum(one.verdict == verdict for one in results) for verdict in ("passed", "failed", "not supported")]
    return " / ".join(map(str, counts))
