"""At least once, as data: what a service asks of its transport, and what travels with a message that failed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

__all__ = ["HISTORY", "MESSAGE_ID", "Durable", "History", "Kind", "read_history"]

HISTORY = "postoffice-history"  # the header that a failed message carries
MESSAGE_ID = "message-id"  # the header with a message's identity
LIMIT = 20  # deliveries of one event, where its handler has no Retry: as RabbitMQ 4's quorum queues have it
ACK_WAIT = 5.0  # seconds after which what a silent replica holds goes to another one
MAX_REASON = 500  # characters of a reason that travel

Kind = Literal["exhausted", "permanent", "invalid", "unhandled", "crashed"]


@dataclass(frozen=True, slots=True)
class Durable:
    """What at least once asks of a transport. A client's has none of these.

    Attributes:
        service: the service's name; what its replicas share bears it.
        events: the routes of its event handlers. delays: seconds of every delay a retry may take.
        dead: its dead-letter queues, by name.
        ack_wait: seconds after which the broker takes back what a replica that has fallen silent did not acknowledge,
            where the broker goes by time (Redis Streams, JetStream). A handler may take longer: its replica says so.
        limit: deliveries after which a message counts as one that kills its service.
        quorum: RabbitMQ only: the queue is a quorum queue.
    """

    service: str = ""
    events: tuple[str, ...] = ()
    delays: tuple[float, ...] = ()
    dead: tuple[str, ...] = ()
    ack_wait: float = ACK_WAIT
    limit: int = LIMIT
    quorum: bool = False


class History(msgspec.Struct, frozen=True):
    """What is known of a message's failures. It travels with every later copy, as JSON in one header.

    Attributes:
        id: the message's identity. pattern: as it was sent. route: its handler's pattern.
        attempts: how often it was delivered. first, last: when it failed first and last (unix time, seconds).
        reason: the last error. kind: why it is a dead letter ("retried" while it is none).
        service: whose handler failed. source: the queue, stream, subject or topic to send it back to.
    """

    id: str
    pattern: str = ""
    route: str = ""
    attempts: int = 0
    first: float = 0.0
    last: float = 0.0
    reason: str = ""
    kind: str = "retried"
    service: str = ""
    source: str = ""

    def failed(self, attempts: int, reason: str, kind: str) -> History:
        """One failure more."""
        now = time.time()
        return msgspec.structs.replace(
            self, attempts=attempts, first=self.first or now, last=now, reason=reason[:MAX_REASON], kind=kind
        )

    def again(self) -> History:
        """As it goes back to its service: the same message, from its first attempt."""
        return History(self.id, self.pattern, self.route, service=self.service, source=self.source)

    def header(self) -> str:
        """ASCII in one line, as the narrowest header (NATS') needs it."""
        return json.dumps(msgspec.structs.asdict(self), separators=(",", ":"))


def read_history(headers: Mapping[str, Any]) -> History | None:
    """The history among a message's headers; None where there is none, or one that is not ours."""
    text = headers.get(HISTORY)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=History)
    except (msgspec.DecodeError, UnicodeError, TypeError):
        return None
