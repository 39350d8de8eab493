"""What becomes of an event that was not handled: tried again, put into a dead-letter queue, or given up.

At most once it is given up, with a line in the log. At least once it is never dropped: it waits for its next attempt,
or lies in a dead-letter queue. The copy is stored before the original is acknowledged, so a crash between makes two
copies, never none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from . import points
from .durable import Durable, History, Kind
from .errors import InvalidPayload, PostOfficeError
from .handlers import Handler
from .transports.delivery import Delivery

__all__ = ["Failure", "Settling"]

log = logging.getLogger("postoffice")

Failure: TypeAlias = "tuple[Handler, BaseException]"
AGAIN = 0.5  # seconds until a copy that could not be stored is tried once more


class Settling:
    """The policy of one service.

    Args:
        name: the service's. durable: what at least once asks for; None at most once.
    """

    def __init__(self, name: str, durable: Durable | None) -> None:
        self.name = name
        self._durable = durable
        self._queue = f"{name}.dead"

    def has_crashed(self, handlers: Iterable[Handler], delivery: Delivery) -> bool:
        """Whether the event was delivered more often than any failure of its handlers explains."""
        return self._durable is not None and delivery.attempt > self._limit(handlers)

    async def crashed(self, handlers: Iterable[Handler], delivery: Delivery) -> None:
        """Not given to its handler again: it may be what kills the service."""
        tried = delivery.attempt - 1
        reason = f"delivered {tried} times, and no handler ever finished: it may crash its service"
        log.error("%s: %s was %s", self.name, delivery.address, reason)
        queue = next((one.dead_letter for one in handlers if one.dead_letter), self._queue)
        await self._bury(delivery, queue, self._history(delivery).failed(tried, reason, "crashed"))

    async def unhandled(self, delivery: Delivery, pattern: str) -> None:
        """An event that nobody here handles."""
        if self._durable is None:
            log.error("%s: nobody handles the event %s; it is dropped", self.name, pattern)
            points.reached("rejected", delivery)
            return
        log.error("%s: nobody handles the event %s; it goes to %s", self.name, pattern, self._queue)
        await self._give_up(delivery, self._queue, f"{self.name} has no handler for {pattern}", "unhandled")

    async def invalid(self, delivery: Delivery, reason: str) -> None:
        """What came is no packet."""
        if self._durable is None:
            points.reached("rejected", delivery)
        else:
            await self._give_up(delivery, self._queue, reason, "invalid")

    async def failed(self, handler: Handler, error: BaseException, delivery: Delivery) -> None:
        """A handler raised: its Retry says whether it gets the event again."""
        if self._durable is None:
            points.reached("rejected", delivery)
            return
        reason = f"{type(error).__name__}: {error}"
        retry = handler.retry
        after = retry.delay(delivery.attempt) if retry is not None and retry.covers(error) else None
        if after is not None:
            history = self._history(delivery).failed(delivery.attempt, reason, "retried")
            log.warning(
                "%s: %s comes again in %g s, after attempt %d", self.name, handler.route, after, delivery.attempt
            )
            await self._store(lambda: delivery.retry(after, history), delivery, "retried")
            return
        kind: Kind = "invalid" if isinstance(error, InvalidPayload) else "permanent"
        kind = "exhausted" if retry is not None and retry.covers(error) else kind
        queue = handler.dead_letter or self._queue
        log.error("%s: %s is given up after attempt %d: see %s", self.name, handler.route, delivery.attempt, queue)
        await self._give_up(delivery, queue, reason, kind)

    def _limit(self, handlers: Iterable[Handler]) -> int:
        assert self._durable is not None
        return max(one.retry.attempts if one.retry else self._durable.limit for one in handlers)

    def _history(self, delivery: Delivery) -> History:
        identity = delivery.message_id or secrets.token_hex(10)
        known = delivery.history or History(identity, delivery.address or "", delivery.route or "")
        return History(
            known.id, known.pattern, known.route, known.attempts, known.first, known.last,
            service=self.name, source=known.source or delivery.source,
        )  # fmt: skip

    async def _give_up(self, delivery: Delivery, queue: str, reason: str, kind: Kind) -> None:
        await self._bury(delivery, queue, self._history(delivery).failed(delivery.attempt, reason, kind))

    async def _bury(self, delivery: Delivery, queue: str, history: History) -> None:
        await self._store(lambda: delivery.dead_letter(queue, history), delivery, "dead-lettered")

    async def _store(self, step: Callable[[], Awaitable[None]], delivery: Delivery, point: points.Point) -> None:
        """Store the copy, however often that takes, then acknowledge. An original that was taken back comes again."""
        while not delivery.taken_back:
            try:
                await step()
            except PostOfficeError as error:
                log.error("%s: a failed event could not be stored, and is held: %s", self.name, error)
                await asyncio.sleep(AGAIN)
            else:
                points.reached(point, delivery)
                await delivery.ack()
                return
