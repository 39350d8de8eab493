"""JetStream: events at least once on NATS. A durable consumer per service and pattern, which its replicas share.

Guarantee: `emit` returns once the server has stored the event; a service acknowledges it after its handlers have
finished, and the server confirms that. What a replica holds that dies, or falls silent for `ack_wait`, is delivered
again, so work may be done twice. A failed event stays in the stream until its next attempt; a dead letter is stored
before the event is acknowledged, under a name that makes a second copy of it harmless for two minutes.
The server writes to disk at once and syncs every two minutes, unless its `sync_interval` is `always`: a crash of the
server loses nothing, a power cut may.

Requests stay on core NATS, and a service hears core events of its patterns, as a NestJS client emits them: those at
most once, by every replica (or one of a group); one that fails is stored from then on. Patterns may have wildcards.
An event sent again with the same message_id within two minutes is stored once. The server counts deliveries, not
whose fault it was: what was under way each time that a deadly event killed the service ends as "crashed" with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from ..durable import MESSAGE_ID, Durable, History
from ..errors import ConnectError, ConnectionLost, PayloadError
from ..options import Options
from .base import Capabilities, Deliver, log, reason_of
from .inflight import InFlight
from .nats import NatsTransport, check_subject
from .nats_delivery import CoreDelivery, StreamDelivery, due_in, nak
from .nats_puller import Puller
from .nats_streams import NAME, again, checked_headers, copied, ensure_consumer, ensure_streams

__all__ = ["JetStreamTransport"]

AGAIN = 0.05  # seconds until an acknowledgement is sent once more, on a new connection
ANSWER = 5.0  # seconds that the server may take to confirm an acknowledgement
REMEMBERED = 4096  # histories of failed events that are kept until they come again


class JetStreamTransport(NatsTransport):
    """`nats://[user:password@]host:port`, of a server with JetStream."""

    name = "JetStream"
    capabilities = Capabilities(acks=True, headers=True, groups=True)

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._service = self.durable or Durable()
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._answer_inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._count = 0
        self._held: InFlight[StreamDelivery] | None = None
        self._pullers: list[Puller] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._failed: OrderedDict[tuple[str, int], History] = OrderedDict()

    async def _open(self) -> None:
        await super()._open()
        assert self._client is not None
        await self._client.subscribe(f"{self._answer_inbox}.*", cb=self._answered)
        await ensure_streams(self.streams, self.public_url)
        self._pullers = []
        if self._held is None:
            return
        for route in () if self._stopping else self._service.events:
            consumer = await ensure_consumer(self.streams, self._service, route)
            take = self._taker(consumer, route)
            changed, expires = self._held.changed, self._service.ack_wait
            puller = Puller(self._client, consumer, take, self._consumer_gone, changed, expires)
            self._subscriptions.append(await puller.open())
            self._pullers.append(puller)
        self._tasks = [
            asyncio.create_task(self._pull(self._held), name="postoffice JetStream pulls"),
            asyncio.create_task(self._beat(self._held), name="postoffice JetStream heartbeats"),
        ]

    async def _shut(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super()._shut()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(
                    ConnectionLost("the connection to NATS broke before it had answered. It may be done.")
                )

    async def _flush(self) -> None:
        if self._held is not None and self._client is not None:
            for one in self._held:  # what no handler finished is at once for other replicas
                await self._client.publish(one.reply_to, nak(0))
        await super()._flush()

    def _consumer_gone(self, reason: str) -> None:
        self._lose(ConnectionLost(reason))

    @property
    def streams(self) -> JetStreamContext:
        """The driver's own view of JetStream."""
        assert self._client is not None
        return self._client.jetstream()

    # what the server confirms

    async def _ask(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> Msg:
        """The server's answer. Raises ConnectError (nothing was sent), ConnectionLost, PayloadError."""
        await self._ready()
        assert self._client is not None
        self._check_size(body)
        self._count += 1
        number = str(self._count)
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._client.publish(subject, body, f"{self._answer_inbox}.{number}", headers)
            return await answer
        except nats.errors.MaxPayloadError as error:
            raise PayloadError(f"the packet and its headers exceed the NATS server's max_payload ({error})") from error
        except (nats.errors.Error, OSError) as error:
            raise ConnectionLost(f"the connection to NATS broke ({reason_of(error)}). It may be done.") from error
        finally:
            del self._answers[number]

    async def _answered(self, message: Msg) -> None:
        answer = self._answers.get(message.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def store(self, subject: str, body: bytes, headers: dict[str, str], what: str) -> None:
        """Publish to a stream; it is stored when this returns."""
        answer = await self._ask(subject, body, headers)
        if not answer.data:
            raise ConnectError(f"no stream takes {what}: it was deleted a moment ago. It was not stored.")
        refused = msgspec.json.decode(answer.data).get("error")
        if refused:
            raise ConnectError(f"JetStream refused {what}: {refused.get('description')}. It was not stored.")

    # as a client

    def publish(
        self, route: str, packet: bytes, headers: Mapping[str, str] | None, options: Options | None = None
    ) -> Awaitable[None] | None:
        check_subject(route)
        told = checked_headers(headers or {})
        # the identity alone would hide another event about the same thing
        told[NAME] = quote(f"{route} {told.get(MESSAGE_ID) or secrets.token_hex(10)}")
        return self.store(f"events.{route}", packet, told, f"the event {route!r}")

    # as a service

    async def subscribe(self, routes: Iterable[str], deliver: Deliver) -> None:
        self._stopping = False
        self._held = InFlight(self.prefetch, deliver) if self._service.events else None
        await super().subscribe(routes, deliver)

    def _receiver(self, route: str) -> Any:
        async def received(message: Msg) -> None:
            assert self._deliver is not None
            if NAME not in (message.headers or {}):  # on its way into a stream, and comes from there
                self._deliver(CoreDelivery(self, route, message))

        return received

    def _taker(self, consumer: str, route: str) -> Any:
        async def take(message: Msg) -> None:
            assert self._held is not None
            delivery = StreamDelivery(self, consumer, route, message)
            again_now = next((one for one in self._held if one.key == delivery.key), None)
            if again_now is not None:  # delivered once more while it is under way here
                again_now.reply_to = delivery.reply_to
            elif self._stopping or due_in(delivery.headers) > 0:
                await self._give_back(delivery, max(0.0, due_in(delivery.headers)))
            else:
                delivery.history = self._failed.pop(delivery.key, delivery.history)
                self._held.take(delivery)

        return take

    async def _give_back(self, delivery: StreamDelivery, after: float) -> None:
        assert self._client is not None
        await self._client.publish(delivery.reply_to, nak(after))

    async def _pull(self, held: InFlight[StreamDelivery]) -> None:
        """Keep as much asked for as there is room for, shared among the patterns."""
        try:
            while not self._stopping:
                held.changed.clear()
                share = max(1, self.prefetch // max(1, len(self._pullers)))
                for one in self._pullers:
                    room = held.room - sum(other.asked for other in self._pullers)
                    if one.asked == 0 and held.room > 0:
                        await one.pull(max(1, min(room, share)))
                    elif min(room, share - one.asked) > share // 2:
                        await one.pull(min(room, share - one.asked))
                await held.changed.wait()
        except (nats.errors.Error, OSError) as error:
            self._lose(error)

    async def _beat(self, held: InFlight[StreamDelivery]) -> None:
        """Say that what is held is still worked on, however long its handlers take."""
        assert self._client is not None
        try:
            while True:
                await asyncio.sleep(self._service.ack_wait / 3)
                for one in held:
                    await self._client.publish(one.reply_to, b"+WPI")
                for puller in self._pullers:
                    puller.forget_lost()
                held.changed.set()
        except (nats.errors.Error, OSError) as error:
            self._lose(error)

    async def unsubscribe(self) -> None:
        self._stopping = True
        await super().unsubscribe()
        if self._held is not None and self._up.is_set():
            self._held.changed.set()
            with contextlib.suppress(nats.errors.Error, OSError):
                for one in self._held.not_begun():
                    await self._give_back(one, 0)

    def source(self, route: str | None) -> str:
        """The subject that takes an event back; "" where this service handles none of this pattern."""
        return again(self._service, route) if route in self._service.events else ""

    def dead(self, queue: str) -> str:
        """The subject of a dead-letter queue."""
        return f"dead.{queue}"

    def remember(self, delivery: StreamDelivery, history: History) -> None:
        """What is known of an event that failed, until it comes again; another replica does not know it."""
        self._failed[delivery.key] = history
        if len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)

    async def settle(self, delivery: StreamDelivery, word: bytes) -> None:
        """Acknowledge a message, or give it back; on the next connection where this one breaks."""
        assert self._held is not None
        while True:
            try:
                async with asyncio.timeout(ANSWER):
                    answer = await self._ask(delivery.reply_to, word)
                if (answer.headers or {}).get("Status"):
                    log.warning("nobody takes the acknowledgement of a message: its consumer was deleted")
                break
            except ConnectionLost:
                await asyncio.sleep(AGAIN)
            except (ConnectError, TimeoutError) as error:
                log.warning("a message was done but the acknowledgement was not confirmed (%s)", reason_of(error))
                break
        delivery.settled = True
        self._held.settled(delivery)

    async def store_copy(
        self, delivery: CoreDelivery, subject: str, history: History, name: str, more: Mapping[str, str] | None = None
    ) -> None:
        """Store a failed message once more. `name`: the server takes one copy of that name."""
        headers = {**copied(delivery.headers, history), MESSAGE_ID: history.id, NAME: quote(name), **(more or {})}
        await self.store(subject, delivery.body, headers, "a failed event")
