"""Patterns with wildcards, and events for several services."""

from __future__ import annotations

from typing import Any

import pytest
from contract_help import Place, eventually

from postoffice import (
    Context,
    NoHandlerError,
    PatternError,
    UnsupportedError,
    event_pattern,
    message_pattern,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "redis": {"wildcards": True},
    "nats": {},
    "rabbitmq": {"exchange": "test_exchange"},
    "mqtt": {},
}
SHAPES = {  # one word, and all the rest
    "redis": ("shop.?.sold", "log.*"),
    "nats": ("shop.*.sold", "log.>"),
    "rabbitmq": ("shop.*.sold", "log.#"),
    "mqtt": ("shop/+/sold", "log/#"),
}


def sent(kind: str, name: str) -> str:
    """A pattern as it is sent: MQTT writes a slash where the others write a dot."""
    return name.replace(".", "/") if kind == "mqtt" else name


def of_client(kind: str) -> dict[str, Any]:
    return {"exchange": "test_exchange", "queue": None} if kind == "rabbitmq" else {}


@pytest.mark.parametrize("kind", list(OPTIONS))
async def test_a_wildcard_takes_what_matches(place: Place, kind: str) -> None:
    """One word or all the rest; the context says what was really sent; a request is answered to its own caller."""
    one, rest = SHAPES[kind]
    seen: list[tuple[str, Any]] = []

    @message_pattern(one)
    async def sold(data: int, ctx: Context) -> str:
        return f"{ctx.pattern}: {data}"

    @event_pattern(rest)
    async def logged(data: Any, ctx: Context) -> None:
        seen.append((ctx.pattern, data))

    await place.serve(sold, logged, **OPTIONS[kind])
    client = await place.connect(**of_client(kind))
    assert await client.send(sent(kind, "shop.a.sold"), 3) == f"{sent(kind, 'shop.a.sold')}: 3"
    await client.emit(sent(kind, "log.x"), 1)
    await client.emit(sent(kind, "log.x.y"), 2)
    await eventually(lambda: len(seen) == 2, "both events")
    assert seen == [(sent(kind, "log.x"), 1), (sent(kind, "log.x.y"), 2)]


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_an_exchange_reaches_every_service_that_wants_it(place: Place, kind: str) -> None:
    """Two services with queues of their own each get the event; one with another pattern does not."""
    got: list[str] = []

    def taker(name: str, pattern: str) -> Any:
        @event_pattern(pattern)
        async def take(data: Any) -> None:
            got.append(name)

        return take

    for name, pattern in {"mail": "order.*", "stock": "order.placed", "other": "user.*"}.items():
        await place.serve(taker(name, pattern), name=f"{place.name}.{name}", exchange=place.name)
    client = await place.connect(exchange=place.name, queue=None, delivery="at-least-once")
    await client.emit("order.placed", 1)
    await eventually(lambda: len(got) == 2, "both services")
    assert sorted(got) == ["mail", "stock"]
    with pytest.raises(NoHandlerError, match=r"'nobody\.wants'"):
        await client.emit("nobody.wants", 1)


@pytest.mark.parametrize("kind", ["rabbitmq"])
async def test_an_exchange_tells_who_is_not_bound(place: Place, kind: str) -> None:
    """Object patterns find their handler, whatever their key order; what no queue is bound for fails at once."""

    @message_pattern({"cmd": "sum", "v": 1})
    async def add(data: list[int]) -> int:
        return sum(data)

    await place.serve(add, exchange=place.name)
    client = await place.connect(exchange=place.name, queue=None)
    assert await client.send({"v": 1, "cmd": "sum"}, [1, 2]) == 3
    with pytest.raises(NoHandlerError, match="no queue is bound"):
        await client.send("nobody.wants", 1)
    with pytest.raises(PatternError, match="300 bytes exceeds the 255"):
        await client.send("x" * 300)


async def test_wildcards_are_refused_where_there_are_none(place: Place, kind: str) -> None:
    """Asking for what a transport has not, or has always, is an error that says so."""
    if kind != "redis":
        with pytest.raises(UnsupportedError, match="Redis needs wildcards=True"):
            await place.serve(_nothing, wildcards=True)
    if kind != "rabbitmq":
        with pytest.raises(UnsupportedError, match="RabbitMQ"):
            await place.serve(_nothing, exchange="x")


@event_pattern("nothing")
async def _nothing() -> None:
    pass
