"""check() itself: how it is called, what it finds in a notebook, how it shows its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from classroom.checks import Check, CheckError, Condition, Result, check
from classroom.checks.needs import need, no_verdict
from classroom.events import Event, Life
from postoffice import ConnectionLost


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


@pytest.mark.parametrize(
    "error", [OSError("gone"), RuntimeError("gone"), ConnectionLost("gone"), ExceptionGroup("two", [OSError("gone")])]
)
async def test_what_breaks_down_ends_a_check_without_a_verdict(error: Exception):
    """At any moment, before the first condition too; what it was is told."""

    async def judge(result: Result) -> None:
        with no_verdict(result):
            raise error

    result = await judged(judge)
    assert [one.passed for one in result.conditions] == [None]
    assert result.conditions[0].seen.endswith(": gone")


@pytest.mark.parametrize("error", [ValueError("a bug"), ExceptionGroup("two", [OSError("gone"), ValueError("a bug")])])
async def test_a_bug_of_a_check_is_not_hidden(error: Exception):
    """It is no outage."""

    async def judge(result: Result) -> None:
        with no_verdict(result):
            raise error

    with pytest.raises((ValueError, ExceptionGroup)):
        await judged(judge)


async def test_what_is_missing_ends_a_check_and_what_is_there_is_not_told():
    """Nothing behind it is tried."""

    async def judge(result: Result) -> None:
        need(result, "a is there", True)
        need(result, "b is there", False, hint="make b.")
        result.judge("never tried", True)

    result = await judged(judge)
    assert [(one.text, one.passed, one.hint) for one in result.conditions] == [("b is there", False, "make b.")]


async def judged(judge: Callable[..., Awaitable[None]]) -> Result:
    result = Result("00.x", "x")
    await Check("x", {}, judge, "service", 1, 1).apply(result, 0, [])
    return result
