"""The picture of the ledger's calls over time: what it counts, and what it cannot draw."""

from __future__ import annotations

import pytest

from classroom.ledger.rows import Row, Rows


def row(at: float, **fields: object) -> Row:
    """A call that came at this time."""
    return Row(1, at, at, "charge", 1, 10.0, None, fields, "effect", 1, True, "till", 0, 1)


def test_calls_are_counted_in_each_stretch_of_time_for_each_group():
    """A call at a border belongs to the stretch that begins there; the first call is at 0."""
    rows = Rows([row(100.0, waits="long"), row(100.1, waits="long"), row(100.25, waits="long"), row(101.0, waits="no")])
    picture = rows.rate("waits", every=0.25)
    lines = [line.split() for line in str(picture).splitlines()]
    assert ["long", "3", "2", "2"] in lines
    assert ["no", "1", "1", "1"] in lines
    assert ["0.00", "s", "2", "0"] in lines
    assert ["0.25", "s", "1", "0"] in lines
    assert ["1.00", "s", "0", "1"] in lines
    assert sum(int(line[2]) for line in lines if line[1:2] == ["s"]) == 3


def test_columns_of_the_ledger_are_groups_too():
    """Whatever the caller gave besides comes first, then the row's own."""
    assert "charge" in str(Rows([row(0.0)]).rate())
    assert "till" in str(Rows([row(0.0)]).rate("service"))
    assert "mine" in str(Rows([row(0.0, service="mine")]).rate("service"))


def test_the_picture_says_in_words_what_it_shows_and_has_a_table():
    """For who cannot see it; text stays text."""
    html = Rows([row(0.0, by="<b>&")]).rate("by")._repr_html_()
    assert 'aria-label="Calls to the ledger in each 0.1 s. &lt;b&gt;&amp;: 1 calls, at most 1 in 0.1 s"' in html
    assert "<table>" in html
    assert "<b>" not in html


def test_what_cannot_be_drawn_says_both_numbers():
    """Nothing, or a night of calls in tenths of a second."""
    with pytest.raises(ValueError, match="0 groups"):
        Rows([]).rate()
    with pytest.raises(ValueError, match=r"1 groups over 36,001 bars of 0\.1 s: at most 400"):
        Rows([row(0.0), row(3600.0)]).rate()
