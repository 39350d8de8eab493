"""MQTT, at least once: version 5, QoS 1, a session that the broker keeps for each replica.

Guarantee: `emit` returns when the broker has confirmed the event, and raises NoHandlerError where nobody has ever
subscribed, for then it is kept nowhere. A service acknowledges an event after its handlers, and in the order of
receipt, as MQTT wants it: an event that takes long holds up those behind it, so no more than `prefetch` of them go past
it. A crash before means that the broker sends all those again. Deliveries are not counted: an event that kills its
service comes again for ever. A failed event waits, or lies dead, as a retained message (mqtt_copies.py), stored before
the event is acknowledged.

A session belongs to a replica, by its number: POSTOFFICE_REPLICA in the environment, 0 where nobody says. Whoever
starts two numbers them; where two have one number, the one that came first goes on as the next, with a warning. What
waits for a replica that is gone waits until one with its number is back: the broker gives it to no other. With a group
(a shared subscription) this is so too, and Mosquitto goes on giving a share of the events to a replica that is away. So
start again, under their numbers, all replicas that ever ran.

What the broker itself loses: Mosquitto lets 1,000 events wait for a session, be its replica away or slow, and drops
those beyond without telling anybody (max_queued_messages); it writes its sessions and its retained messages to disk
every 30 minutes and at its end, so a kill -9 of the broker loses them. What is published with QoS 0, as NestJS does by
default, is at most once.

Headers travel in the packet, as with QoS 0, where an MQTT 3.1.1 client sees them; a handler sees user properties too.
Requests are as at most once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import aiomqtt
from paho.mqtt.client import MQTTMessage

from ..errors import ConnectError, ConnectionLost, NoHandlerError, UsageError
from ..options import MQTT, Options
from .base import Capabilities, Deliver, log
from .mqtt import MqttTransport
from .mqtt_copies import Copy, read_copy, retry_topic
from .mqtt_delivery import MqttDurableDelivery
from .mqtt_session import Pairs, Session, pairs_of
from .mqtt_topics import OURS, REPLY, check, is_reply
from .mqtt_waiting import Waiting

__all__ = ["MqttDurableTransport"]

REPLICA = "POSTOFFICE_REPLICA"
LOOK = 10.0  # seconds between two looks at the copies: those from a requeue are announced with QoS 0
PAUSE = (0.1, 0.3)  # seconds before a service connects again: whoever took its session has said so by then
ROUND = f"{OURS}round"  # nobody listens; the confirmation of what is sent there tells that all before has been done


class MqttDurableTransport(MqttTransport):
    """`mqtt://...` and `mqtts://...` with delivery="at-least-once"."""

    capabilities = Capabilities(acks=True, groups=True, options=MQTT)
    _connection: Session | None

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        assert self.durable is not None
        self._replica = _replica()
        self._nonce = secrets.token_hex(8)  # who we are, among those that have our number
        self._holder: str | None = None  # who the broker says has our number
        self._claimed = self._leaving = False
        self._looker: asyncio.Task[None] | None = None
        self.waiting = Waiting(self._keep_or_take, self._begin, self.prefetch, max(self.durable.delays, default=0.0))

    @property
    def copies(self) -> str:
        """The topic under which this replica's failed events wait."""
        assert self.durable is not None
        return retry_topic(self.durable.service, self._replica)

    def new_topic(self) -> str:
        """For the copy of one more event."""
        return f"{self.copies}/{secrets.token_hex(10)}"

    @property
    def _claim(self) -> str:
        assert self.durable is not None
        return f"{OURS}replica/{quote(self.durable.service, safe='')}/{self._replica}"

    def _make_connection(self) -> Session:
        if self._deliver is None:
            return Session(*self.place, self._arrived, **self.driver_options)
        assert self.durable is not None
        identifier = f"postoffice-{quote(self.durable.service, safe='')}-{self._replica}"
        return Session(*self.place, self._arrived, identifier=identifier, window=self.prefetch, **self.driver_options)

    async def _open(self) -> None:
        if self._claimed:
            await asyncio.sleep(random.uniform(*PAUSE))
        await super()._open()
        if self._deliver is not None:
            assert self._connection is not None
            await self._take_number(self._connection)
            await self._connection.listen([f"{self.copies}/+"], 0, retained=True)

    async def _take_number(self, session: Session) -> None:
        """Say that this replica has its number now; one that had it before and finds another there takes the next."""
        self._holder = None
        await session.listen([self._claim], 0, retained=True)
        await session.store(ROUND, b"")
        if self._claimed and self._holder not in (None, self._nonce):
            number = self._replica
            self._replica, self._claimed = number + 1, False
            self.waiting.forget()
            log.warning(
                "another replica has number %d now; this one goes on as %d. Give each its own: %s=0, 1, ...",
                number, self._replica, REPLICA,
            )  # fmt: skip
            raise ConnectionError("its number is another replica's")
        await session.store(self._claim, self._nonce.encode(), retain=True)
        self._claimed = True

    async def _subscribe(self, filters: list[str]) -> None:
        assert self.durable is not None
        assert self._connection is not None
        events = {*map(self._filter, self.durable.events)}
        await self._connection.listen([one for one in filters if one in events], 1)
        await self._connection.listen([one for one in filters if one not in events], 0)

    # as a client

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None]:
        check(route, packet)
        return self._emit(route, packet, bool(options and options.get("retain")))

    async def _emit(self, route: str, packet: bytes, retain: bool) -> None:
        await self._ready()
        if self._connection is None:
            raise ConnectError("the connection to the MQTT broker is closed. Nothing was sent.")
        if not await self._connection.store(route, packet, retain=retain) and not retain:
            raise NoHandlerError(
                f"nobody takes the event {route!r}: no service that wants it was ever started. It was not stored."
            )

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._leaving = self._claimed = False
        self.waiting.start()
        await super().subscribe(routes, deliver)
        self._looker = asyncio.create_task(self._keep_looking(), name="postoffice MQTT copies")

    async def unsubscribe(self) -> None:
        """Take no more. What comes now is not acknowledged, so it comes again; only requests are unsubscribed."""
        assert self.durable is not None
        self._leaving = True
        self.waiting.stop()
        requests = [self._filter(one) for one in self._routes if one not in self.durable.events]
        if requests and self._connection is not None and self._up.is_set():
            with contextlib.suppress(aiomqtt.MqttError):
                await self._connection.unsubscribe(requests)

    async def close(self) -> None:
        if self._looker is not None:
            self._looker.cancel()
        await super().close()

    def _arrived(self, session: Session, message: MQTTMessage) -> None:
        topic, body = message.topic, bytes(message.payload)
        if self._deliver is None:
            self._received(topic, body)
            return
        if topic.startswith(OURS):
            self._kept(topic, body, pairs_of(message))
            if message.qos:
                session.release(session.hold(message))
            return
        if self._leaving and message.qos:
            return
        held = session.hold(message) if message.qos else None
        route = self._route(topic)
        if topic.endswith(REPLY) and route != topic and is_reply(body):  # it passes a handler with wildcards
            if held:
                session.release(held)
        elif held or route is not None:  # an event that nobody handles any more goes to the dead letters
            delivery = MqttDurableDelivery(self, route, topic, body, pairs_of(message), 1 + message.dup)
            delivery.held = (session, held) if held else None
            self._deliver(delivery)

    # copies

    def _kept(self, topic: str, body: bytes, pairs: Pairs) -> None:
        """The broker shows what it keeps of ours."""
        if topic == self._claim:
            self._holder = body.decode("utf-8", "replace")
        elif topic.startswith(f"{self.copies}/"):
            copy = read_copy(body, pairs) if body else None
            if body and copy is None:
                log.error("%s holds no event of ours; it is left there", topic)
            else:
                self.waiting.seen(topic, copy)

    def _begin(self, topic: str, copy: Copy) -> None:
        assert self._deliver is not None
        history = copy.history
        self._deliver(MqttDurableDelivery(self, history.route, topic, copy.body, copy.pairs, history=history))

    async def keep(self, topic: str, copy: Copy | None) -> None:
        """Have the broker keep a copy, or none there any more; confirmed when this returns."""
        await self._ready()
        if self._connection is None:
            raise ConnectionLost("the connection to the MQTT broker is closed; a failed event was not stored.")
        packed, pairs = (copy.packed(), copy.pairs) if copy else (b"", [])
        await self._connection.store(topic, packed, pairs, retain=True)

    async def _keep_or_take(self, topic: str, copy: Copy | None) -> None:
        """What is done has to be taken out, however often the connection breaks."""
        while True:
            try:
                await self.keep(topic, copy)
                return
            except ConnectionLost:
                if copy is not None:
                    raise
                await asyncio.sleep(PAUSE[0])

    async def _keep_looking(self) -> None:
        """Mosquitto shows about a thousand retained messages at once; the others are seen later."""
        while True:
            await asyncio.sleep(LOOK)
            if self._connection is not None and self._up.is_set():
                with contextlib.suppress(aiomqtt.MqttError):
                    await self._connection.listen([f"{self.copies}/+"], 0, retained=True)


def _replica() -> int:
    given = os.environ.get(REPLICA, "0")
    if not (given.isascii() and given.isdigit()):
        raise UsageError(f"{REPLICA} is the number of a replica: 0, 1, 2 and so on; got {given!r}.")
    return int(given)
