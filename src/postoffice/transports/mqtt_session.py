"""MQTT 5 with QoS 1, as at least once needs it: messages acknowledged by hand, and publishes that are confirmed.

aiomqtt acknowledges a message before its handler has run, and drops those that its queue has no room for. Here paho's
manual acknowledgement is used, and nothing is queued: the broker sends no more than the window has room for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..errors import ConnectError, ConnectionLost, PatternError
from .mqtt_driver import Connection

__all__ = ["Held", "Pairs", "Session", "pairs_of"]

FOR_EVER = 0xFFFF_FFFF  # MQTT 5: a session that does not expire
WIDEST = 65_535  # MQTT 5: the largest window
KEEPALIVE = 20  # seconds; a broker gives a silent client up after one and a half times that
NOBODY = 16  # MQTT 5's reason: no matching subscribers

Pairs: TypeAlias = "list[tuple[str, str]]"


class Held:
    """A message that is not acknowledged yet."""

    __slots__ = ("done", "id")

    def __init__(self, identifier: int) -> None:
        self.id = identifier
        self.done = False


class Session(Connection):
    """One connection. Ended, it is not used again.

    Args:
        received: called with each message as paho has it. identifier: a session that the broker keeps; without, it
            ends with the connection, and its messages are acknowledged at once. window: how many messages the broker
            may send before the first is acknowledged.
    """

    def __init__(
        self,
        host: str,
        port: int,
        received: Callable[[Session, MQTTMessage], None],
        *,
        identifier: str | None = None,
        window: int = WIDEST,
        **options: Any,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = FOR_EVER if identifier else 0
        properties.ReceiveMaximum = min(window, WIDEST)
        options |= {"identifier": identifier} if identifier else {}
        super().__init__(
            host, port, lambda topic, body: None, protocol=aiomqtt.ProtocolVersion.V5, clean_session=None,
            clean_start=identifier is None, properties=properties, keepalive=KEEPALIVE, **options,
        )  # fmt: skip
        self._take = received
        self._window = window
        self._held: deque[Held] = deque()
        self._waiting: deque[MQTTMessage] = deque()  # Mosquitto 2.0.11 sends more than the window has room for
        self._taking = False
        self._unconfirmed: dict[int, asyncio.Future[int]] = {}
        self._client.manual_ack_set(identifier is not None)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def listen(self, filters: Iterable[str], qos: int, *, retained: bool = False) -> None:
        """Subscribe; `retained`: also what the broker keeps there now, else only where the subscription is new.

        Raises:
            PatternError: the broker refuses.
        """
        wanted = SubscribeOptions(qos=qos, retainHandling=0 if retained else 1)
        asked = [(one, wanted) for one in filters]
        if not asked:
            return
        granted = await self.subscribe(asked, timeout=60)
        refused = [one for (one, _), code in zip(asked, granted, strict=True) if getattr(code, "is_failure", False)]
        if refused:
            raise PatternError(f"the MQTT broker refuses a subscription to {refused}. May this user read there?")

    async def publish_one(self, topic: str, body: bytes, qos: int, retain: bool) -> None:
        await self.store(topic, body, qos=qos, retain=retain)

    async def store(
        self, topic: str, body: bytes, pairs: Pairs | None = None, *, qos: int = 1, retain: bool = False
    ) -> bool:
        """Publish, and wait for the broker's confirmation. Returns whether anybody is subscribed, as QoS 1 tells.

        Raises:
            ConnectError: the broker refused it. ConnectionLost: it may be stored or not.
        """
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if pairs:
            properties.UserProperty = pairs
        sent = self._client.publish(topic, body, qos=qos, retain=retain, properties=properties)
        if self.ended or sent.rc != MQTT_ERR_SUCCESS:
            raise ConnectionLost(f"the connection to the MQTT broker broke; {topic!r} was not confirmed.")
        confirmed = self._unconfirmed[sent.mid] = asyncio.get_running_loop().create_future()
        try:
            reason: int = await confirmed
        finally:
            self._unconfirmed.pop(sent.mid, None)
        if reason >= 128:
            raise ConnectError(f"the MQTT broker refused a message to {topic!r} (reason {reason}). It was not stored.")
        return reason != NOBODY

    def hold(self, message: MQTTMessage) -> Held:
        """Keep a message until it is released."""
        held = Held(message.mid)
        self._held.append(held)
        return held

    def release(self, held: Held) -> None:
        """Acknowledge it, once those that came before it are: MQTT wants the order of receipt."""
        held.done = True
        while self._held and self._held[0].done and not self.ended:
            self._client.ack(self._held.popleft().id, 1)
        self._take_waiting()

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        if message.qos:
            self._waiting.append(message)
            self._take_waiting()
        else:
            self._take(self, message)

    def _take_waiting(self) -> None:
        if self._taking:
            return  # one that is taken may be done, and released, at once
        self._taking = True
        try:
            while self._waiting and len(self._held) < self._window and not self.ended:
                self._take(self, self._waiting.popleft())
        finally:
            self._taking = False

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        confirmed = self._unconfirmed.get(mid)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(reason_code.value)

    def _closed(self, paho: Any, userdata: Any, connection: Any) -> None:
        super()._closed(paho, userdata, connection)
        self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        for confirmed in self._unconfirmed.values():
            if not confirmed.done():
                confirmed.set_exception(
                    ConnectionLost(
                        "the connection to the MQTT broker broke before it had confirmed a message. It may be stored"
                        " or not: sending it again may store it twice."
                    )
                )


def pairs_of(message: MQTTMessage) -> Pairs:
    """The user properties of a message."""
    return list(getattr(message.properties, "UserProperty", []))
