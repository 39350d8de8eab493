"""The handlers of nest/service.mjs, in Python: both services answer the same cases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from postoffice import Context, RpcError, event_pattern, message_pattern


class Office:
    """Keeps what its handlers saw, as [name, data]."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    @message_pattern("echo")
    async def echo(self, data: Any) -> Any:
        return data

    @message_pattern(42)
    async def number(self, data: Any) -> Any:
        return {"number": data}

    @message_pattern("parcel.weight.get")
    async def dotted(self, data: Any) -> Any:
        return {"dotted": data}

    @message_pattern("kind")
    async def kind(self, data: Any) -> str:
        kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
        return kinds.get(type(data), "null")

    @message_pattern("nothing")
    async def nothing(self) -> None:
        pass

    @message_pattern("nil")
    async def nil(self) -> None:
        return None

    @message_pattern("error.text")
    async def error_text(self) -> None:
        raise RpcError("no such parcel")

    @message_pattern("error.object")
    async def error_object(self) -> None:
        raise RpcError({"code": 404, "message": "no such parcel", "tags": ["é", 1]})

    @message_pattern("error.plain")
    async def error_plain(self) -> None:
        raise ValueError("the secret of the house")

    @message_pattern("error.later")
    async def error_later(self) -> None:
        await asyncio.sleep(0.02)
        raise RpcError("later, no such parcel")

    @message_pattern("stream.now")
    async def stream_now(self, count: Any) -> AsyncIterator[int]:
        for value in range(1, int(count) + 1):
            yield value

    @message_pattern("stream.slow")
    async def stream_slow(self, count: Any) -> AsyncIterator[int]:
        for value in range(1, int(count) + 1):
            await asyncio.sleep(0.02)
            yield value

    @message_pattern("stream.fails")
    async def stream_fails(self) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise RpcError("half-way")

    @message_pattern("stream.fails.slowly")
    async def stream_fails_slowly(self) -> AsyncIterator[int]:
        for value in (1, 2):
            await asyncio.sleep(0.02)
            yield value
        raise RpcError("half-way")

    @message_pattern("slow")
    async def slow(self, data: dict[str, Any]) -> Any:
        await asyncio.sleep(data["ms"] / 1000)
        self.seen.append(["slow", data["n"]])
        return data["n"]

    @message_pattern("besides")
    async def besides(self, data: Any, ctx: Context) -> dict[str, str]:
        return {name: str(value) for name, value in ctx.headers.items()}

    @message_pattern("counted")
    async def counted(self, data: Any) -> str:
        self.seen.append(["counted", data])
        return "ours"

    @message_pattern("noted")
    async def noted(self, data: Any) -> str:
        self.seen.append(["noted", data])
        return "a reply that nobody awaits"

    @event_pattern("parcel.sent")
    async def first(self, data: Any) -> None:
        self.seen.append(["first", data])

    @event_pattern("parcel.sent")
    async def second(self, data: Any) -> None:
        self.seen.append(["second", data])

    @event_pattern("parcel.noticed")
    async def noticed(self, data: Any) -> None:
        pass

    @event_pattern("parcel.answered")
    async def answered(self, data: Any) -> str:
        return "dropped by ours"

    @event_pattern("parcel.failing")
    async def failing(self, data: Any) -> None:
        self.seen.append(["failing", data])
        raise ValueError("an event that fails")


class ObjectPatterns(Office):
    """With the patterns that are objects, for transports whose addresses can hold them."""

    @message_pattern({"cmd": "sum"})
    async def sum(self, data: list[float]) -> float:
        return sum(data)

    @message_pattern({"z": {"b": 2, "a": [1, "two"]}, "cmd_b": True, "cmd": "nested"})
    async def nested(self, data: Any) -> Any:
        return {"nested": data}

    @event_pattern({"event": "parcel", "kind": "lost"})
    async def lost(self, data: Any) -> None:
        self.seen.append(["first", data])


class Wild:
    """One event handler whose pattern has a wildcard."""

    def __init__(self, office: Office, pattern: str) -> None:
        async def wild(data: Any) -> None:
            office.seen.append(["wild", data])

        self.handler = event_pattern(pattern)(wild)


class Attempts:
    """Notes at which attempt an event came."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []
        self.came = asyncio.Event()

    @event_pattern("parcel.by-hand")
    async def by_hand(self, data: Any, ctx: Context) -> None:
        self.seen.append([f"attempt {ctx.attempt}", data])
        self.came.set()
