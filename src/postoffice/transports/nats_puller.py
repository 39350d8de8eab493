"""Asks a consumer of JetStream for messages, as many as there is room for."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StatusCode

from .nats_streams import EVENTS

__all__ = ["Puller"]

GRACE = 10.0  # seconds after its end when a request for messages counts as lost


class Puller:
    """The messages of one consumer.

    Args:
        client: connected. consumer: its name. take: gets each message. gone: called when the consumer is gone.
        changed: set when less is asked for than before. expires: seconds that the server keeps a request: for so long
            it may hand messages to a replica that has fallen silent.
    """

    def __init__(
        self,
        client: Client,
        consumer: str,
        take: Callable[[Msg], Awaitable[None]],
        gone: Callable[[str], None],
        changed: asyncio.Event,
        expires: float,
    ) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{consumer}"
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._take = take
        self._gone = gone
        self._changed = changed
        self._expires = expires
        self._asked_at = 0.0
        self.asked = 0  # messages that may still come

    async def open(self) -> Any:
        """Begin to listen; returns the subscription."""
        return await self._client.subscribe(self._inbox, cb=self._came)

    async def pull(self, count: int) -> None:
        """Ask for so many messages."""
        self.asked += count
        self._asked_at = asyncio.get_running_loop().time()
        request = {"batch": count, "expires": round(self._expires * 1e9)}
        await self._client.publish(self._next, json.dumps(request).encode(), self._inbox)

    def forget_lost(self) -> None:
        """What was asked for long ago will not come."""
        if asyncio.get_running_loop().time() > self._asked_at + self._expires + GRACE:
            self.asked = 0

    async def _came(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status") if message.subject == self._inbox else None
        if status is None:
            self.asked = max(0, self.asked - 1)
            await self._take(message)
            self._changed.set()
            return
        assert message.headers is not None
        reason = message.headers.get("Description", "")
        self.asked = max(0, self.asked - int(message.headers.get("Nats-Pending-Messages", self.asked)))
        if status == StatusCode.SERVICE_UNAVAILABLE or "Deleted" in reason:
            self._gone(reason or "the consumer is gone")
        elif status != StatusCode.CONFLICT:  # after a conflict one waits for the next heartbeat
            self._changed.set()
