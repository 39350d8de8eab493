"""How a check asks a learner's function: it ends, and what comes back is plain data."""

from __future__ import annotations

import asyncio
import time

import pytest

from classroom.checks.asking import ask, not_plain


async def test_a_function_is_asked_and_so_is_an_async_one():
    """Both answer with their value."""

    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    assert (await ask(lambda a, b: [a, b], 1, b"x")).value == [1, b"x"]
    assert (await ask(double, 4)).value == 8


def fails():
    raise KeyError("no")


def leaves():
    raise SystemExit(3)


@pytest.mark.parametrize(("function", "kind"), [(fails, "KeyError"), (leaves, "SystemExit"), (object, "TypeError")])
async def test_what_it_raises_is_told(function, kind):
    """By its kind and in a line; what is no plain data, too."""
    answer = await ask(function)
    assert answer.kind == kind
    assert answer.error.startswith(kind)


async def test_one_that_never_ends_is_stopped():
    """Even where it waits in a loop of its own."""

    def waits():
        while True:
            time.sleep(0.001)

    assert (await ask(waits, limit=0.2)).kind == "TooLong"


class Liar(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Liar("x"), "a Liar"),
        ([{"a": {1}}], "a set"),
        ({Liar("x"): 1}, "a Liar"),
        ("x" * 2_000_000, "too much"),
        ([[[1, 2.5, None, True, b"x"]], {"a": ()}], ""),
    ],
)
def test_only_plain_data_passes(value, says):
    """A subclass of str is not: its __eq__ may lie."""
    assert not_plain(value) == says


def test_a_list_in_itself_is_too_much():
    """It ends."""
    loop: list[object] = []
    loop.append(loop)
    assert not_plain(loop) == "too much"
