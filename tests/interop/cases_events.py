"""What happens beside a single answer: silence, events, bursts, headers, options, wildcards."""

from __future__ import annotations

from .casework import NotApplicable, NotSupported, answered, case, ended, objects, same, sorted_by
from .peers import Call, Pair


@case("silence: a timeout, and the late reply harms no other call")
async def _timeout(pair: Pair) -> None:
    ended(await pair.call("slow", {"ms": 0, "n": 0}), "complete", [pair.wire.arrives(0)])
    ended(await pair.call("slow", {"ms": 500, "n": 1}, limit=0.25), "timeout", [])
    next_one, other = await pair.client.calls([Call("slow", {"ms": 600, "n": 2}), Call("echo", "meanwhile")])
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
    if pair.wire.null_ends_streams and pair.service.nest:
        raise NotApplicable("on Kafka NestJS has a failed event delivered again, which holds up its partition")
    same((await pair.emit("parcel.failing", 1)).end, "complete")
    same(await pair.seen(1), [["failing", pair.wire.arrives(1)]])
    ended(await pair.call("echo", "on it goes"), "complete", ["on it goes"])


@case("event: 200 in a row, each once")
async def _events(pair: Pair) -> None:
    await pair.client.calls([Call("noted", {"n": n}, emit=True) for n in range(200)])
    same(sorted(data["n"] for _, data in await pair.seen(200)), list(range(200)))


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


OPTIONS = {  # as each side names them, and what the message then carries
    "rabbitmq": (
        {
            "priority": 3,
            "expiration": 60,
            "persistent": True,
            "content_type": "application/json",
            "type": "t",
            "app_id": "a",
        },
        {
            "priority": 3,
            "expiration": 60000,
            "persistent": True,
            "contentType": "application/json",
            "type": "t",
            "appId": "a",
        },
        {
            "priority": 3,
            "expiration": "60000",
            "deliveryMode": 2,
            "contentType": "application/json",
            "type": "t",
            "appId": "a",
        },
    ),
    "mqtt": ({"qos": 2}, {"qos": 2, "retain": False}, {"qos": 2, "retain": False}),
}


@case("options: priority, expiration and the like (RabbitMQ), QoS 2 (MQTT)")
async def _options(pair: Pair) -> None:
    if pair.place.transport not in OPTIONS:
        raise NotApplicable("there are no such options here")
    ours, theirs, carried = OPTIONS[pair.place.transport]
    options = theirs if pair.client.nest else ours
    ended(await pair.call("echo", [1], options=options), "complete", [[1]])
    same((await pair.emit("noted", "with options", options=options)).end, "complete")
    same(await pair.seen(1), [["noted", "with options"]])
    if pair.service.nest:  # our handlers are not told
        ended(await pair.call("carried", [1], options=options), "complete", [carried])


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
