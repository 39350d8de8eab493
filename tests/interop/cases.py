"""What must hold whoever is the client and whoever is the service. Each case is stated once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .peers import Call, Outcome, Pair

__all__ = ["CASES", "NotApplicable", "NotSupported", "run", "same"]


class NotSupported(Exception):
    """NestJS can do it here and we cannot; the text says what is missing."""


class NotApplicable(Exception):
    """There is nothing of the kind on this transport, or on this side; the text says why."""


CASE_LIMIT = 40.0  # seconds
Case = Callable[[Pair], Awaitable[None]]
CASES: dict[str, Case] = {}

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


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, f"two cases are called {name!r}"
        CASES[name] = function
        return function

    return add


def same(found: Any, expected: Any) -> None:
    """Equal as JSON is: 1 and True differ, 1 and 1.0 do not."""
    if found != expected or isinstance(found, bool) is not isinstance(expected, bool):
        raise AssertionError(f"expected {_short(expected)}, got {_short(found)}")


def ended(outcome: Any, end: str, values: list[Any], error: Any = None) -> None:
    same([outcome.end, outcome.values, outcome.error], [end, values, error])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def objects(pair: Pair) -> None:
    if not pair.wire.objects:
        raise NotApplicable("an object is no address here; both sides take text")


def sorted_by(pair: Pair) -> None:
    if pair.client.nest and not pair.wire.nest_sorts:
        raise NotApplicable("NestJS publishes to the exchange by the unsorted text of a pattern, which nothing takes")


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
    objects(pair)
    ended(await pair.call(42, 1), "complete", [{"number": 1}])


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
    return pair.client.nest


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


@case("silence: a timeout, and the late reply harms no other call")
async def _timeout(pair: Pair) -> None:
    ended(await pair.call("slow", {"ms": 0, "n": 0}), "complete", [pair.wire.arrives(0)])
    ended(await pair.call("slow", {"ms": 300, "n": 1}, limit=0.1), "timeout", [])
    next_one, other = await pair.client.calls([Call("slow", {"ms": 400, "n": 2}), Call("echo", "meanwhile")])
    ended(next_one, "complete", [pair.wire.arrives(2)])
    ended(other, "complete", ["meanwhile"])
    same(sorted(await pair.seen(3)), [["slow", 0], ["slow", 1], ["slow", 2]])  # the first was done all the same


@case("silence: nobody handles the message")
async def _nobody(pair: Pair) -> None:
    knows = pair.wire.nest_knows_nobody if pair.client.nest else pair.wire.we_know_nobody
    pattern = "nobody.here" if pair.client.nest else "nobody.at-all"  # NestJS's Kafka client makes the topic
    ended(await pair.call(pattern, 1, limit=1.0), "nobody" if knows else "timeout", [])


@case("silence: nobody handles the event, and the service goes on")
async def _unknown_event(pair: Pair) -> None:
    same((await pair.emit("nobody.there", {"n": 1})).end, "complete")
    ended(await pair.call("echo", "on it goes"), "complete", ["on it goes"])


@case("event: two handlers, in their order")
async def _event(pair: Pair) -> None:
    same((await pair.emit("parcel.sent", {"n": "é"})).end, "complete")
    same(await pair.seen(2), [["first", {"n": "é"}], ["second", {"n": "é"}]])


@case("event: the pattern an object, its keys in another order")
async def _event_object(pair: Pair) -> None:
    objects(pair)
    sorted_by(pair)
    same((await pair.emit({"kind": "lost", "event": "parcel"}, [1])).end, "complete")
    same(await pair.seen(1), [["first", [1]]])


@case("event: emitted to a message handler, which runs")
async def _event_to_message(pair: Pair) -> None:
    same((await pair.emit("noted", 5)).end, "complete")
    same(await pair.seen(1), [["noted", pair.wire.arrives(5)]])


@case("event: its handlers asked for an answer run, and the answer is empty")
async def _request_to_event(pair: Pair) -> None:
    if pair.wire.null_ends_streams:
        raise NotApplicable("on Kafka what an event handler gets is an event, answered never")
    joined = [{}] if pair.service.nest else []  # NestJS joins the results of several handlers into an object
    ended(await pair.call("parcel.sent", "asked"), "complete", joined)
    same(sorted(await pair.seen(2)), [["first", "asked"], ["second", "asked"]])
    ended(await pair.call("parcel.noticed", "asked"), "complete", [])


@case("event: what its handler returns")
async def _event_returns(pair: Pair) -> None:
    if pair.wire.null_ends_streams:
        raise NotApplicable("on Kafka what an event handler gets is an event, answered never")
    expected = ["dropped by ours"] if pair.service.nest else []
    ended(await pair.call("parcel.answered", 1), "complete", expected)


@case("event: a handler fails, and the service goes on")
async def _failing(pair: Pair) -> None:
    if pair.wire.null_ends_streams:
        raise NotApplicable("on Kafka NestJS has a failed event delivered again, which holds up its partition")
    same((await pair.emit("parcel.failing", 1)).end, "complete")
    same(await pair.seen(1), [["failing", 1]])
    ended(await pair.call("echo", "on it goes"), "complete", ["on it goes"])


@case("event: 200 in a row, each once")
async def _events(pair: Pair) -> None:
    await pair.client.calls([Call("noted", {"n": n}, emit=True) for n in range(200)])
    same(sorted(data["n"] for _, data in await pair.seen(200)), list(range(200)))


def answered(pair: Pair, outcomes: list[Outcome], expected: list[Any]) -> None:
    """Each call has its own answer. Where NestJS's client loses some, what did come was right."""
    lost = {n for n, one in enumerate(outcomes) if one.end == "timeout"}
    same(
        [one.values for n, one in enumerate(outcomes) if n not in lost],
        [[one] for n, one in enumerate(expected) if n not in lost],
    )
    if lost and pair.client.nest and pair.wire.nest_loses_bursts:
        raise NotApplicable("NestJS's client unsubscribes from replies too early, and loses some of a burst")
    same(lost, set())


@case("burst: 200 requests at once, each its own answer")
async def _burst(pair: Pair) -> None:
    outcomes = await pair.client.calls([Call("echo", {"n": n}, limit=10.0) for n in range(200)])
    answered(pair, outcomes, [{"n": n} for n in range(200)])


@case("burst: again, three times, on an open reply channel")
async def _bursts(pair: Pair) -> None:
    for _ in range(3):
        await _burst(pair)


@case("burst: slow and quick ones at once, in any order")
async def _mixed(pair: Pair) -> None:
    calls = [Call("slow", {"ms": 200 - 40 * n, "n": n}) for n in range(5)] + [Call("echo", "quick")] * 5
    outcomes = await pair.client.calls(calls)
    answered(pair, outcomes, [*map(pair.wire.arrives, range(5)), *["quick"] * 5])


@case("beside the data: headers, or metadata")
async def _headers(pair: Pair) -> None:
    beside = {"traceparent": "00-aa-bb-01", "tenant": "north"}
    if pair.client.nest and not pair.wire.nest_puts_headers:
        raise NotApplicable("NestJS before 12 puts nothing beside the data here")
    outcome = await pair.call("besides", {"n": 1}, **{pair.wire.headers: beside})
    arrived = {} if pair.service.nest and not pair.wire.nest_reads_headers else beside  # and it works all the same
    same(outcome.end, "complete")
    same({name: value for name, value in outcome.values[0].items() if name in beside}, arrived)


@case("beside the data: an event's")
async def _record(pair: Pair) -> None:
    same((await pair.emit("noted", "with headers", **{pair.wire.headers: {"tenant": "north"}})).end, "complete")
    same(await pair.seen(1), [["noted", "with headers"]])


@case("options: priority and expiration (RabbitMQ), QoS 1 (MQTT)")
async def _options(pair: Pair) -> None:
    options = {"rabbitmq": {"priority": 3, "expiration": 60000, "messageId": "m-1"}, "mqtt": {"qos": 1}}
    if pair.place.transport not in options:
        raise NotApplicable("there are no such options here")
    if not pair.client.nest:
        raise NotSupported("not yet: our client sends headers, and sets no priority, expiration or QoS by call")
    ended(await pair.call("echo", [1], options=options[pair.place.transport]), "complete", [[1]])


@case("address: a wildcard in a handler's pattern")
async def _wild(pair: Pair) -> None:
    reasons = {
        "tcp": "TCP finds handlers by the whole pattern; NestJS has no wildcards there either",
        "redis": "where they are switched on: see redis, wildcards",
        "rabbitmq": "where a topic exchange is used: see rabbitmq, exchange",
    }
    if pair.place.transport == "kafka":
        raise NotSupported("not yet: NestJS takes regular expressions for topics, ours does not")
    if not pair.wire.wild[0]:
        raise NotApplicable(reasons[pair.place.transport])
    same((await pair.emit(pair.wire.wild[1], {"n": 1})).end, "complete")
    same(await pair.seen(1), [["wild", {"n": 1}]])


async def run(pair: Pair, one: Case) -> None:
    """One case, on a service that has forgotten the ones before. Raises AssertionError, NotSupported, TimeoutError."""
    await pair.service.seen(forget=True)
    async with asyncio.timeout(CASE_LIMIT):
        await one(pair)
