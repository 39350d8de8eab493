"""Check 03.break: for each of four wrong decoders, pieces that show its mistake, and no other decoder's."""

from __future__ import annotations

from typing import Any, TypeGuard

from classroom.checks.lab03.decoders import DECODERS, Decoder
from classroom.checks.result import Result

MOST_PIECES, MOST_BYTES = 50, 1_000
SHAPE = 'a list of bytes for each, such as [b\'3#"a"\', b\'3#"b"\']. A cut é is b"\\xc3" and b"\\xa9".'
NO_FRAMES = (
    "put all pieces together: they must be whole frames, each with the right length in UTF-16 code units, and nothing"
    " may be left. Otherwise a decoder is right to give nothing."
)
READS_WELL = {
    "Amber": "it turns each piece into text by itself. What can a piece end with, that is no text yet?",
    "Brown": "it takes one text out of each piece. When is that too few?",
    "Coral": "it counts with len(). For which character is that not the number of UTF-16 code units?",
    "Denim": "it wants a # wherever something has come. Where may TCP cut, so that it has not come yet?",
}
ANOTHER = "change one thing at a time: the smallest input that shows a mistake shows no other."


def mistake(pieces: list[bytes], decoder: Decoder) -> str:
    """Feed a decoder; how it went wrong, in words, or "" when each text came with its last byte."""
    right = Decoder()
    wanted: list[str] = []
    got: list[str] = []
    for number, piece in enumerate(pieces, 1):
        wanted += right.feed(piece)
        try:
            got += decoder.feed(piece)
        except ValueError as error:
            return f"{type(error).__name__} at piece {number}"
        if got != wanted:
            return f"{len(got)} of {len(wanted)} texts after piece {number}: {got!r:.60}"
    return ""


def are_frames(pieces: list[bytes]) -> bool:
    """Whether pieces are whole frames together, and at least one."""
    whole, right = b"".join(pieces), Decoder()
    try:
        texts = right.feed(whole)
    except ValueError:
        return False
    return bool(whole) and whole == b"".join(f"{right.size(text)}#{text}".encode() for text in texts if text)


def is_pieces(given: Any) -> TypeGuard[list[bytes]]:
    """Whether it is a list of bytes, and not too long."""
    if type(given) is not list or len(given) > MOST_PIECES or any(type(one) is not bytes for one in given):
        return False
    return sum(map(len, given)) <= MOST_BYTES


async def judge(result: Result, breaks: Any) -> None:
    """A condition for each decoder."""
    given = breaks if type(breaks) is dict else {}
    for name in DECODERS:
        text = f"the pieces for {name} show its mistake, and no other decoder's"
        pieces = given.get(name)
        if not is_pieces(pieces):
            limits = f"at most {MOST_PIECES} pieces and {MOST_BYTES:,} bytes"
            result.judge(text, False, expected=f"pieces, {limits}", seen=f"{pieces!r:.80}", hint=SHAPE)
            continue
        if not are_frames(pieces):
            result.judge(text, False, expected="whole frames", seen=f"{b''.join(pieces)!r:.200}", hint=NO_FRAMES)
            continue
        wrong = {one: told for one, kind in DECODERS.items() if (told := mistake(pieces, kind()))}
        seen = "; ".join(f"{one}: {told}" for one, told in wrong.items()) or "all four read these pieces well"
        hint = READS_WELL[name] if name not in wrong else ANOTHER
        result.judge(text, wrong.keys() == {name}, expected=f"{name} alone goes wrong", seen=seen, hint=hint)
