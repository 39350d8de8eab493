"""Cells of the guarantee matrix: what a cell is called, its word, and one that really runs."""

from __future__ import annotations

import pytest

from classroom.checks.runs import Handling, Run
from classroom.guarantees import Cell, Seen, matrix
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
