"""The dead letters of Redis: a stream, read without taking anything out of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..deadletters import DeadLetter, DeadLetters
from ..durable import MESSAGE_ID, Durable, History
from ..errors import UsageError
from . import redis_scripts as scripts
from .redis_delivery import header_text, read_fields
from .redis_pipe import ResponseError
from .redis_streams import RedisStreamsTransport

__all__ = ["RedisDeadLetters"]

PAGE = 1000  # letters in one answer


class RedisDeadLetters(DeadLetters):
    """Here a requeue is one step: the letter is back in its stream and out of the dead letters, or neither."""

    async def _open(self) -> None:
        tls = self.tls if self.url.startswith("rediss") else None
        self._transport = RedisStreamsTransport(self.url, durable=Durable(), tls=tls)
        self._key = self._transport.dead(self.name)
        await self._transport.connect()

    async def _close(self) -> None:
        await self._transport.close()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        yield [_letter(number, fields) async for number, fields in self._entries()]

    async def _entries(self) -> AsyncIterator[tuple[bytes, list[bytes]]]:
        start, page = b"-", [None] * PAGE
        while len(page) == PAGE:
            try:
                page = await self._transport.ask("XRANGE", self._key, start, "+", "COUNT", PAGE)
            except ResponseError as error:
                raise UsageError(f"Redis has no dead letters under the key {self._key!r}: {error}") from error
            for number, fields in page:
                yield number, fields
                start = b"(" + number

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        copy = (letter.mark, body, header_text(headers))
        if not await self._transport.ask("EVAL", scripts.SEND_BACK, 2, self._key, letter.source, *copy):
            raise UsageError(f"the dead letter {letter.id!r} was requeued or dropped by somebody else just now.")

    async def _remove(self, letter: DeadLetter) -> None:
        await self._transport.ask("XDEL", self._key, letter.mark)


def _letter(number: bytes, fields: list[bytes]) -> DeadLetter:
    body, headers = read_fields(fields)
    return DeadLetter.read(body, headers, number, History(id=str(headers.get(MESSAGE_ID, number.decode()))))
