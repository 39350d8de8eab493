"""Check 03.framing: the reference passes, the start does not, and known mistakes are answered by name."""

from __future__ import annotations

import codecs

import pytest

from classroom.checks import check, framing, trials


def encode(text: str) -> bytes:
    return f"{len(text.encode('utf-16-le')) // 2}#{text}".encode()


class Decoder:
    """The reference; the wrong ones below change one thing each."""

    limit = 10

    def __init__(self):
        self.utf8 = codecs.getincrementaldecoder("utf-8")()
        self.text = ""

    def feed(self, data: bytes) -> list[str]:
        self.text += self.decode(data)
        texts = []
        while (found := self.take()) is not None:
            texts.append(found)
        return texts

    def decode(self, data):
        return self.utf8.decode(data)

    def take(self):
        head, mark, rest = self.text.partition("#")
        if len(head) > self.limit or (mark and not self.is_length(head)):
            raise ValueError(f"{head!r} is no length")
        if not mark or self.size(rest) < int(head):
            return None
        text = self.cut(rest, int(head))
        self.text = rest[len(text) :]
        return text

    def is_length(self, head):
        return head.isdigit() and int(head) > 0

    def size(self, text):
        return len(text.encode("utf-16-le")) // 2

    def cut(self, text, units):
        return text.encode("utf-16-le")[: 2 * units].decode("utf-16-le")


class CountsCharacters(Decoder):
    def size(self, text):
        return len(text)

    def cut(self, text, units):
        return text[:units]


class CountsBytes(Decoder):
    def size(self, text):
        return len(text.encode())

    def cut(self, text, units):
        return text.encode()[:units].decode()


class DecodesEachPiece(Decoder):
    def decode(self, data):
        return data.decode()


class DropsHalves(Decoder):
    def decode(self, data):
        return data.decode(errors="replace")


class OneFrameAPiece(Decoder):
    def feed(self, data):
        self.text += self.decode(data)
        found = self.take()
        return [] if found is None else [found]


class ForgetsTheRest(Decoder):
    def feed(self, data):
        self.text = ""
        return super().feed(data)


class TakesAnyHeader(Decoder):
    limit = 10**9


class NeverEnds(Decoder):
    def feed(self, data):
        while True:
            self.take()


class ReturnsText(Decoder):
    def feed(self, data):
        return "".join(super().feed(data))


def starts(*_):
    raise NotImplementedError("Your code goes here.")


class Start:
    feed = starts


async def judged(encode=encode, decoder=Decoder):
    return await check("03.framing", names={"encode": encode, "Decoder": decoder})


async def test_the_reference_passes_every_condition():
    """Six conditions, the last over the wire with a real service."""
    result = await judged()
    assert result.passed, result
    assert len(result.conditions) == 6


async def test_the_unchanged_start_fails_and_says_that_it_is_not_written():
    """No condition holds, and the wire is not tried."""
    result = await judged(starts, Start)
    assert [condition.passed for condition in result.conditions] == [False] * 5 + [None]
    assert "NotImplementedError: Your code goes here." in repr(result)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda text: f"{len(text)}#{text}".encode(), "len(text): it counts code points"),
        (lambda text: f"{len(text.encode())}#{text}".encode(), "the length in UTF-8 bytes"),
        (lambda text: f"{len(text.encode('utf-16-le'))}#{text}".encode(), "Divide by 2"),
        (lambda text: f"{len(text.encode('utf-16')) // 2}#{text}".encode(), "byte order mark"),
        (lambda text: encode(text).decode(), "end with .encode()"),
        (lambda text: encode(text) + b"\n", "as it is, in UTF-8"),
        (lambda text: text.encode(), "decimal digits"),
    ],
)
async def test_a_wrong_encode_is_answered_by_name(wrong, hint):
    """Each known mistake has its own hint, and only the conditions about encode fail."""
    result = await judged(encode=wrong)
    assert [condition.passed for condition in result.conditions] == [False, True, True, True, True, None]
    assert hint in result.conditions[0].hint


@pytest.mark.parametrize(
    ("wrong", "place", "hint"),
    [
        (CountsCharacters, 1, "len(text): it counts code points"),
        (CountsBytes, 1, "the length in UTF-8 bytes"),
        (ReturnsText, 1, "feed returns a list"),
        (OneFrameAPiece, 2, "a loop, not an if"),
        (DecodesEachPiece, 3, "getincrementaldecoder"),
        (DropsHalves, 3, "getincrementaldecoder"),
        (ForgetsTheRest, 3, "keep what is not yet a whole frame"),
        (TakesAnyHeader, 4, "10 digits at the most"),
    ],
)
async def test_a_wrong_decoder_is_answered_by_name(wrong, place, hint):
    """The first condition that fails is the one that the mistake is about."""
    result = await judged(decoder=wrong)
    assert next(n for n, condition in enumerate(result.conditions) if not condition.passed) == place
    assert hint in result.conditions[place].hint


async def test_a_loop_that_never_ends_is_stopped_and_named(monkeypatch):
    """The kernel's loop goes on meanwhile, and the thread is gone afterwards."""
    monkeypatch.setattr(trials, "TRIAL_LIMIT", 0.3)
    condition = await trials.attempt("x", framing.decodes_whole, NeverEnds)
    assert condition.passed is False
    assert "look for a loop" in condition.hint
