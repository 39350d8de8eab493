"""A service on Kafka with handlers of every kind, and its client; their topics begin with the test's own prefix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from contract_help import LIMIT

from postoffice import Client, Context, PostOfficeError, event_pattern, message_pattern


class Office:
    """Handlers whose patterns begin with the test's own prefix; what they saw is kept."""

    def __init__(self, prefix: str) -> None:
        self.events: list[Any] = []
        self.begun = 0
        for name, mark in self.patterns.items():
            bound = getattr(self, name)

            async def handler(data: Any, ctx: Context, bound: Any = bound) -> Any:
                return await bound(data, ctx)

            handler.__name__ = name
            setattr(self, f"handle_{name}", mark(f"{prefix}.{name}")(handler))

        @message_pattern(f"{prefix}.count")
        async def count(data: dict[str, int]) -> AsyncIterator[int]:
            for number in range(data["n"]):
                yield number

        self.handlers = [count, *(getattr(self, f"handle_{name}") for name in self.patterns)]

    patterns = {  # noqa: RUF012 - read only
        "echo": message_pattern,
        "slow": message_pattern,
        "context": message_pattern,
        "huge": message_pattern,
        "event": event_pattern,
    }

    async def echo(self, data: Any, ctx: Context) -> Any:
        return data

    async def slow(self, data: Any, ctx: Context) -> Any:
        self.begun += 1
        await asyncio.sleep(float(data))
        return data

    async def context(self, data: Any, ctx: Context) -> Any:
        return [ctx.pattern, dict(ctx.headers), ctx.correlation_id, ctx.transport, ctx.raw.decode()]

    async def huge(self, data: Any, ctx: Context) -> Any:
        return "a" * 2_000_000

    async def event(self, data: Any, ctx: Context) -> None:
        self.events.append(data)
        if data == "bad":
            raise ValueError("no such thing")


class Caller:
    """A client whose patterns begin with the prefix."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client, self.prefix = client, prefix

    async def send(self, name: str, data: Any = None, **options: Any) -> Any:
        return await self.client.send(f"{self.prefix}.{name}", data, **options)

    async def emit(self, name: str, data: Any = None) -> None:
        await self.client.emit(f"{self.prefix}.{name}", data)

    async def answered(self, value: Any) -> Any:
        """The answer to an echo, as soon as there is one again."""
        end = asyncio.get_running_loop().time() + 2 * LIMIT
        while True:
            try:
                return await self.send("echo", value, timeout=1)
            except PostOfficeError:
                assert asyncio.get_running_loop().time() < end, "the client does not work again"
                await asyncio.sleep(0.02)
