"""Spans on Kafka: the same trace through records' headers."""

from __future__ import annotations

from typing import Any

from contract_help import Place, eventually

from classroom.observe import Observed
from postoffice import Client, event_pattern, message_pattern


async def test_a_trace_crosses_kafka(place: Place, seen: Observed) -> None:
    """A request whose handler emits an event: client, service, event and its handler are one trace."""
    nested: list[Client] = []

    @message_pattern(f"{place.name}.order")
    async def order(data: Any) -> Any:
        await nested[0].emit(f"{place.name}.placed", data)
        return data

    @event_pattern(f"{place.name}.placed")
    async def placed(data: Any) -> None:
        pass

    await place.serve(order, placed)
    nested.append(await place.connect())
    client = await place.connect()
    assert await client.send(f"{place.name}.order", {"id": 1}) == {"id": 1}
    await eventually(lambda: {one.kind for one in seen.spans() if one.end} >= {"server", "consumer"}, "both handlings")
    assert await seen.complete()
    spans = {one.id: one for one in seen.spans()}
    (last,) = [one for one in spans.values() if one.kind == "consumer"]
    kinds = [last.kind]
    while last.parent:
        last = spans[last.parent]
        kinds.insert(0, last.kind)
    assert kinds == ["client", "server", "producer", "consumer"]
    assert {one.attributes["messaging.system"] for one in spans.values()} == {"kafka"}
