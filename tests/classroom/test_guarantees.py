"""Cells of the guarantee matrix: what a cell is called, its word, and one that really runs."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from classroom.checks.lab02 import guaranteeing
from classroom.checks.result import Over, Result
from classroom.checks.runs import Handling, Run
from classroom.guarantees import Cell, Seen, Trial, matrix
from classroom.ledger import start_ledger

SENT = ["1", "2", "3"]


def seen(*handled: str, refused: tuple[str, ...] = ()) -> Seen:
    """Three events were sent; these were handled."""
    return Seen(Cell("redis", "away"), Run(SENT, handled=[Handling(one, 0.0, "") for one in handled], refused=refused))


@pytest.mark.parametrize(("found", "word"), [
    (seen("1", "2", "3"), "all"),
    (seen("1", "2", "3", "3"), "twice"),
    (seen("1", "1"), "lost"),
    (seen(), "none"),
    (seen(refused=("1", "2", "3")), "refused"),
])  # fmt: skip
def test_a_cell_in_a_word(found: Seen, word: str):
    """Each word has one meaning, and a loss outweighs a repetition."""
    assert found.word == word
    assert repr(found).endswith(f": {word}")


def test_the_name_says_what_both_sides_promise():
    """The sender is named where it promises something else."""
    assert Cell("nats", "away", "at-least-once").name == "nats, at least once"
    assert Cell("nats", "away", "at-least-once", "at-most-once").name == "nats, at least once, sent at most once"


@pytest.mark.parametrize(("transport", "fault"), [("redis", "sleepy"), ("tcp", "slow"), ("tcp", "replicas")])
def test_what_makes_no_sense_is_refused(transport: str, fault: str):
    """A fault that there is not, and over TCP what needs a broker."""
    with pytest.raises(ValueError, match=fault):
        Cell(transport, fault)  # type: ignore[arg-type]


@pytest.mark.timeout(120)
async def test_cells_run_and_leave_nothing():
    """Over TCP the sender is told that nobody is there; killed, what the dead process held is lost."""
    async with await start_ledger() as book:
        away, killed = await matrix([Cell("tcp", "away"), Cell("tcp", "killed")], {"tcp": None}, book, messages=20)
    assert (away.word, away.refused) == ("refused", 20)
    assert killed.word == "lost"
    assert killed.handled >= 5


@pytest.mark.parametrize(("found", "settled", "told"), [
    ({}, True, ""),
    ({"unknown": ["1"]}, True, "of 1 events the sender was told neither yes nor no"),
    ({"refused": ["1"]}, True, "the sender was told of 1 events that they were not sent"),
    ({"refused": SENT}, True, ""),
    ({"taken": False}, True, "10 s after the last event the broker was still not done"),
    ({"frozen": 9.0}, True, "the reader stood still for 9.0 s"),
    ({}, False, "nothing came for 10 s"),
])  # fmt: skip
def test_what_else_happened_than_the_fault_is_told(found: dict[str, object], settled: bool, told: str):
    """What a busy machine did is not what the cell is about."""
    trial = Trial(Cell("nats", "slow"), None, SimpleNamespace(name="x"), "x")  # type: ignore[arg-type]
    trial.sent = dict.fromkeys(SENT, 0.0)
    vars(trial).update(found)
    assert trial._disturbed(settled=settled).startswith(told)
    assert bool(trial._disturbed(settled=settled)) == bool(told)


@pytest.mark.parametrize(("troubles", "passed"), [(["", ""], True), (["busy", ""], True), (["busy", "busy"], None)])
async def test_a_cell_that_was_disturbed_is_tried_once_more(
    troubles: list[str], passed: bool | None, monkeypatch: pytest.MonkeyPatch
):
    """And where it is disturbed again, there is no verdict, whatever the guess."""
    left = [*troubles]

    async def matrix(cells, *_):
        return [replace(seen(*SENT), cell=cell, disturbed=left.pop(0)) for cell in cells]

    monkeypatch.setattr(guaranteeing, "matrix", matrix)
    brokers = dict.fromkeys(guaranteeing.BROKERS, SimpleNamespace(url="nowhere"))
    result = Result("02.slow", "x")
    try:
        (found,) = await guaranteeing.run(result, [Cell("redis", "slow")], None, brokers, Random(0))  # type: ignore[arg-type]
        result.judge("it is all", found.word == "all")
    except Over:
        pass
    assert [one.passed for one in result.conditions] == [passed]
