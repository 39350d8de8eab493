"""MQTT 3.1.1: a topic per route, replies on `<topic>/reply`.

Guarantee: at most once. Everything travels with QoS 0, as with NestJS, where a call's options name no other: the
broker hands a message to whoever is subscribed at that moment. At least once is mqtt_durable.py's. Nobody is told when
no one listens: a request then times out. MQTT 3.1.1 has no headers: ours travel in the packet.

A `/` in a pattern separates levels; in a handler's pattern `+` matches one level, and `#` the rest. Of the handlers
that match a topic the exact one takes the message, else the first with wildcards (those of messages before those of
events), as with NestJS. Every replica gets every message; with `group` (MQTT's `$share/<group>/...`) one of them does.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

import aiomqtt

from ..errors import ConnectError, PatternError
from ..options import MQTT, Options
from .base import Capabilities, Deliver, Delivery
from .broker import Batcher, BrokerTransport
from .logins import login_of
from .mqtt_driver import Connection
from .mqtt_topics import REPLY, check, check_filter, has_wildcards, is_reply, matches

__all__ = ["MqttTransport"]

REFUSED = (134, 135)  # reason codes of a broker that answers: bad user name or password, not authorized
TOPICS_KEPT = 1024  # topics whose handler is remembered; more are looked up again


class MqttDelivery(Delivery):
    __slots__ = ("_transport",)

    def __init__(self, transport: MqttTransport, route: str, topic: str, body: bytes) -> None:
        super().__init__(body, route, address=topic)
        self._transport = transport

    def reply(self, packet: bytes) -> None:
        self._transport.send(f"{self.address}{REPLY}", packet)

    def room(self) -> Awaitable[None] | None:
        return self._transport.room()


class MqttTransport(BrokerTransport):
    """`mqtt://[user:password@]host:port`, and `mqtts://` over TLS."""

    name = "MQTT"
    default_port = 1883
    capabilities = Capabilities(groups=True, options=MQTT)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._connection: Connection | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._deliver: Deliver | None = None
        self._routes: list[str] = []
        self._by_topic: dict[str, str | None] = {}
        self._listening: dict[str, asyncio.Future[None]] = {}  # reply topics, done once confirmed; they stay open
        self._subscribing: set[asyncio.Task[None]] = set()
        self._out: Batcher[tuple[str, bytes]] = Batcher(self._publish_all)

    async def _open(self) -> None:
        connection = self._connection = self._make_connection()
        await connection.enter()
        self._watcher = asyncio.create_task(self._watch(connection), name="postoffice MQTT watcher")
        await self._subscribe([*map(self._filter, self._routes), *self._listening])
        for standing in self._listening.values():
            if not standing.done():
                standing.set_result(None)

    def _make_connection(self) -> Connection:
        return Connection(*self.place, self._received, **self.driver_options)

    @property
    def place(self) -> tuple[str, int]:
        return self.address(8883 if self.secure else self.default_port)

    @property
    def driver_options(self) -> dict[str, Any]:
        """How the driver shows who we are."""
        user, password = login_of(self.url)
        return {
            "username": user,
            "password": password,
            "tls_context": self.tls.for_client() if self.secure else None,
        }

    def _refuses(self, error: Exception) -> bool:
        return isinstance(error, aiomqtt.MqttCodeError) and getattr(error.rc, "value", error.rc) in REFUSED

    def _filter(self, route: str) -> str:
        shared = self.group and not route.startswith("$share/")
        return f"$share/{self.group}/{route}" if shared else route

    async def _subscribe(self, filters: list[str]) -> None:
        if filters and self._connection is not None:
            granted = await self._connection.subscribe([(one, 0) for one in filters], timeout=math.inf)
            refused = [one for one, code in zip(filters, granted, strict=True) if getattr(code, "is_failure", False)]
            if refused:
                raise PatternError(f"the MQTT broker refuses a subscription to {refused}. May this user read there?")

    async def _watch(self, connection: Connection) -> None:
        self._lose(await connection.broken())

    async def _shut(self) -> None:
        connection, self._connection = self._connection, None
        for task in [*self._subscribing, *filter(None, [self._watcher])]:
            task.cancel()
        if connection is not None:
            await connection.leave()

    async def _flush(self) -> None:
        await self._out.drain()

    def _received(self, topic: str, body: bytes) -> None:
        """A message from the broker. The handler is chosen by its topic, whatever the body says."""
        if self._deliver is None:
            if self.replies is not None:
                self.replies.on_reply(body)
            return
        route = self._route(topic)
        if route is None or (topic.endswith(REPLY) and route != topic and is_reply(body)):
            return  # a reply that passes a handler with wildcards is for its caller only
        self._deliver(MqttDelivery(self, route, topic, body))

    def _route(self, topic: str) -> str | None:
        """The pattern of the handler that takes this topic."""
        try:
            return self._by_topic[topic]
        except KeyError:
            if len(self._by_topic) >= TOPICS_KEPT:
                self._by_topic.clear()
            route = self._by_topic[topic] = next((one for one in self._routes if matches(one, topic)), None)
            return route

    # as a client

    def request(
        self,
        route: str,
        packet: bytes,
        request_id: str,
        headers: Mapping[str, str] | None,
        options: Options | None = None,
    ) -> Awaitable[None] | None:
        check(route, packet)
        listening = self._listening.get(route + REPLY)
        if self._up.is_set() and listening is not None and listening.done() and not options:
            return self._out.put((route, packet))
        return self._request_when_listening(route, packet, options)

    async def _request_when_listening(self, route: str, packet: bytes, options: Options | None) -> None:
        """The first request of a route waits until its reply topic stands; the topic stays open from then on."""
        await self._ready()
        topic = route + REPLY
        if topic not in self._listening:
            self._listening[topic] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._listen(topic))
            self._subscribing.add(task)
            task.add_done_callback(self._subscribing.discard)
        await asyncio.shield(self._listening[topic])  # others wait for it too
        if options:
            await self._publish_with(options, route, packet)
        else:
            self._out.add((route, packet))

    async def _publish_with(self, options: Options, route: str, packet: bytes) -> None:
        """Publish behind what was sent before, and wait for the confirmation that its QoS brings."""
        await self._ready()
        await self._out.drain()
        if self._connection is None:
            raise ConnectError("the connection to the MQTT broker is closed. Nothing was sent.")
        await self._connection.publish_one(route, packet, options.get("qos", 0), options.get("retain", False))

    async def _listen(self, topic: str) -> None:
        """Subscribe to a reply topic. Where the connection breaks meanwhile, `_open` does it again."""
        standing = self._listening[topic]
        try:
            await self._subscribe([topic])
            standing.set_result(None)
        except PatternError as error:
            del self._listening[topic]
            standing.set_exception(error)
        except aiomqtt.MqttError:
            self._lose(None)

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        check(route, packet)
        if options:
            return self._publish_with(options, route, packet)
        if self._up.is_set():
            return self._out.put((route, packet))
        return self._publish_when_up(route, packet)

    async def _publish_when_up(self, route: str, packet: bytes) -> None:
        await self._ready()
        self.send(route, packet)

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._routes = sorted(routes, key=has_wildcards)  # the sort is stable: exact ones first
        for route in self._routes:
            check_filter(self._filter(route))
        self._deliver = deliver
        await self.connect()

    async def unsubscribe(self) -> None:
        filters, self._routes = [*map(self._filter, self._routes)], []
        if filters and self._connection is not None and self._up.is_set():
            with contextlib.suppress(aiomqtt.MqttError):
                await self._connection.unsubscribe(filters)  # what was sent before has come when this returns

    def send(self, topic: str, body: bytes) -> None:
        """Publish with the next batch; a reply's caller may be gone, so nobody is told."""
        self._out.add((topic, body))

    async def _publish_all(self, items: list[tuple[str, bytes]]) -> None:
        if self._connection is None:
            raise ConnectionError("the connection is closed")
        try:
            await self._connection.publish_all(items)
        except TimeoutError as error:
            self._lose(error)
            raise
