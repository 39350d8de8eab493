"""The decision table as questions: every verdict, the twin of each click, and words for what cannot be."""

import pytest

from classroom.views.decision import decide, readings
from classroom.views.decision_table import CASES, FACTORS, OPERATIONS, verdict
from classroom.views.view import Press


def answered(letters: str) -> dict[str, str]:
    """Answers to all factors, in order."""
    return dict(zip(FACTORS, letters, strict=True))


def test_each_case_answers_each_factor_with_a_letter_that_there_is():
    for case in CASES.values():
        assert [*case.answers] == [*FACTORS]
        assert all(letter in FACTORS[name].options for name, letter in case.answers.items())


@pytest.mark.parametrize(("letters", "words"), [
    ("aaaaaa", "stay with one program: 0 of 5"),
    ("ccbcca", "stay with one program: 1 of 5"),
    ("aaaaab", "stay with one program: 0 of 5"),  # to be able to run them is no reason to have them
    ("baabba", "not yet: 3 of 5 reasons for services (team, faults, data)"),
    ("bbbbbc", "not yet: 5 of 5"),
    ("bbabbb", "consider services: 4 of 5"),
])  # fmt: skip
def test_the_verdict_counts_reasons_and_asks_who_runs_it(letters: str, words: str):
    assert verdict(answered(letters)).startswith(words)


def test_what_is_not_answered_is_named():
    assert verdict({"team": "a"}).endswith("deploys, load, faults, data, operations")
    assert list(FACTORS)[-1] == OPERATIONS


async def test_a_click_and_its_twin_do_the_same():
    clicked, typed = decide(), decide()
    await clicked._act(Press({"act": "case", "arg": "2"}))
    await clicked._act(Press({"act": "load", "arg": "b"}))
    typed.choose("2")
    typed.answer("load", "b")
    assert clicked.page().text() == typed.page().text()
    assert typed.answers == {"load": "b"}
    assert CASES["2"].why not in typed.page().text(), "our reading comes after yours"


def test_a_case_that_is_answered_is_compared_and_answers_stay():
    decision = decide("4")
    for name, letter in answered("aaaaaa").items():
        decision.answer(name, letter)
    assert "deploys     a    c   another" in decision.page().text()
    decision.choose("1")
    assert decision.answers == {}
    decision.choose("4")
    assert len(decision.answers) == len(FACTORS)


def test_what_cannot_be_is_said():
    decision = decide("own")
    for wrong in (lambda: decide("6"), lambda: decision.answer("size", "a"), lambda: decision.answer("team", "d")):
        with pytest.raises(ValueError, match="there are"):
            wrong()
    with pytest.raises(ValueError, match="only the five cases"):
        decision.reading()


def test_the_readings_are_one_table_as_text_and_as_html():
    table = readings()
    assert "not yet" in repr(table)
    assert all(case.title in table._repr_html_() for case in CASES.values())
