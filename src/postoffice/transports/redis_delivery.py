"""A message of Redis at least once: an entry of a stream, or what was published and is kept from its first failure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from .. import messages
from ..durable import HISTORY, MESSAGE_ID, History
from .delivery import Delivery
from .redis import REPLY

if TYPE_CHECKING:
    from .redis_streams import RedisStreamsTransport

__all__ = ["Entry", "EntryDelivery", "KeptDelivery", "PublishedDelivery", "copied", "header_text", "read_fields"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a message is: the key of its stream, its id there, and how often it was delivered, this time included."""

    key: str
    id: bytes
    count: int


class KeptDelivery(Delivery):
    """Stored once more when it failed. `entry` is where it is; None: nowhere but here."""

    __slots__ = ("_transport", "entry")

    def __init__(self, transport: RedisStreamsTransport, entry: Entry | None, *message: Any, **more: Any) -> None:
        super().__init__(*message, **more)
        self._transport = transport
        self.entry = entry

    @property
    def source(self) -> str:
        return self._transport.source(self.route)

    async def retry(self, after: float, history: History) -> None:
        await self._transport.retry(self, after, history)

    async def dead_letter(self, queue: str, history: History) -> None:
        await self._transport.bury(self, queue, history)


class PublishedDelivery(KeptDelivery):
    """What pub/sub brought: a request, or an event at most once. A crash loses it; a failure does not."""

    __slots__ = ()

    def __init__(self, transport: RedisStreamsTransport, route: bytes, channel: bytes, body: bytes) -> None:
        names = [name.decode("utf-8", "replace") for name in (route, channel)]
        super().__init__(transport, None, body, names[0], address=names[1])

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()

    def reply(self, packet: bytes) -> None:
        self._transport.send((self.address or "").encode() + REPLY, packet)

    async def retry(self, after: float, history: History) -> None:
        await super().retry(after, self._named(history))

    async def dead_letter(self, queue: str, history: History) -> None:
        await super().dead_letter(queue, self._named(history))

    def _named(self, history: History) -> History:
        """With the identity that its sender gave it, which is inside the body."""
        named = None
        with contextlib.suppress(msgspec.MsgspecError):
            named = messages.metadata(messages.read_packet(self.body)).get(MESSAGE_ID)
        return msgspec.structs.replace(history, id=named) if isinstance(named, str) else history


class EntryDelivery(KeptDelivery):
    """An entry of a stream; it is pending until it is acknowledged.

    Attributes:
        gone: another replica has it by now. settled: it is acknowledged, with the copy that was made of it.
    """

    __slots__ = ("gone", "settled")
    entry: Entry

    def __init__(
        self, transport: RedisStreamsTransport, route: str, entry: Entry, body: bytes, headers: Mapping[str, Any]
    ) -> None:
        identity = headers.get(MESSAGE_ID) or entry.id.decode()
        super().__init__(transport, entry, body, route, headers, entry.count, message_id=identity)
        self.gone = self.settled = False

    def reply(self, packet: bytes) -> None:
        """Nobody waits: no request of ours comes by a stream."""

    async def ack(self) -> None:
        if not self.settled:
            await self._transport.ack(self)

    @property
    def taken_back(self) -> bool:
        return self.gone


def copied(headers: Mapping[str, Any], history: History) -> bytes:
    """The headers of a copy of a message that failed."""
    return header_text({**headers, MESSAGE_ID: history.id, HISTORY: history.header()})


def header_text(headers: Mapping[str, Any]) -> bytes:
    """Headers as they stand in an entry."""
    return json.dumps(dict(headers)).encode()


def read_fields(fields: list[bytes]) -> tuple[bytes, dict[str, Any]]:
    """Body and headers of an entry. One that we did not write has no body: its fields are the data."""
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    if b"body" not in named:
        return messages.encode({_text(name): _text(value) for name, value in named.items()}), {}
    try:
        headers = json.loads(named.get(b"headers", b"{}"))
    except ValueError:
        headers = {}
    return named[b"body"], headers if isinstance(headers, dict) else {}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
