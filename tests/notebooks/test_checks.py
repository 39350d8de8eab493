"""check() itself: how it is called, what it finds in a notebook, how it shows its result."""

from __future__ import annotations

import pytest

from classroom.checks import CheckError, Condition, Result, check
from classroom.events import Event, Life


async def test_an_unknown_check_names_those_there_are():
    """A slip in the name is met with the nearest name."""
    with pytest.raises(CheckError, match=r"no check named '03.frame'. Did you mean '03.framing'\?"):
        await check("03.frame", names={})


async def test_outside_a_notebook_it_says_so():
    """There are no variables to look at."""
    with pytest.raises(CheckError, match="no notebook is running"):
        await check("03.framing")


async def test_a_cell_that_was_not_run_is_named():
    """Every missing name is one failed condition that names the cell to run."""
    result = await check("03.framing", names={"encode": None})
    assert [condition.passed for condition in result.conditions] == [False]
    assert "'Decoder' yet. Run the cell of task 2 first" in repr(result)


def test_a_result_without_conditions_has_not_passed():
    """Nothing tried is nothing shown."""
    assert not Result("00.none", "nothing").passed


def test_what_was_not_judged_has_not_passed():
    """None is neither pass nor fail."""
    assert not Result("00.none", "nothing", [Condition("a", True), Condition("b", None)]).passed


def test_both_forms_say_the_same_and_text_is_escaped():
    """The table and the text hold every condition, what was seen and the hint; HTML in it stays text."""
    result = Result("00.x", "forms")
    result.judge("holds", True, seen="never shown")
    result.judge("fails", False, expected="a <b>", seen="<script>", hint="look & see")
    assert repr(result).splitlines() == [
        "00.x, forms: not yet, 1 of 2 conditions hold",
        "[pass] holds",
        "[FAIL] fails",
        "    expected: a <b>",
        "    seen: <script>",
        "    hint: look & see",
    ]
    html = result._repr_html_()
    assert "<b>seen: </b>&lt;script&gt;" in html
    assert "never shown" not in html
    assert "<script>" not in html


def test_a_public_check_never_says_all():
    """Other data may be tried later; only a result that is no public check's has simply passed."""
    assert repr(Result("00.x", "forms", [Condition("a", True)], public=True)).startswith(
        "00.x, forms: public checks passed, 1 of 1 conditions hold"
    )
    assert "public" not in repr(Result("00.x", "forms", [Condition("a", True)]))
    assert "public" not in repr(Result("00.x", "forms", [Condition("a", False)], public=True))


async def test_seed_0_is_the_public_one():
    """As a notebook calls it."""
    assert (await check("03.framing", names={})).public
    assert not (await check("03.framing", names={}, seed=1)).public


def test_the_counterexample_is_a_timeline_in_both_forms():
    """One event a row; of a condition that holds there is none."""
    life = Life(7, [Event(1.0, "the shop", "accepted", "7"), Event(2.5, "the check", "SIGTERM", "", "to <shop>")])
    result = Result("00.x", "forms")
    result.judge("holds", True, life=life)
    result.judge("fails", False, life=life)
    assert result.conditions[0].life is None
    assert repr(result).splitlines()[-2:] == [
        "         +0.000 s  the shop   accepted",
        "         +1.500 s  the check  SIGTERM   to <shop>",
    ]
    html = result._repr_html_()
    assert "message 7: what happened" in html
    assert html.count("<table>") == 2
    assert ">+1.500 s</td>" in html
    assert "to &lt;shop&gt;" in html


async def test_a_rehearsal_whose_broker_is_gone_gives_no_verdict_and_says_why(monkeypatch):
    """What breaks down before the first condition leaves the check without a verdict, and is no crash of the check."""
    from classroom.checks import rehearsal as module

    async def up(result, name, service):
        raise OSError("the broker is gone")

    class Twin:
        name, url = "x", "amqp://nowhere"

        def logs(self, lines):
            return "x is ready on nowhere"

        def kill(self):
            pass

    class Book:
        async def up(self):
            pass

    monkeypatch.setattr(module, "stands", lambda *_: True)
    monkeypatch.setattr(module, "ServiceHandle", object)
    monkeypatch.setattr(module, "copy_of", lambda *_: Twin())
    monkeypatch.setattr(module, "is_up", up)
    result = Result("05.ack", "x")
    async with module.rehearsal(result, "payments", Twin(), Twin(), Book()) as stage:
        assert stage is None
    assert result.conditions[-1].passed is None
    assert "the broker is gone" in result.conditions[-1].seen
