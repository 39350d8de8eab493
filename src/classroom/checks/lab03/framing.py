"""Check 03.framing: frames of `length#text`, the length in UTF-16 code units, through pieces of any size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from typing import Any
from urllib.parse import urlsplit

from classroom.checks.lab03.feeding import Seen, fed_by, made_by
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


# What people write instead of the right length, and what to say about it.
LENGTHS: list[tuple[Callable[[str], int], str]] = [
    (len, "len(text): it counts code points, and 🚀 is one code point but two UTF-16 code units."),
    (lambda text: len(text.encode()), "the length in UTF-8 bytes: é is two bytes but one UTF-16 code unit."),
    (lambda text: len(text.encode("utf-16-le")), "bytes of UTF-16: a code unit has two. Divide by 2."),
    (lambda text: len(text.encode("utf-16")) // 2, "encode('utf-16'), which adds a byte order mark: use 'utf-16-le'."),
]


async def encodes(encode: Any, draw: Random) -> Condition:
    """`encode` writes the length, a # and the text in UTF-8, for every kind of text."""
    name, texts = "encode writes length#text, the length in UTF-16 code units", [*TEXTS, drawn(draw)]
    everything = await made_by(encode, texts)
    for text, made in zip(texts, everything, strict=True):
        if type(made) is bytes and made == frame(text):
            continue
        if type(made) is not bytes:
            return Condition(name, False, "bytes", type(made).__name__, "end with .encode().")
        return Condition(name, False, repr(frame(text)), repr(made), _encode_hint(texts, everything, text, made))
    return Condition(name, True)


def _encode_hint(texts: list[str], everything: list[Any], text: str, made: bytes) -> str:
    head, mark, body = made.partition(b"#")
    if not mark or not head.isdigit():
        return "a frame is the length in decimal digits, then #, then the text."
    if body != text.encode():
        return "the text goes behind the # as it is, in UTF-8."
    for wrong, words in LENGTHS:
        if everything == [frame(one, wrong) for one in texts]:
            return f"your length is {words}"
    return f"the length of {text!r} is {units(text)} UTF-16 code units; yours says {head.decode()}."


async def decodes_whole(decoder: Any) -> Condition:
    """One frame in one piece gives its text."""
    name = "a decoder gives the text of a frame that comes in one piece"
    for text, seen in zip(TEXTS, await fed_by(decoder, [[frame(text)] for text in TEXTS]), strict=True):
        if seen.wrong or seen.texts != [text]:
            return Condition(name, False, repr([text]), repr(seen), await _decode_hint(decoder, seen))
    return Condition(name, True)


async def _decode_hint(decoder: Any, seen: Seen) -> str:
    if seen.kind == "it returned":
        return "feed returns a list of texts: an empty one while no frame is complete."
    text = '"é🚀é🚀"'
    tries = await fed_by(decoder, [[frame(text, wrong)] for wrong, _ in LENGTHS[:3]])
    for (_, words), one in zip(LENGTHS[:3], tries, strict=True):
        if not one.wrong and one.texts == [text]:
            return f"your decoder counts {words}"
    return "the text begins behind the first # and has as many UTF-16 code units as the number says."


async def decodes_several(decoder: Any) -> Condition:
    """All frames of one piece come out, in order."""
    name = "several frames in one piece give several texts, in order"
    (seen,) = await fed_by(decoder, [[b"".join(map(frame, TEXTS))]])
    hint = "after a frame look whether the rest holds another one: a loop, not an if."
    told = seen.wrong or f"{len(seen.texts)} texts: {seen.texts!r:.120}"
    return Condition(name, not seen.wrong and seen.texts == TEXTS, f"{len(TEXTS)} texts", told, hint)


async def decodes_pieces(decoder: Any, draw: Random) -> Condition:
    """However the bytes are cut, each text comes out as soon as its last byte is in, and once."""
    name = "frames may be cut anywhere, even inside a character; each text comes with its last byte"
    every = [*cuts(draw)]
    for (texts, pieces), seen in zip(every, await fed_by(decoder, [pieces for _, pieces in every]), strict=True):
        size, so_far = 0, list[str]()
        for number, piece in enumerate(pieces):
            size += len(piece)
            wanted = complete(texts, size)
            broken = number >= len(seen.each)
            so_far += [] if broken else seen.each[number]
            if broken or so_far != wanted:
                told = f"{seen.wrong if broken else so_far!r:.120}; the pieces were {pieces!r:.160}"
                return Condition(name, False, f"{wanted!r:.120} after {size} bytes", told, _lost(seen, so_far))
    return Condition(name, True)


HALF = (
    "a piece may end inside a character. codecs.getincrementaldecoder('utf-8')() keeps the half of it until"
    " the rest comes."
)


def _lost(seen: Seen, so_far: list[str]) -> str:
    if "UnicodeDecodeError" in seen.wrong or "\ufffd" in str(so_far):
        return HALF
    return "keep what is not yet a whole frame, and put the next piece behind it; give each text once."


def complete(texts: list[str], size: int) -> list[str]:
    """The texts whose frames are complete within the first `size` bytes."""
    ends = (len(b"".join(map(frame, texts[: n + 1]))) for n in range(len(texts)))
    return [text for text, end in zip(texts, ends, strict=False) if end <= size]


def drawn(draw: Random) -> str:
    """A text of all that is hard to count."""
    return "".join(draw.choices('a#1"é漢🚀', k=draw.randint(1, 12)))


def cuts(draw: Random) -> Iterator[tuple[list[str], list[bytes]]]:
    """Frames and ways to cut them: first every single cut of a short one, then byte by byte, then at random."""
    for text in ("[]", '"é🚀"'):
        whole = frame(text)
        yield from (([text], [whole[:at], whole[at:]]) for at in range(1, len(whole)))
    whole = b"".join(map(frame, TEXTS))
    yield TEXTS, [whole[at : at + 1] for at in range(len(whole))]
    for _ in range(200):
        texts = [drawn(draw) for _ in range(draw.randint(1, 5))]
        whole = b"".join(map(frame, texts))
        marks = sorted(draw.choices(range(len(whole) + 1), k=draw.randint(0, 6)))
        yield texts, [whole[a:b] for a, b in zip([0, *marks], [*marks, len(whole)], strict=True)]


async def stays_apart(decoder: Any, draw: Random) -> Condition:
    """Two connections at once, a decoder each, do not mix."""
    name = "two connections at once, a decoder each, do not get each other's bytes"
    texts = [["[1]", drawn(draw)], [drawn(draw), "[2]"]]
    wholes = [b"".join(map(frame, those)) for those in texts]
    streams = [[whole[at : at + 1] for at in range(len(whole))] for whole in wholes]
    ends = await fed_by(decoder, streams, together=True)
    right = all(not seen.wrong and seen.texts == those for seen, those in zip(ends, texts, strict=True))
    hint = "keep what has come in self, made in __init__: a variable of the class or of the module is shared by all."
    return Condition(name, right, repr(texts), repr(ends), hint)


async def refuses(decoder: Any) -> Condition:
    """What can never become a frame raises ValueError instead of waiting for ever."""
    name = "what can be no frame is refused with ValueError"
    for garbage, seen in zip(GARBAGE, await fed_by(decoder, [[one] for one in GARBAGE]), strict=True):
        if seen.kind == "it raised" and seen.error in REFUSALS:
            continue
        told = seen.wrong if seen.kind == "it raised" else f"it returned {seen!r}"
        return Condition(name, False, f"ValueError for {garbage[:20]!r}", told, HEADER)
    return Condition(name, True)


REFUSALS = ("ValueError", "UnicodeDecodeError", "UnicodeEncodeError", "JSONDecodeError")  # a ValueError, each
HEADER = (
    "a header is a number from 1 up, of 10 digits at the most. Without a limit, a stream that has no # fills"
    " the memory."
)


async def speaks(encode: Any, decoder: Any) -> Condition:
    """A real service takes a frame of `encode`, and the decoder reads its answer."""
    from postoffice import Service, message_pattern

    @message_pattern("echo")
    async def echo(data: Any) -> Any:
        return data

    name, word = "a real service understands your frames, and you understand its answer", "é🚀"
    request = json.dumps({"pattern": "echo", "data": word, "id": "1"}, ensure_ascii=False)
    (made,) = await made_by(encode, [request])
    if type(made) is not bytes:
        return Condition(name, False, "bytes", type(made).__name__, "end with .encode().")
    async with Service(echo, url="tcp://127.0.0.1:0", name="echo") as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
        try:
            writer.write(made)
            pieces = await asyncio.wait_for(_read(reader), WIRE_LIMIT)
        except TimeoutError:
            return Condition(name, False, "an answer", f"none in {WIRE_LIMIT:g} s", "is the length too large?")
        finally:
            writer.close()
    (read,) = await fed_by(decoder, [pieces])
    return Condition(name, _responses(read) == [word], repr([word]), repr(read), "is the length too small?")


def _responses(read: Seen) -> list[Any]:
    try:
        return [json.loads(text).get("response") for text in read.texts]
    except (ValueError, AttributeError, RecursionError):
        return []


async def _read(reader: asyncio.StreamReader) -> list[bytes]:
    """The pieces of one frame, or those until the connection closes."""
    pieces = list[bytes]()
    while not _whole(b"".join(pieces)) and (piece := await reader.read(7)):
        pieces.append(piece)
    return pieces


def _whole(data: bytes) -> bool:
    head, mark, body = data.partition(b"#")
    return bool(mark) and units(body.decode(errors="ignore")) >= int(head)


async def judge(result: Result, draw: Random, encode: Any, decoder: Any) -> None:
    """All conditions of the task; the wire is tried only when both halves work."""
    wanted: Iterable[tuple[str, Callable[..., Awaitable[Condition]], tuple[Any, ...]]] = [
        ("encode writes frames", encodes, (encode, draw)),
        ("a decoder reads a frame", decodes_whole, (decoder,)),
        ("a decoder reads several frames", decodes_several, (decoder,)),
        ("a decoder takes bytes in pieces", decodes_pieces, (decoder, draw)),
        ("a decoder serves one connection", stays_apart, (decoder, draw)),
        ("a decoder refuses garbage", refuses, (decoder,)),
    ]
    for text, trial, subjects in wanted:
        result.conditions.append(await attempt(text, trial, *subjects))
    if result.passed:
        result.conditions.append(await attempt("a real service understands your frames", speaks, encode, decoder))
    else:
        result.judge("a real service understands your frames", None, hint="tried when all of the above hold.")
