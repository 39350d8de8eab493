"""A message of NATS at least once: from a stream, or a core message that is stored from its first failure on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nats.aio.msg import Msg

from ..durable import History
from .base import log
from .nats import NatsDelivery
from .nats_streams import own_headers

if TYPE_CHECKING:
    from .nats_jetstream import JetStreamTransport

__all__ = ["DUE", "CoreDelivery", "StreamDelivery", "due_in"]

DUE = "postoffice-due"  # the header of a copy that is not to be handled before (unix time, seconds)


class CoreDelivery(NatsDelivery):
    """What core NATS brought: a request, or an event at most once. A crash loses it; a failure does not."""

    __slots__ = ()
    _transport: JetStreamTransport

    @property
    def source(self) -> str:
        return self._transport.source(self.route)

    async def retry(self, after: float, history: History) -> None:
        await self._transport.store_copy(
            self, self.source, history, f"again {history.id}", {DUE: str(time.time() + after)}
        )

    async def dead_letter(self, queue: str, history: History) -> None:
        await self._transport.store_copy(self, self._transport.dead(queue), history, f"dead {history.id}")


class StreamDelivery(CoreDelivery):
    """A message of a stream, pending until it is acknowledged.

    Attributes:
        key: its consumer, and its number in the stream. reply_to: the subject that takes its acknowledgement.
    """

    __slots__ = ("key", "reply_to", "settled")

    def __init__(self, transport: JetStreamTransport, consumer: str, route: str, message: Msg) -> None:
        super().__init__(transport, route, message)
        self.headers = own_headers(message.headers)
        self.address = self.history.pattern if self.history else message.subject.removeprefix("events.")
        self.attempt = max(1, message.metadata.num_delivered - (DUE in self.headers))
        if self.history is not None:
            self.attempt += self.history.attempts
        self.key = (consumer, message.metadata.sequence.stream)
        self.reply_to = message.reply
        self.settled = False

    def reply(self, packet: bytes) -> None:
        """Nobody waits: no request of ours comes by a stream."""

    def malformed(self, reason: str) -> None:
        log.error("a message is given up: %s", reason)

    async def ack(self) -> None:
        if not self.settled:
            await self._transport.settle(self, b"+ACK")

    async def retry(self, after: float, history: History) -> None:
        """The stream has it still: it is given back, to come again."""
        self._transport.remember(self, history)
        await self._transport.settle(self, nak(after))

    async def dead_letter(self, queue: str, history: History) -> None:
        # the same name for the same delivery: a crash before the ack makes no second copy
        name = f"dead {self.key[0]} {self.key[1]}"
        await self._transport.store_copy(self, self._transport.dead(queue), history, name)


def nak(after: float) -> bytes:
    """The word that gives a message back, to come again after so many seconds."""
    return b"-NAK " + json.dumps({"delay": round(after * 1e9)}).encode() if after > 0 else b"-NAK"


def due_in(headers: Mapping[str, str]) -> float:
    """Seconds until a copy is due; not above 0 when it is."""
    try:
        return float(headers.get(DUE, 0)) - time.time()
    except ValueError:
        return 0.0
