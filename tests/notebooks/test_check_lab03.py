"""The checks of lab 03 meet what is no solution at all. (tests/mutants has the wrong solutions.)"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from classroom.checks import Result, check
from classroom.checks.guesses import FORMS, compare, need_answers
from classroom.checks.lab03.breaking import are_frames, mistake
from classroom.checks.lab03.decoders import DECODERS, Decoder
from classroom.checks.result import Over
from postoffice.transports.framing import frame


@pytest.mark.parametrize(("name", "variable"), [("03.till", "till"), ("03.block", "desk")])
async def test_a_variable_that_is_no_service_any_more_is_named(name: str, variable: str):
    """A reader who assigned to the name is told to run the cell again."""
    result = await check(name, names={variable: 42})
    assert [(one.text, one.seen) for one in result.conditions] == [(f"{variable} is a service", "42")]
    assert f"run the %%service {variable} cell again" in repr(result)


async def test_without_a_ledger_the_shop_is_not_tried():
    """The first cell is named."""
    result = await check("03.drain", names={"shop": None, "book": 42})
    assert [one.text for one in result.conditions] == ["book is a ledger that runs"]
    assert "run the first cell" in result.conditions[0].hint


class Liar(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize("guess", [Liar("waits"), "Waits", ["waits"], {"waits"}, None, 1, True, [[]], {}, object()])
def test_a_guess_is_right_by_type_and_value_only(guess: Any):
    """Whatever else stands there is wrong, and breaks nothing."""
    result = Result("00.x", "guesses")
    compare(result, {"a": guess}, {"a": "waits"}, {"a": "what?"}, {"a": {"": "nothing"}}, "look again")
    assert [one.passed for one in result.conditions] == [False]
    assert result.conditions[0].hint == ("look again" if type(guess) is str else FORMS[str])


def test_a_list_is_looked_up_by_its_texts():
    """So a wrong list has a reason of its own, too."""
    result = Result("00.x", "guesses")
    compare(result, {"a": ["x", "y"]}, {"a": ["x"]}, {"a": "which?"}, {"a": {"x, y": "not y"}}, "look again")
    assert result.conditions[0].hint == "not y"


@pytest.mark.parametrize(
    ("prediction", "seen"), [(7, "7"), ({"a": 1}, "missing: b"), ({"a": ..., "b": 2, "c": 3}, "still ...: a")]
)
def test_what_is_no_answer_to_all_questions_is_named(prediction: Any, seen: str):
    """Nothing is compared then."""
    result = Result("00.x", "guesses")
    with pytest.raises(Over):
        need_answers(result, prediction, {"a": "one?", "b": "two?"})
    assert result.conditions[0].seen == seen


def test_the_decoder_that_the_four_share_is_right():
    """However the frames are cut, it gives what postoffice framed."""
    draw = Random(3)
    for _ in range(200):
        texts = ["".join(draw.choices('a#1"é漢🚀', k=draw.randint(1, 9))) for _ in range(draw.randint(1, 4))]
        whole = b"".join(frame(text.encode()) for text in texts)
        marks = sorted(draw.choices(range(len(whole) + 1), k=draw.randint(0, 5)))
        pieces = [whole[a:b] for a, b in zip([0, *marks], [*marks, len(whole)], strict=True)]
        decoder = Decoder()
        assert [text for piece in pieces for text in decoder.feed(piece)] == texts
        assert are_frames(pieces)
        assert mistake(pieces, Decoder()) == ""


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"3#a"], [b"1#ab"], [b"0#"], [b"x#a"], [b"1#\xff"], [b"01#a"], [b"-1#a"], [b"1" * 900]]
)
def test_what_are_no_whole_frames_shows_no_mistake(pieces: list[bytes]):
    """A decoder may do with it what it likes."""
    assert not are_frames(pieces)


PIECES = [None, 7, b"1#a", [b"1#a"] * 51, [b"9" * 1001], [bytearray(b"1#a")], ["1#a"]]


@pytest.mark.parametrize("given", [None, 7, {}, *(dict.fromkeys(DECODERS, one) for one in PIECES)])
async def test_what_are_no_pieces_is_said_for_each_decoder(given: Any):
    """With the shape that is wanted, and its limits."""
    result = await check("03.break", names={"breaks": given})
    assert [one.passed for one in result.conditions] == [False] * len(DECODERS)
    assert all("a list of bytes for each" in one.hint for one in result.conditions)
