"""The dead letters of JetStream: a stream, read without taking anything out of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from ..deadletters import DeadLetter, DeadLetters
from ..durable import MESSAGE_ID, Durable, History
from .nats_jetstream import JetStreamTransport
from .nats_streams import DEAD, NAME, own_headers

__all__ = ["JetStreamDeadLetters"]


class JetStreamDeadLetters(DeadLetters):
    """A letter that is requeued again within two minutes, since a crash came between, is stored once."""

    async def _open(self) -> None:
        tls = self.tls if self.url.startswith("nats+tls") else None
        self._transport = JetStreamTransport(self.url, durable=Durable(), tls=tls)
        await self._transport.connect()

    async def _close(self) -> None:
        await self._transport.close()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        yield [_letter(one) async for one in self._stored()]

    async def _stored(self) -> AsyncIterator[RawStreamMsg]:
        after = 0
        while True:
            try:
                found = await self._transport.streams.get_msg(
                    DEAD, seq=after + 1, subject=self._transport.dead(self.name), next=True
                )
            except NotFoundError:
                return
            yield found
            after = found.seq or 0

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        named = {**headers, NAME: f"back {letter.mark}"}
        await self._transport.store(letter.source, body, named, f"the requeued event {letter.id!r}")

    async def _remove(self, letter: DeadLetter) -> None:
        with contextlib.suppress(NotFoundError):
            await self._transport.streams.delete_msg(DEAD, letter.mark)


def _letter(message: RawStreamMsg) -> DeadLetter:
    headers = own_headers(message.headers)
    known = History(id=headers.get(MESSAGE_ID, f"letter {message.seq}"))
    return DeadLetter.read(message.data or b"", headers, message.seq, known)
