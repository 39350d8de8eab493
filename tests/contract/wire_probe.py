"""The service that NestJS served while its messages were captured, in postoffice."""

from __future__ import annotations

import asyncio
from typing import Any

from postoffice import Context, RpcError, event_pattern, message_pattern


class Probe:
    """The service that NestJS served while its messages were captured, in postoffice."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def note(self, handler: str, data: Any, **more: Any) -> None:
        self.events.append({"handler": handler, "data": data, **more})

    @message_pattern({"cmd": "sum"})
    async def sum(self, data):
        return sum(data)

    @message_pattern({"op": {"name": "mul", "v": 2}, "service": "math"})
    async def twice(self, data):
        return data * 2

    @message_pattern(42)
    async def number(self, data):
        return {"num": data}

    @message_pattern("probe.echo")
    async def echo(self, data):
        return data

    @message_pattern("probe.error.rpc.string")
    async def rpc_string(self):
        raise RpcError("boom")

    @message_pattern("probe.error.rpc.object")
    async def rpc_object(self):
        raise RpcError({"code": 42, "message": "custom", "details": ["a", "b"]})

    @message_pattern("probe.error.plain")
    async def plain(self):
        raise ValueError("secret detail")

    @message_pattern("probe.error.async")
    async def late_error(self):
        await asyncio.sleep(0.01)
        raise RpcError("late boom")

    @message_pattern("probe.stream.sync")
    async def stream_sync(self):
        for value in (1, 2, 3):
            yield value

    @message_pattern("probe.stream.async")
    async def stream_async(self):
        for value in (1, 2, 3):
            yield value
            await asyncio.sleep(0.01)

    @message_pattern("probe.stream.error")
    async def stream_error(self):
        yield 1
        raise RpcError("mid-stream")

    @message_pattern("probe.stream.empty")
    @message_pattern("probe.ret.undefined")  # Python has no undefined: an answer without a value is an empty stream
    async def empty(self):
        for nothing in ():
            yield nothing

    @message_pattern("probe.ret.null")
    async def null(self):
        return None

    @message_pattern("probe.ret.promise")
    async def promise(self, data):
        await asyncio.sleep(0)
        return {"got": data}

    @message_pattern("probe.slow")
    async def slow(self, data):
        await asyncio.sleep(data["ms"] / 1000)
        return "late"

    @message_pattern("probe.events.take")
    async def take(self):
        taken, self.events = self.events, []
        return {"events": taken}

    @event_pattern({"evt": "created"})
    async def created(self, data):
        self.note("object", data)

    @event_pattern("probe.evt.string")
    async def string(self, data):
        self.note("string", data)

    @event_pattern("probe.evt.double")
    async def double_1(self, data):
        self.note("double-1", data)

    @event_pattern("probe.evt.double")
    async def double_2(self, data):
        self.note("double-2", data)

    @event_pattern("probe.evt.error")
    async def broken(self, data):
        self.note("error", data)
        raise ValueError("event handler failed")


class NatsProbe(Probe):
    """With the handlers that NATS had beside these."""

    @message_pattern("wild.*")
    async def wild(self, data, ctx: Context):
        return {"wild": data, "on": ctx.pattern}

    @event_pattern("wevt.>")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)


class RedisProbe(Probe):
    """With the handlers that Redis had where its patterns could have wildcards."""

    @message_pattern("wild.*")
    async def wild(self, data, ctx: Context):
        return {"wild": data, "on": ctx.pattern}

    @event_pattern("wevt.*")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)


class ExchangeProbe(RedisProbe):
    """With the handlers that RabbitMQ had on a topic exchange."""

    @event_pattern("wevt.#")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)


class MqttProbe(Probe):
    """With the handlers that MQTT had beside these."""

    @message_pattern("wild/+")
    async def wild(self, data, ctx: Context):
        return {"wild": data, "on": ctx.pattern}

    @event_pattern("wevt/#")
    async def wild_event(self, data, ctx: Context):
        self.note("wild", data, on=ctx.pattern)
