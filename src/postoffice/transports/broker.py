"""What the transports through a broker share: a connection that is kept up, and sending in batches."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Generic, TypeVar

from ..errors import ConnectError, ConnectionLost, UsageError
from .base import CONNECT_TIMEOUT, Transport, log, reason_of
from .logins import refusal

__all__ = ["Batcher", "BrokerTransport"]

FLUSH_TIMEOUT = 2.0  # seconds that closing waits for what is buffered
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reconnect; the last one repeats


class BrokerTransport(Transport):
    """A transport through a broker: one connection, opened again whenever it breaks.

    A subclass opens and closes the connection, and calls `_lose` when it breaks. `_open` also restores
    subscriptions and reply channels, so that a restarted broker finds everything as it was.
    """

    default_port: ClassVar[int]
    _out: Batcher[Any]

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._up = asyncio.Event()
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    @abc.abstractmethod
    async def _open(self) -> None:
        """Connect and restore. Whatever it raises counts as "could not connect"."""

    def _refuses(self, error: Exception) -> bool:
        """Whether `_open` failed since the broker refuses the user or the password."""
        return False

    @abc.abstractmethod
    async def _shut(self) -> None:
        """Close what is open, be it broken already. Raises nothing that matters."""

    async def connect(self) -> None:
        self._closed = False  # a service may start again
        self._broken.clear()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._open()
        except UsageError:
            await self._shut_quietly()
            raise
        except Exception as error:
            await self._shut_quietly()
            if self._refuses(error):
                raise ConnectError(refusal(self.name, self.url)) from error
            host, port = self.address(self.default_port)
            raise ConnectError(
                f"no {self.name} broker could be reached at {host}:{port} ({self.why_not(error)}). Nothing was sent."
                " Is the broker running, and is the address right? In the course: broker.alive, broker.url"
            ) from error
        self._up.set()
        self._keeper = asyncio.create_task(self._keep(), name=f"postoffice {self.name} connection")

    @abc.abstractmethod
    async def _flush(self) -> None:
        """Wait until what was put so far has been sent."""

    async def close(self) -> None:
        if self._up.is_set():
            with contextlib.suppress(Exception):  # a paused broker takes nothing: what is buffered is lost
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await self._flush()
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._up.clear()
        self._give_up()
        await self._shut_quietly()

    def _give_up(self) -> None:
        """Forget what could not be sent before the end."""
        self._out.cancel()

    def room(self) -> Awaitable[None] | None:
        """Something to await while too much waits to be sent."""
        return self._out.room()

    async def _ready(self) -> None:
        """Wait until the connection stands; the caller sets the limit."""
        if not self._up.is_set():
            if self._closed:
                raise ConnectError(f"this {self.name} connection is closed. Nothing was sent. Connect a new client.")
            await self._up.wait()

    def _lose(self, error: BaseException | None) -> None:
        """The connection broke. Whoever waits is told at once; the keeper opens it again."""
        if self._closed or self._broken.is_set() or not self._up.is_set():
            return
        self._up.clear()
        self._broken.set()
        self._tell_lost(error)

    def _tell_lost(self, error: BaseException | None) -> None:
        """Whoever awaits a reply gets a ConnectionLost."""
        host, port = self.address(self.default_port)
        log.warning("lost the %s broker at %s:%s (%s); connecting again", self.name, host, port, reason_of(error))
        if self.replies is not None:
            self.replies.on_lost(
                ConnectionLost(
                    f"the connection to the {self.name} broker at {host}:{port} broke while a reply was awaited."
                    " The work may have happened. Ask whoever owns the effect, or retry only if that is safe twice."
                )
            )

    async def _keep(self) -> None:
        """Open the connection again whenever it breaks, for as long as it takes."""
        while True:
            await self._broken.wait()
            attempt = 0
            while True:
                await self._shut_quietly()
                if self._closed:  # the driver has swallowed the cancellation, and nobody cancels twice
                    return
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await self._open()
                    break
                except Exception as error:
                    log.debug("no %s broker yet: %s", self.name, reason_of(error))
                await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1
            if self._closed:
                return
            self._broken.clear()
            self._up.set()
            log.info("connected to the %s broker again", self.name)

    async def _shut_quietly(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._shut()


Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Gathers what is sent in one turn of the event loop and sends it in one go, in order.

    Drivers cost far less per message when many go out together. An error is logged and the items are lost, as at
    most once allows.
    """

    ROOM = 4096  # items that may wait; whoever puts more has to wait too

    def __init__(self, send: Callable[[list[Item]], Awaitable[None]]) -> None:
        self._send = send
        self._items: list[Item] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, item: Item) -> Awaitable[None] | None:
        """Send with the next batch. Returns something to await while too much is waiting already."""
        self.add(item)
        return self.room()

    def add(self, item: Item) -> None:
        """Send with the next batch, however much is waiting."""
        self._items.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._flush())

    def room(self) -> Awaitable[None] | None:
        """Something to await while too much is waiting."""
        return self.drain() if len(self._items) > self.ROOM else None

    async def drain(self) -> None:
        """Wait until everything put so far has been sent."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Give up what is waiting."""
        self._items.clear()
        if self._task is not None:
            self._task.cancel()

    async def _flush(self) -> None:
        try:
            while self._items:
                items, self._items = self._items, []
                try:
                    await self._send(items)
                except Exception as error:
                    log.warning("%d messages could not be sent: %s", len(items), reason_of(error))
        finally:
            self._task = None
