"""postoffice and real NestJS, in short: two transports, both directions. `make interop` has the whole table."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from classroom.brokers import NoBroker

from . import cases
from .campaign import CONTROL, NEST_OURS, OURS_NEST, PAIRINGS, Result, campaign, table
from .node import Node, NoNode, find_node, install
from .wires import WIRES

SHORT = ["tcp", "redis"]


@pytest.fixture(scope="session", name="nest")
def real_nest() -> tuple[Node, Path]:
    """Node.js and NestJS 12."""
    try:
        node = find_node()
        return node, install("nest12", node)
    except NoNode as error:
        pytest.skip(str(error))


def judge(results: list[Result]) -> None:
    """Nothing failed, and most cases ran."""
    failed = [one for one in results if one.verdict == "failed"]
    assert not failed, table(results)
    reasons = {one.reason for one in results if one.case == "every case"}
    if reasons:
        pytest.skip("; ".join(reasons))
    assert sum(one.verdict == "passed" for one in results) > 0.8 * len(results), table(results)


@pytest.mark.parametrize("transport", SHORT)
async def test_a_nest_client_and_our_service_and_the_other_way_round(transport: str, nest: tuple[Node, Path]) -> None:
    """Every case, with each side once in each role."""
    judge(await campaign([transport], *nest, pairings=[NEST_OURS, OURS_NEST]))


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", WIRES)
async def test_every_pairing_on_every_transport(transport: str, nest: tuple[Node, Path]) -> None:
    """The same as `make interop`: replicas of both kinds too, and NestJS with itself as the control."""
    judge(await campaign([transport], *nest, pairings=PAIRINGS))


async def test_a_case_that_does_not_hold_fails(nest: tuple[Node, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign can fail: a wrong expectation and an answer that never comes are both found."""

    async def wrong(pair: cases.Pair) -> None:
        cases.ended(await pair.call("echo", 1), "complete", [2])

    async def silent(pair: cases.Pair) -> None:
        cases.same((await pair.call("slow", {"ms": 5000, "n": 1}, limit=0.1)).end, "complete")

    monkeypatch.setattr(cases, "CASES", {"wrong": wrong, "silent": silent})
    results = await campaign(["tcp"], *nest, pairings=[OURS_NEST, CONTROL])
    assert [one.verdict for one in results] == ["failed"] * 4
    assert "expected ['complete', [2], None], got ['complete', [1], None]" in table(results)


async def test_a_broker_that_nothing_can_serve_is_told(
    nest: tuple[Node, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not passed, not failed: not run, with the reason."""

    async def none(kind: str, name: str) -> None:
        raise NoBroker(f"nothing on this machine can serve {kind}")

    monkeypatch.setattr("interop.campaign.start_broker", none)
    (result,) = await campaign(["redis"], *nest, pairings=[OURS_NEST])
    assert (result.verdict, result.reason) == ("does not apply", "nothing on this machine can serve redis")


def test_without_node_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing, and what would help."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("interop.node.HERE", tmp_path / "a" / "b" / "c")
    with pytest.raises(NoNode, match=r"no Node.js 20 or newer \(on PATH: none\).*Install Node.js"):
        find_node()


async def test_a_nest_process_ends_with_its_test(nest: tuple[Node, Path]) -> None:
    """One that is stopped is gone, and so is its folder; the packages in the cache stay."""
    from .peers import NestService, Place

    service = NestService(Place("tcp", "tcp://127.0.0.1:0"), *nest)
    await service.start()
    child, folder = service._child, service._folder
    assert child.alive
    await service.stop()
    async with asyncio.timeout(5):
        await child.wait()
    assert not folder.exists()
    assert (nest[1] / "node_modules" / "@nestjs").is_dir()
