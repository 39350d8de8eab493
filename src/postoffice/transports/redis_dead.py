"""The dead letters of Redis: a stream, read without taking anything out of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..deadletters import DeadLetter, DeadLetters
from ..durable import MESSAGE_ID, History
from ..errors import ConnectError, UsageError
from . import redis_scripts as scripts
from .base import CONNECT_TIMEOUT, reason_of
from .redis_delivery import header_text, read_fields
from .redis_pipe import Pipe, ResponseError

__all__ = ["RedisDeadLetters"]

PAGE = 1000  # letters in one answer


class RedisDeadLetters(DeadLetters):
    """Here a requeue is one step: the letter is back in its stream and out of the dead letters, or neither."""

    async def _open(self) -> None:
        pool: Any = ConnectionPool.from_url(self.url, protocol=2, retry=Retry(NoBackoff(), 0))
        connection = pool.make_connection()
        if self.url.startswith("rediss"):
            connection.ssl_context.context = self.tls.for_client()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()
        except Exception as error:
            raise ConnectError(f"the dead letters in {self.name!r} cannot be reached: {reason_of(error)}") from error
        self._pipe = Pipe(connection, lambda error: None)
        self._key = f"dead:{self.name}"

    async def _close(self) -> None:
        await self._pipe.close()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        yield [_letter(number, fields) async for number, fields in self._entries()]

    async def _entries(self) -> AsyncIterator[tuple[bytes, list[bytes]]]:
        start, page = b"-", [None] * PAGE
        while len(page) == PAGE:
            try:
                page = await self._pipe("XRANGE", self._key, start, "+", "COUNT", PAGE)
            except ResponseError as error:
                raise UsageError(f"Redis has no dead letters under the key {self._key!r}: {error}") from error
            for number, fields in page:
                yield number, fields
                start = b"(" + number

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        copy = (letter.mark, body, header_text(headers))
        if not await self._pipe("EVAL", scripts.SEND_BACK, 2, self._key, letter.source, *copy):
            raise UsageError(f"the dead letter {letter.id!r} was requeued or dropped by somebody else just now.")

    async def _remove(self, letter: DeadLetter) -> None:
        await self._pipe("XDEL", self._key, letter.mark)


def _letter(number: bytes, fields: list[bytes]) -> DeadLetter:
    body, headers = read_fields(fields)
    return DeadLetter.read(body, headers, number, History(id=str(headers.get(MESSAGE_ID, number.decode()))))
