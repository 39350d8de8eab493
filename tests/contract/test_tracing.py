"""Spans on every transport: one connected trace from client to service to whomever that calls, and no cross-talk."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from contract_help import Place, eventually
from opentelemetry import trace

from classroom.observe import Observed
from classroom.observe.spans import Span
from postoffice import (
    Client,
    PayloadError,
    PermanentError,
    RequestTimeout,
    Retry,
    RpcError,
    Service,
    event_pattern,
    grpc_method,
    message_pattern,
)

DYING = """
import os
from postoffice import event_pattern, message_pattern

@message_pattern("die")
async def die(data):
    os.kill(os.getpid(), 9)

@event_pattern("note")
async def note(data):
    pass
"""

SHOP = """
syntax = "proto3";
package shop;
service Shop {
  rpc Front (Number) returns (Number);
  rpc Back (Number) returns (Number);
  rpc Count (Number) returns (stream Number);
}
message Number { int32 value = 1; }
"""


class Office:
    """A service of two patterns, of which the first asks the second."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.traces: dict[int, set[str]] = {}

    def _note(self, number: int) -> None:
        current = trace.get_current_span().get_span_context()
        self.traces.setdefault(number, set()).add(f"{current.trace_id:032x}")

    @message_pattern("front")
    async def front(self, number: int) -> int:
        self._note(number)
        await asyncio.sleep(random.random() / 100)
        self._note(number)
        assert self.client
        answer = await self.client.send("back", number)
        self._note(number)
        return int(answer)

    @message_pattern("back")
    async def back(self, number: int) -> int:
        self._note(number)
        await asyncio.sleep(random.random() / 100)
        self._note(number)
        return number

    @message_pattern("refuse")
    async def refuse(self) -> None:
        raise RpcError("not today")

    @event_pattern("note")
    async def note(self, number: int) -> None:
        self._note(number)


async def opened(place: Place) -> tuple[Office, Client]:
    office = Office()
    await place.serve(office)
    office.client = await place.connect()
    return office, await place.connect()


def path(spans: list[Span], last: Span) -> list[str]:
    """The names from the root to a span, by its parents."""
    byid = {one.id: one for one in spans}
    names = [last.name]
    while last.parent:
        last = byid[last.parent]
        names.insert(0, last.name)
    return names


async def test_a_request_and_what_it_asks_for_are_one_trace(place: Place, seen: Observed):
    """Client, service, and the call that its handler makes: each the parent of the next, each with its kind."""
    _, client = await opened(place)
    assert await client.send("front", 7) == 7
    assert await seen.complete()
    spans = seen.spans()
    assert len({one.trace for one in spans}) == 1
    (last,) = [one for one in spans if one.name == "process back"]
    assert path(spans, last) == ["send front", "process front", "send back", "process back"]
    assert {one.name: one.kind for one in spans} == {
        "send front": "client", "process front": "server", "send back": "client", "process back": "server",
    }  # fmt: skip
    assert {one.attributes["messaging.system"] for one in spans} == {place.kind}
    assert {one.message for one in spans if "front" in one.name} != {one.message for one in spans if "back" in one.name}
    assert len({one.message for one in spans}) == 2
    assert not any(one.error for one in spans)
    assert "process back" in str(seen.waterfall())


async def test_fifty_requests_at_once_do_not_mix(place: Place, seen: Observed):
    """Every handler of a request is in its request's trace at every step, and in no other's."""
    office, client = await opened(place)
    assert sorted(await asyncio.gather(*(client.send("front", number) for number in range(50)))) == [*range(50)]
    assert await seen.complete()
    assert [len(traces) for traces in office.traces.values()] == [1] * 50
    assert len(set.union(*office.traces.values())) == 50
    spans = seen.spans()
    for number in range(50):
        (ident,) = office.traces[number]
        names = sorted(one.name for one in spans if one.trace == ident)
        assert names == ["process back", "process front", "send back", "send front"]


async def test_an_event_and_an_error_are_seen(place: Place, seen: Observed):
    """An event's handling hangs below its emit; a refused request says why on both sides."""
    office, client = await opened(place)
    await client.emit("note", 1)
    with pytest.raises(RpcError):
        await client.send("refuse")
    await eventually(lambda: 1 in office.traces, "the event")
    await eventually(
        lambda: {one.kind for one in seen.spans() if one.end} >= {"producer", "consumer"}, "the event's spans"
    )
    assert await seen.complete()
    spans = seen.spans()
    (emit,) = [one for one in spans if one.kind == "producer"]
    (handled,) = [one for one in spans if one.kind == "consumer"]
    assert (handled.trace, handled.parent) == (emit.trace, emit.id)
    refused = [one for one in spans if one.error]
    assert {one.name for one in refused} == {"send refuse", "process refuse"}
    assert all("not today" in one.error for one in refused)
    assert "refused" in str(seen.timeline())


async def test_a_foreign_header_does_no_harm(place: Place, seen: Observed):
    """A traceparent that is none begins a new trace; the handler runs all the same."""
    _, client = await opened(place)
    assert await client.send("back", 3, headers={"traceparent": "00-zz-é-01", "tracestate": "\t="}) == 3
    assert await seen.complete()


@pytest.mark.parametrize("kind", ["tcp", "nats"])
async def test_a_killed_process_has_told_what_it_began(
    place: Place, seen: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its handler began and never ended; the message before it was handled; both are seen."""
    from classroom import marks

    for name, value in marks.environment("doomed", 0).items():
        monkeypatch.setenv(name, value)
    process = await place.run(DYING, tmp_path)
    client = await place.connect(timeout=1.0)
    await client.emit("note", 1)
    await eventually(lambda: [one for one in seen.spans() if one.name == "process note" and one.end], "the event's end")
    request = asyncio.create_task(client.send("die"))
    assert await process.ended() == -signal.SIGKILL
    marks.mark("doomed 0", "killed", "signal 9")
    with pytest.raises(Exception, match="may have happened"):
        await request
    await eventually(lambda: [one for one in seen.spans() if one.name == "process die"], "the handler's beginning")
    assert await seen.complete()
    (began,) = [one for one in seen.spans() if one.name == "process die"]
    assert began.end is None
    assert began.service == "doomed"
    assert "never ended" in str(seen.waterfall(began.trace))
    assert [one.what for one in seen.events() if one.process == "doomed"] == [
        "received", "handled", "acknowledged", "received", "killed",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["redis", "nats", "rabbitmq", "mqtt"])
async def test_retries_and_dead_letters_are_seen(place: Place, seen: Observed):
    """Three attempts, two waits and the dead letter are the life of one message, under one trace."""
    calls = []

    @event_pattern("fails", retry=Retry(attempts=3, initial=0.05, jitter=0), dead_letter=f"{place.name}.dead")
    async def fails(data: Any) -> None:
        calls.append(data)
        raise ValueError("still broken")

    @event_pattern("poison")
    async def poison(data: Any) -> None:
        raise PermanentError("never")

    await place.serve(fails, poison, delivery="at-least-once")
    client = await place.connect(delivery="at-least-once")
    await client.emit("fails", 1, message_id="m-1")
    await client.emit("poison", 2, message_id="m-2")
    await eventually(lambda: "dead-lettered" in [one.what for one in seen.events("m-1")], "the dead letter")
    await eventually(lambda: "dead-lettered" in [one.what for one in seen.events("m-2")], "the poison's dead letter")
    assert await seen.complete()
    whats = [one.what for one in seen.events("m-1")]
    assert (whats.count("received"), whats.count("retried"), whats.count("dead-lettered")) == (3, 2, 1)
    assert "retried" not in [one.what for one in seen.events("m-2")]
    handled = [one for one in seen.spans() if one.message == "m-1" and one.kind == "consumer"]
    assert sorted(one.attempt for one in handled) == [1, 2, 3]
    assert len({one.trace for one in handled}) == 1
    assert all("still broken" in one.error for one in handled)
    picture = seen.timeline("m-1")
    assert "dead-lettered" in picture.svg
    assert "attempt 3" in str(picture)


async def test_grpc_calls_are_one_trace(seen: Observed, tmp_path: Path):
    """By metadata: a method that calls another one, and a stream; the errors of both sides."""
    proto = tmp_path / "shop.proto"
    proto.write_text(SHOP, encoding="utf-8")

    @grpc_method("Shop")
    async def front(data: Any) -> Any:
        return await shop.Back(data, headers={"x-other": "kept"})

    @grpc_method("Shop")
    async def back(data: Any, ctx: Any) -> Any:
        assert ctx.headers["x-other"] == "kept"
        return data

    @grpc_method("Shop")
    async def count(data: Any) -> Any:
        yield data
        raise RpcError("half-way")

    service = Service(front, back, count, url="grpc://127.0.0.1:0", proto=proto)
    async with service, await Client.connect(service.url, proto=proto) as client:
        shop = client.service("Shop")
        assert await shop.Front({"value": 3}) == {"value": 3}
        with pytest.raises(RpcError, match="half-way"):
            assert [one async for one in shop.Count({"value": 1})] == []
        await eventually(lambda: len(seen.spans()) == 6 and all(one.end for one in seen.spans()), "six spans")
    spans = seen.spans()
    (last,) = [one for one in spans if one.name == "process Shop/Back"]  # as its handler says it
    assert [name.rpartition("/")[2] for name in path(spans, last)] == ["Front", "Front", "Back", "Back"]
    assert {one.kind for one in spans} == {"client", "server"}
    assert sorted(one.name.rpartition("/")[2] for one in spans if one.error) == ["Count", "Count"]


async def test_without_a_receiver_nothing_is_sent(place: Place):
    """Tracing is off by default: no header, no span, and the current span is none."""
    assert not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    headers: list[Any] = []

    @message_pattern("look")
    async def look(data: Any, ctx: Any) -> bool:
        headers.append(ctx.headers)
        return trace.get_current_span().get_span_context().is_valid

    await place.serve(look)
    assert await (await place.connect()).send("look", 1) is False
    assert "traceparent" not in headers[0]


@pytest.mark.parametrize("kind", ["tcp"])
async def test_what_could_not_be_sent_has_ended(place: Place, seen: Observed):
    """Data that is no JSON, and a caller that gives up: each span ends, and says why."""
    office, client = await opened(place)
    with pytest.raises(PayloadError):
        await client.send("back", object())
    with pytest.raises(PayloadError):
        await client.emit("note", object())
    with pytest.raises(RequestTimeout):
        await client.send("back", 1, timeout=0.0001)
    waiting = asyncio.create_task(client.send("front", 2))
    await eventually(lambda: 2 in office.traces, "the handler's beginning")
    waiting.cancel()
    assert await seen.complete()
    errors = [one.error.partition(":")[0] for one in seen.spans() if one.kind in ("client", "producer") and one.error]
    assert errors == ["PayloadError", "PayloadError", "RequestTimeout", "CancelledError"]
    assert {"timed out", "failed"} <= {one.what for one in seen.events()}
