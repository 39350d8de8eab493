"""Commands to Redis and their answers, gathered: one pipeline a turn of the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from redis.exceptions import ResponseError

from ..errors import ConnectionLost
from .base import reason_of

__all__ = ["Pipe", "ResponseError"]

Waiting: TypeAlias = "tuple[tuple[Any, ...], asyncio.Future[Any]]"


class Pipe:
    """One connection; any number of callers wait for their answers at once.

    Args:
        connection: of the driver, connected. broken: called with the error when the connection breaks.
    """

    def __init__(self, connection: Any, broken: Callable[[BaseException | None], None]) -> None:
        self._connection = connection
        self._broken = broken
        self._items: list[Waiting] = []
        self._sent: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, *command: Any) -> Any:
        """The answer to a command, in the order of the calls.

        Raises:
            ResponseError: Redis refused it. ConnectionLost: it may have been done.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._items.append((command, answer))
        if self._closed:  # the driver would connect again by itself
            self._fail(None)
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="postoffice Redis pipe")
        return await answer

    async def close(self) -> None:
        """Let go; whoever waits gets a ConnectionLost."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.disconnect(nowait=True)
        self._fail(None)

    async def _run(self) -> None:
        try:
            while self._items:
                self._sent, self._items = self._items, []
                packed = self._connection.pack_commands([command for command, _ in self._sent])
                await self._connection.send_packed_command(packed, check_health=False)
                while self._sent:
                    await self._answer(self._sent[0][1])
                    del self._sent[0]
        except Exception as error:
            self._fail(error)
            self._broken(error)
        finally:
            self._task = None

    async def _answer(self, answer: asyncio.Future[Any]) -> None:
        try:
            value = await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as refused:
            if not answer.done():
                answer.set_exception(refused)
        else:
            if not answer.done():
                answer.set_result(value)

    def _fail(self, error: BaseException | None) -> None:
        lost, self._sent, self._items = [*self._sent, *self._items], [], []
        for _, answer in lost:
            if not answer.done():
                answer.set_exception(
                    ConnectionLost(
                        f"the connection to Redis broke before it had answered ({reason_of(error)})."
                        " It may be done or not: doing it again may do it twice."
                    )
                )
