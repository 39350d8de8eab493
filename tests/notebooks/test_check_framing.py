"""Check 03.framing: what fails alone, and what never ends. (tests/mutants has the wrong solutions.)"""

from __future__ import annotations

from classroom.checks import check, trials
from classroom.checks.lab03 import framing
from classroom.checks.lab03.decoders import Decoder


def starts(*_):
    raise NotImplementedError("Your code goes here.")


class Start:
    feed = starts


class Strict(Decoder):
    """Refuses what is no frame, too."""

    def split(self, text):
        head, mark, rest = super().split(text)
        if len(head) > 10 or (mark and not (head.isdecimal() and int(head) > 0)):
            raise ValueError(f"{head!r} is no length")
        return head, mark, rest


class NeverEnds(Decoder):
    def feed(self, data):
        while True:
            self.take()


async def test_the_unchanged_start_fails_and_says_that_it_is_not_written():
    """No condition holds, and the wire is not tried."""
    result = await check("03.framing", names={"encode": starts, "Decoder": Start})
    assert [condition.passed for condition in result.conditions] == [False] * 6 + [None]
    assert "NotImplementedError: Your code goes here." in repr(result)


async def test_a_wrong_encode_fails_alone():
    """What is right of the decoder is said to be."""
    result = await check("03.framing", names={"encode": str.encode, "Decoder": Strict})
    assert [condition.passed for condition in result.conditions] == [False, True, True, True, True, True, None]


async def test_a_loop_that_never_ends_is_stopped_and_named(monkeypatch):
    """The kernel's loop goes on meanwhile, and the thread is gone afterwards."""
    monkeypatch.setattr(trials, "TRIAL_LIMIT", 0.3)
    condition = await trials.attempt("x", framing.decodes_whole, NeverEnds)
    assert condition.passed is False
    assert "look for a loop" in condition.hint
