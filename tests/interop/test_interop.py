"""postoffice and real NestJS, in short: two transports, both directions. `make interop` has the whole table."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from classroom.brokers import NoBroker

from . import casework
from .campaign import CONTROL, NEST_OURS, OURS_NEST, PAIRINGS, Result, campaign, table
from .node import Node, NoNode, find_node, install
from .peers import Call, NestClient, NestService, OurClient, Pair, Place
from .wires import WIRES

SHORT = ["tcp", "redis"]


@pytest.fixture(scope="session", name="node")
def node_with_nest() -> Node:
    """Node.js, with both versions of NestJS at hand."""
    try:
        node = find_node()
        for version in ("nest12", "nest11"):
            install(version, node)
    except NoNode as error:
        pytest.skip(str(error))
    return node


def judge(results: list[Result]) -> None:
    """Nothing failed, and most cases ran."""
    failed = [one for one in results if one.verdict == "failed"]
    assert not failed, table(results)
    reasons = {one.reason for one in results if one.case == "every case"}
    if reasons:
        pytest.skip("; ".join(reasons))
    assert sum(one.verdict == "passed" for one in results) > 0.8 * len(results), table(results)


@pytest.mark.parametrize("transport", SHORT)
async def test_a_nest_client_and_our_service_and_the_other_way_round(transport: str, node: Node) -> None:
    """Every case, with each side once in each role."""
    judge(await campaign([WIRES[transport]], node, pairings=[NEST_OURS, OURS_NEST]))


async def test_nest_before_version_12(node: Node) -> None:
    """The same with NestJS 11, which has no metadata and another rule for what is a reply."""
    judge(await campaign([WIRES["tcp, 11"]], node))


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", WIRES)
async def test_every_pairing_on_every_transport(transport: str, node: Node) -> None:
    """The same as `make interop`: replicas of both kinds too, and NestJS with itself as the control."""
    judge(await campaign([WIRES[transport]], node, pairings=PAIRINGS))


async def test_a_case_that_does_not_hold_fails(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign can fail: a wrong expectation and an answer that never comes are both found."""

    async def wrong(pair: Pair) -> None:
        casework.ended(await pair.call("echo", 1), "complete", [2])

    async def silent(pair: Pair) -> None:
        casework.same((await pair.call("slow", {"ms": 5000, "n": 1}, limit=0.1)).end, "complete")

    monkeypatch.setattr(casework, "CASES", {"wrong": wrong, "silent": silent})
    results = await campaign([WIRES["tcp"]], node, pairings=[OURS_NEST, CONTROL])
    assert [one.verdict for one in results] == ["failed"] * 4
    assert "expected ['complete', [2], None], got ['complete', [1], None]" in table(results)


async def test_a_broker_that_nothing_can_serve_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not passed, not failed: not run, with the reason."""

    async def none(kind: str, name: str) -> None:
        raise NoBroker(f"nothing on this machine can serve {kind}")

    monkeypatch.setattr("interop.campaign.start_broker", none)
    (result,) = await campaign([WIRES["redis"]], node, pairings=[OURS_NEST])
    assert (result.verdict, result.reason) == ("does not apply", "nothing on this machine can serve redis")


def test_without_node_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing, and what would help."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.node.HERE", tmp_path / "a" / "b" / "c")
    with pytest.raises(NoNode, match=r"no Node.js 20 or newer \(on PATH: none\).*Install Node.js"):
        find_node()


async def test_a_nest_process_ends_with_its_test(node: Node) -> None:
    """One that is stopped is gone, and so is its folder; the packages in the cache stay."""
    packages = install("nest12", node)
    service = NestService(Place("tcp", "tcp://127.0.0.1:0"), node, packages)
    await service.start()
    child, folder = service._child, service._folder
    assert child.alive
    await service.stop()
    async with asyncio.timeout(5):
        await child.wait()
    assert not folder.exists()
    assert (packages / "node_modules" / "@nestjs").is_dir()


ENVELOPES = {  # what a service answers: what it is for a client as of 12, and for one before
    '{"response":1,"isDisposed":true,"id":ID}': ([1], [1]),
    '{"response":1,"isDisposed":true,"id":ID,"trace":"x"}': (
        [{"response": 1, "isDisposed": True, "id": "ID", "trace": "x"}],
        [1],
    ),
    '{"isDisposed":true,"id":ID,"trace":"x"}': ([{"isDisposed": True, "id": "ID", "trace": "x"}], []),
    '{"status":"done","total":5,"id":ID}': (
        [{"status": "done", "total": 5, "id": "ID"}],
        [{"status": "done", "total": 5, "id": "ID"}],
    ),
}


@pytest.mark.parametrize("answer", ENVELOPES)
async def test_a_reply_with_a_key_more_is_a_value_since_nest_12(answer: str, node: Node) -> None:
    """Our client reads replies as NestJS 12 does; 11 took what looks like a reply for one."""

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int((await reader.readuntil(b"#"))[:-1])
        identity = json.loads(await reader.readexactly(length))["id"]
        text = answer.replace("ID", json.dumps(identity))
        writer.write(f"{len(text)}#{text}".encode())
        ids.append(identity)
        await reader.read()
        writer.close()

    ids: list[str] = []
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    place = Place("tcp", f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    clients = [OurClient(place), *(NestClient(place, node, install(one, node)) for one in ("nest12", "nest11"))]
    found = []
    for client in clients:
        await client.start()
        (outcome,) = await client.calls([Call("any", 1, limit=2.0)])
        await client.stop()
        assert outcome.end == "complete", outcome
        found.append(json.loads(json.dumps(outcome.values).replace(ids[-1], "ID")))
    server.close()
    as_of_12, before = ENVELOPES[answer]
    assert found == [as_of_12, as_of_12, before]
