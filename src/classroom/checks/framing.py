"""Check 03.framing: frames of `length#text`, the length in UTF-16 code units, through pieces of any size."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from classroom.checks.result import Condition, Result
from classroom.checks.trials import attempt

TEXTS = ['{"a":1}', '"é"', '"🚀"', '{"who":"Zoë 🚀👩‍🚀"}', '"3#x, and a # more"', "[]", '"' + "é🚀" * 40 + '"']
GARBAGE = [b"abc#{}", b"#{}", b"0#", b"-3#abc", b"1.5#a", b"9" * 64]
WIRE_LIMIT = 5.0  # seconds


def units(text: str) -> int:
    """The length of a text in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def frame(text: str, length: Callable[[str], int] = units) -> bytes:
    """A frame, by default a right one."""
    return f"{length(text)}#{text}".encode()


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the exception it raises; only "not written yet" goes on to the caller."""
    try:
        return function(*arguments)
    except NotImplementedError:
        raise
    except Exception as error:
        return error


# What people write instead of the right length, and what to say about it.
LENGTHS: list[tuple[Callable[[str], int], str]] = [
    (len, "len(text): it counts code points, and 🚀 is one code point but two UTF-16 code units."),
    (lambda text: len(text.encode()), "the length in UTF-8 bytes: é is two bytes but one UTF-16 code unit."),
    (lambda text: len(text.encode("utf-16-le")), "bytes of UTF-16: a code unit has two. Divide by 2."),
    (lambda text: len(text.encode("utf-16")) // 2, "encode('utf-16'), which adds a byte order mark: use 'utf-16-le'."),
]


def encodes(encode: Callable[[str], bytes]) -> Condition:
    """`encode` writes the length, a # and the text in UTF-8, for every kind of text."""
    name = "encode writes length#text, the length in UTF-16 code units"
    for text in TEXTS:
        made = encode(text)
        if made == frame(text):
            continue
        if not isinstance(made, bytes):
            return Condition(name, False, "bytes", type(made).__name__, "end with .encode().")
        return Condition(name, False, repr(frame(text)), repr(made), _encode_hint(encode, text, made))
    return Condition(name, True)


def _encode_hint(encode: Callable[[str], bytes], text: str, made: bytes) -> str:
    head, mark, body = made.partition(b"#")
    if not mark or not head.isdigit():
        return "a frame is the length in decimal digits, then #, then the text."
    if body != text.encode():
        return "the text goes behind the # as it is, in UTF-8."
    for wrong, words in LENGTHS:
        if all(encode(one) == frame(one, wrong) for one in TEXTS):
            return f"your length is {words}"
    return f"the length of {text!r} is {units(text)} UTF-16 code units; yours says {head.decode()}."


def decodes_whole(decoder: Callable[[], Any]) -> Condition:
    """One frame in one piece gives its text."""
    name = "a decoder gives the text of a frame that comes in one piece"
    for text in TEXTS:
        seen = outcome(decoder().feed, frame(text))
        if seen != [text]:
            return Condition(name, False, repr([text]), repr(seen), _decode_hint(decoder, seen))
    return Condition(name, True)


def _decode_hint(decoder: Callable[[], Any], seen: Any) -> str:
    if not isinstance(seen, list | Exception):
        return "feed returns a list of texts: an empty one while no frame is complete."
    text = '"é🚀é🚀"'
    for wrong, words in LENGTHS[:3]:
        if outcome(decoder().feed, frame(text, wrong)) == [text]:
            return f"your decoder counts {words}"
    return "the text begins behind the first # and has as many UTF-16 code units as the number says."


def decodes_several(decoder: Callable[[], Any]) -> Condition:
    """All frames of one piece come out, in order."""
    name = "several frames in one piece give several texts, in order"
    seen = outcome(decoder().feed, b"".join(map(frame, TEXTS)))
    hint = "after a frame look whether the rest holds another one: a loop, not an if."
    return Condition(name, seen == TEXTS, f"{len(TEXTS)} texts", _counted(seen), hint)


def _counted(seen: Any) -> str:
    return f"{len(seen)} texts: {seen!r:.120}" if isinstance(seen, list) else repr(seen)


def decodes_pieces(decoder: Callable[[], Any]) -> Condition:
    """However the bytes are cut, each text comes out as soon as its last byte is in, and once."""
    name = "frames may be cut anywhere, even inside a character; each text comes with its last byte"
    for texts, pieces in cuts():
        size, instance = 0, decoder()
        seen: Any = []
        for piece in pieces:
            size += len(piece)
            new = outcome(instance.feed, piece)
            seen = [*seen, *new] if isinstance(new, list) else new
            wanted = complete(texts, size)
            if seen != wanted:
                told = f"{seen!r:.120}; the pieces were {pieces!r:.160}"
                return Condition(name, False, f"{wanted!r:.120} after {size} bytes", told, _lost(seen))
    return Condition(name, True)


HALF = (
    "a piece may end inside a character. codecs.getincrementaldecoder('utf-8')() keeps the half of it until"
    " the rest comes."
)


def _lost(seen: Any) -> str:
    if isinstance(seen, UnicodeDecodeError) or "\ufffd" in str(seen):
        return HALF
    return "keep what is not yet a whole frame, and put the next piece behind it; give each text once."


def complete(texts: list[str], size: int) -> list[str]:
    """The texts whose frames are complete within the first `size` bytes."""
    ends = (len(b"".join(map(frame, texts[: n + 1]))) for n in range(len(texts)))
    return [text for text, end in zip(texts, ends, strict=False) if end <= size]


def cuts() -> Iterator[tuple[list[str], list[bytes]]]:
    """Frames and ways to cut them: first every single cut of a short one, then byte by byte, then at random."""
    for text in ("[]", '"é🚀"'):
        whole = frame(text)
        yield from (([text], [whole[:at], whole[at:]]) for at in range(1, len(whole)))
    whole = b"".join(map(frame, TEXTS))
    yield TEXTS, [whole[at : at + 1] for at in range(len(whole))]
    chance = random.Random(803)
    for _ in range(200):
        texts = ["".join(chance.choices('a#1"é漢🚀', k=chance.randint(1, 12))) for _ in range(chance.randint(1, 5))]
        whole = b"".join(map(frame, texts))
        marks = sorted(chance.choices(range(len(whole) + 1), k=chance.randint(0, 6)))
        yield texts, [whole[a:b] for a, b in zip([0, *marks], [*marks, len(whole)], strict=True)]


def refuses(decoder: Callable[[], Any]) -> Condition:
    """What can never become a frame raises ValueError instead of waiting for ever."""
    name = "what can be no frame is refused with ValueError"
    for garbage in GARBAGE:
        try:
            seen = decoder().feed(garbage)
        except ValueError:
            continue
        return Condition(name, False, f"ValueError for {garbage[:20]!r}", f"it returned {seen!r}", HEADER)
    return Condition(name, True)


HEADER = (
    "a header is a number from 1 up, of 10 digits at the most. Without a limit, a stream that has no # fills"
    " the memory."
)


async def speaks(encode: Callable[[str], bytes], decoder: Callable[[], Any]) -> Condition:
    """A real service takes a frame of `encode`, and the decoder reads its answer."""
    from postoffice import Service, message_pattern

    @message_pattern("echo")
    async def echo(data: Any) -> Any:
        return data

    name, word = "a real service understands your frames, and you understand its answer", "é🚀"
    request = json.dumps({"pattern": "echo", "data": word, "id": "1"}, ensure_ascii=False)
    async with Service(echo, url="tcp://127.0.0.1:0", name="echo") as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        try:
            writer.write(encode(request))
            texts = await asyncio.wait_for(_read(reader, decoder()), WIRE_LIMIT)
        except TimeoutError:
            return Condition(name, False, "an answer", f"none in {WIRE_LIMIT:g} s", "is the length too large?")
        finally:
            writer.close()
    seen = [json.loads(text).get("response") for text in texts]
    return Condition(name, seen == [word], repr([word]), repr(texts), "is the length too small?")


async def _read(reader: asyncio.StreamReader, decoder: Any) -> list[str]:
    """Read until the decoder has something or the connection closes."""
    while piece := await reader.read(7):
        if texts := decoder.feed(piece):
            return list(texts)
    return []


async def judge(result: Result, encode: Callable[[str], bytes], decoder: Callable[[], Any]) -> None:
    """All conditions of the task; the wire is tried only when both halves work."""
    trials: Iterable[tuple[str, Callable[..., Condition], Any]] = [
        ("encode writes frames", encodes, encode),
        ("a decoder reads a frame", decodes_whole, decoder),
        ("a decoder reads several frames", decodes_several, decoder),
        ("a decoder takes bytes in pieces", decodes_pieces, decoder),
        ("a decoder refuses garbage", refuses, decoder),
    ]
    for text, trial, subject in trials:
        result.conditions.append(await attempt(text, trial, subject))
    if result.passed:
        result.conditions.append(await speaks(encode, decoder))
    else:
        result.judge("a real service understands your frames", None, hint="tried when all of the above hold.")
