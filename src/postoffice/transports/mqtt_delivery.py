"""A message of MQTT as a service that delivers at least once gets it: in a session, or a failed one from its copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..durable import HISTORY, History
from .delivery import Delivery
from .mqtt import MqttDelivery
from .mqtt_copies import Copy, dead_topic, headers_in
from .mqtt_session import Held, Pairs, Session

if TYPE_CHECKING:
    from .mqtt_durable import MqttDurableTransport

__all__ = ["MqttDurableDelivery"]


class MqttDurableDelivery(MqttDelivery):
    """An event or a request as it came, `held` in a session until it is acknowledged (not with QoS 0); or a copy."""

    __slots__ = ("_pairs", "_topic", "held", "is_copy")

    def __init__(
        self,
        transport: MqttDurableTransport,
        route: str | None,
        topic: str,
        body: bytes,
        pairs: Pairs,
        attempt: int = 1,
        history: History | None = None,
    ) -> None:
        headers = {**headers_in(body), **dict(pairs)} | ({HISTORY: history.header()} if history else {})
        Delivery.__init__(self, body, route, headers, attempt, address=topic)
        self._transport: MqttDurableTransport = transport
        self._pairs = pairs
        self.is_copy = history is not None
        self._topic = topic if self.is_copy else transport.new_topic()
        self.held: tuple[Session, Held] | None = None

    async def ack(self) -> None:
        if self.held is not None:
            session, held = self.held
            session.release(held)
        elif self.is_copy:
            await self._transport.waiting.settle(self._topic)

    async def retry(self, after: float, history: History) -> None:
        due = history.last + after
        await self._transport.waiting.put(self._topic, Copy(history, self.body, self._pairs, due))

    async def dead_letter(self, queue: str, history: History) -> None:
        await self._transport.keep(dead_topic(queue), Copy(history, self.body, self._pairs))

    @property
    def taken_back(self) -> bool:
        return self.held is not None and self.held[0].ended

    @property
    def source(self) -> str:
        return self._transport.copies
