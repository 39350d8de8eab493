"""What a handler may know of its message besides the data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a handler, for those that take one.

    Attributes:
        pattern: the route the message came by, e.g. `order.placed` or `{"cmd":"sum"}`.
        headers: what the sender put beside the data: the transport's own headers, or the packet's metadata.
        correlation_id: the id of the request, or the message's own correlation id; None for an event without.
        message_id: the message's identity, the same in every redelivery, retry and requeue: what an idempotency key
            is made from. At least once every event has one, if its sender is not a stranger to the broker's ids.
        attempt: 1 for the first delivery; more when the broker, or the message itself, says that it came before.
        transport: the name of the transport, e.g. "tcp".
        raw: the message's body, as it came; empty on gRPC.
        deadline: when the caller gives up, in the event loop's time; None where it has not said. It does on gRPC, and
            elsewhere for what it sends `within` a deadline.
    """

    pattern: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None
    attempt: int = 1
    transport: str = ""
    raw: bytes = b""
    deadline: float | None = None
    message_id: str | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds until the caller gives up; None where it has not said."""
        return None if self.deadline is None else max(0.0, self.deadline - asyncio.get_running_loop().time())
