"""Requests and their answers: data, patterns, replies, errors, streams."""

from __future__ import annotations

from typing import Any

from .casework import NotApplicable, case, ended, objects, same, sorted_by
from .peers import Pair

SHAPES = {
    "an object": {"id": 7, "tags": ["a", {"deep": None}], "ok": True},
    "an empty object": {},
    "an array": [1, "two", None, False, [3]],
    "an empty array": [],
    "text": "a letter",
    "empty text": "",
    "text beyond ASCII": "naïve Ωmega 郵便 ё",
    "emoji": "🚀 👩‍👩‍👧 ✉️",
    "quotes and control characters": 'a "quote", a \\, a\nnewline, a\ttab, \u0001, \u2028',
    "zero": 0,
    "a negative fraction": -1.5,
    "the largest safe integer": 9007199254740991,
    "1e+21": 1e21,
    "true": True,
    "false": False,
    "what looks like a reply": {"response": 1, "err": "no", "isDisposed": True, "id": "x"},
    "what looks like a packet": {"pattern": "echo", "data": 5, "id": "1"},
    "200 kB": ["é🚀" * 100] * 330,
}


for shape, value in SHAPES.items():

    @case(f"data: {shape}")
    async def _echo(pair: Pair, value: Any = value) -> None:
        ended(await pair.call("echo", value), "complete", [pair.wire.arrives(pair.wire.arrives(value))])


@case("data: null")
async def _null(pair: Pair) -> None:
    if pair.client.nest:  # a NestJS client sends neither null nor undefined
        ended(await pair.call("kind", None), "refused", [])
    else:  # on Kafka a NestJS handler gets the whole message instead
        whole = pair.wire.name == "kafka" and pair.service.nest
        ended(await pair.call("kind", None), "complete", ["object" if whole else "null"])


@case("data: missing")
async def _missing(pair: Pair) -> None:
    if not pair.client.nest:
        raise NotApplicable("Python has no undefined: None travels as null")
    ended(await pair.call("kind", missing=True), "refused", [])


@case("data: an integer beyond 2^53")
async def _big(pair: Pair) -> None:
    sent = 2**60 + 1
    exact = not (pair.client.nest or pair.service.nest)  # JavaScript's numbers are doubles
    outcome = await pair.call("echo", [sent])
    if exact:
        ended(outcome, "complete", [[sent]])
    else:
        same(float(outcome.values[0][0]), float(sent))


@case("data: half of an emoji")
async def _half(pair: Pair) -> None:
    half, unknown = "cut \ud83d", "cut \ufffd"
    outcome = await pair.call("echo", [half])
    if pair.client.nest:  # text that is to be UTF-8 holds no half characters, so U+FFFD stands for one
        ended(outcome, "complete", [[half if pair.service.nest else unknown]])
    else:
        ended(outcome, "refused", [])


@case("pattern: an object")
async def _object(pair: Pair) -> None:
    objects(pair)
    ended(await pair.call({"cmd": "sum"}, [1, 2, 3.5]), "complete", [6.5])


@case("pattern: a nested object, its keys in another order")
async def _nested(pair: Pair) -> None:
    objects(pair)
    sorted_by(pair)
    pattern = {"cmd_b": True, "cmd": "nested", "z": {"a": [1, "two"], "b": 2}}
    ended(await pair.call(pattern, "é"), "complete", [{"nested": "é"}])


@case("pattern: a number")
async def _number(pair: Pair) -> None:
    ended(await pair.call(42, 1), "complete", [{"number": pair.wire.arrives(1)}])


@case("pattern: text with dots")
async def _dotted(pair: Pair) -> None:
    ended(await pair.call("parcel.weight.get", {"id": 1}), "complete", [{"dotted": {"id": 1}}])


@case("pattern: an object as its text")
async def _as_text(pair: Pair) -> None:
    objects(pair)
    ended(await pair.call('{"cmd":"sum"}', [1, 2]), "complete", [3])


@case("reply: nothing")
async def _nothing(pair: Pair) -> None:
    empty = pair.service.nest and not pair.wire.null_ends_streams  # undefined; a Python function returns None
    ended(await pair.call("nothing", 1), "complete", [] if empty else [None])


@case("reply: null")
async def _nil(pair: Pair) -> None:
    ended(await pair.call("nil", 1), "complete", [None])


@case("error: RpcException of text")
async def _error_text(pair: Pair) -> None:
    ended(await pair.call("error.text", 1), "error", [], {"status": "error", "message": "no such parcel"})


@case("error: RpcException of an object")
async def _error_object(pair: Pair) -> None:
    expected = {"code": 404, "message": "no such parcel", "tags": ["é", 1]}
    ended(await pair.call("error.object", 1), "error", [], expected)


@case("error: any other, whose text stays inside")
async def _error_plain(pair: Pair) -> None:
    ended(await pair.call("error.plain", 1), "error", [], {"status": "error", "message": "Internal server error"})


@case("error: raised after an await")
async def _error_later(pair: Pair) -> None:
    ended(await pair.call("error.later", 1), "error", [], {"status": "error", "message": "later, no such parcel"})


def _ends_by_null(pair: Pair, count: int, speed: str) -> bool:
    """Kafka: whether the caller sees the end of a stream as one more value."""
    if pair.service.nest:
        return count == 0 or speed == "slow"  # else the last value bears the sign of the end
    return pair.client.nest and count == 0  # ours waits for the end a little longer


for count in (0, 1, 3):
    for speed in ("now", "slow"):

        @case(f"stream: {count} values, {'at once' if speed == 'now' else 'spread out'}")
        async def _stream(pair: Pair, count: int = count, speed: str = speed) -> None:
            expected = [pair.wire.arrives(value) for value in range(1, count + 1)]
            if pair.wire.null_ends_streams and _ends_by_null(pair, count, speed):
                expected.append(None)
            ended(await pair.call(f"stream.{speed}", count), "complete", expected)


for pattern in ("stream.fails", "stream.fails.slowly"):

    @case(f"stream: fails half-way, {'spread out' if 'slowly' in pattern else 'at once'}")
    async def _fails(pair: Pair, pattern: str = pattern) -> None:
        values = [pair.wire.arrives(value) for value in (1, 2)]
        ended(await pair.call(pattern, 1), "error", values, {"status": "error", "message": "half-way"})
