"""`Fault`: something that can be done to a process, a broker or a link, and undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Self


class Fault:
    """A fault that is not there yet.

        async with link.latency(0.05):      # undone at the end, also when the body raises or is interrupted
            ...
        fault = await link.latency(0.05)    # stays on
        await fault.undo()                  # until here; twice is harmless

    Args:
        name: what it is, for people to read. begin, undo: what does it, and what takes it back; `undo` is harmless
            where `begin` failed half way.
    """

    def __init__(self, name: str, begin: Callable[[], Awaitable[Any]], undo: Callable[[], Awaitable[Any]]) -> None:
        self.name = name
        self._begin, self._undo = begin, undo
        self._on = False

    async def begin(self) -> Self:
        """Let it happen; returns when it has. Raises what its maker says; nothing of it is left then. Twice is once."""
        if self._on:
            return self
        self._on = True
        try:
            await self._begin()
        except BaseException:  # interrupted, too
            await asyncio.shield(self.undo())
            raise
        return self

    async def undo(self) -> None:
        """Take it back; returns when that is done. Harmless when it is not on."""
        if self._on:
            self._on = False
            await self._undo()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.begin().__await__()

    async def __aenter__(self) -> Self:
        return await self.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.undo()

    def __repr__(self) -> str:
        return f"<{self.name}: {'on' if self._on else 'off'}>"
