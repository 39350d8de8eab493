"""The short form of `make faults`: on every transport, the breaks that show most, with few messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from .breaks import BREAKS
from .cell import Row
from .configs import CONFIGS, Config
from .table import details, table
from .theatre import Play, Theatre, cells

MESSAGES = 150
BY_NAME = {one.name: one for one in BREAKS}
SHORT = {"at-least-once": ("crash before ack", "poison messages"), "at-most-once": ("nothing", "crash before handler")}


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """The brokers, each started once."""
    one = Theatre(None)
    yield one
    asyncio.run(one.close())


@pytest.fixture(params=CONFIGS, ids=lambda config: config.name)
async def played(request: pytest.FixtureRequest, theatre: Theatre) -> list[Row]:
    """Two rows of one configuration."""
    config: Config = request.param
    return [await theatre.play(Play(config, BY_NAME[name], 1), MESSAGES) for name in SHORT[config.delivery]]


async def test_each_transport_keeps_its_promise(played: list[Row]) -> None:
    """As expected.toml says; and without the promise, a crash loses something: the check can see a loss."""
    for row in played:
        if row.error.startswith("NoBroker"):
            pytest.skip(row.error.splitlines()[0])
        assert row.good, "\n".join(details([row]))
        assert row.attempted == MESSAGES
    crashed = played[1 if played[0].fault == "nothing" else 0]
    assert (crashed.lost > 0) == (crashed.fault == "crash before handler"), table(played)


def test_what_is_not_as_expected_is_said() -> None:
    """The table and its details name the cell, the seed and the offence."""
    rows = [
        Row("A", "kill", 1, attempted=10, lost=1, offences=["none is lost: 1"], life="message 7"),
        Row("A", "kill", 2),
    ]
    assert "NOT as expected: seeds [1]" in table(rows)
    assert "A | kill | seed 1: none is lost: 1" in "\n".join(details(rows))
    assert table([rows[1]]).count("NOT") == 0


def test_cells_that_make_no_sense_are_left_out() -> None:
    """TCP has no broker to kill; what nobody acknowledges has no moment before its ack."""
    names = {str(one) for one in cells(CONFIGS, BREAKS, [1])}
    assert "TCP | broker killed | seed 1" not in names
    assert "TCP | crash before ack | seed 1" not in names
    assert "Kafka | broker killed | seed 1" in names
