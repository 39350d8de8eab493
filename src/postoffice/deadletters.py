"""Dead letters: the events that were given up, to be read, repaired, sent back or dropped.

async with dead_letters(url, "orders.dead") as office:
    for letter in await office.list():
        print(letter.id, letter.attempts, letter.reason)
    await office.requeue(letter)
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

import msgspec

from . import messages
from .durable import HISTORY, History, read_history
from .errors import UnsupportedError, UsageError
from .tls import Tls

__all__ = ["DeadLetter", "DeadLetters", "dead_letters"]

_UNCHANGED: Any = object()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was given up.

    Attributes:
        id: the message's identity, the same after a requeue. pattern: as it was sent. data: decoded; the text where
            it is no JSON. headers: the original ones. body: as it was sent.
        kind: "exhausted" (every attempt failed), "permanent" (trying again could not help), "invalid" (the payload),
            "unhandled" (nobody handles the pattern), "crashed" (its service died over it), or the broker's own word.
        reason: the last error. attempts: how often it was delivered. first, last: when it failed first and last (unix
            time, seconds; 0 where nobody noted it). service: whose handler failed.
        source: the queue, stream, subject or topic that a requeue sends it back to.
        mark: how the broker knows this copy.
    """

    id: str
    pattern: str
    data: Any
    headers: Mapping[str, Any]
    reason: str
    kind: str
    attempts: int
    first: float
    last: float
    service: str
    source: str
    body: bytes = field(repr=False)
    history: History = field(repr=False)
    mark: Any = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: bytes, headers: Mapping[str, Any], mark: Any, known: History) -> DeadLetter:
        """From what the broker holds; `known` is used where no service of ours wrote a history."""
        history = read_history(headers) or known
        return cls(
            id=history.id,
            pattern=history.pattern,
            data=_data(body),
            headers={name: value for name, value in headers.items() if name != HISTORY},
            reason=history.reason,
            kind=history.kind,
            attempts=history.attempts,
            first=history.first,
            last=history.last,
            service=history.service,
            source=history.source,
            body=body,
            history=history,
            mark=mark,
        )


Letters: TypeAlias = "list[DeadLetter]"


class DeadLetters(abc.ABC):
    """The dead letters of one queue. Made by `dead_letters`, used in `async with`.

    Guarantee: a requeued event is stored where it came from before it leaves the dead letters, so a crash between
    leaves it in both places, with one identity, and never in none.

    Args:
        url: the broker. name: the dead-letter queue. tls: for a URL with TLS.
    """

    def __init__(self, url: str, name: str, tls: Tls | None = None) -> None:
        self.url = url
        self.name = name
        self.tls = tls or Tls()

    async def list(self) -> Letters:
        """Every dead letter, oldest first; they stay where they are."""
        async with self._browse() as letters:
            return letters

    async def show(self, which: DeadLetter | str) -> DeadLetter:
        """The letter with this id. Raises UsageError where there is none."""
        async with self._browse() as letters:
            return _with_id(letters, which, self.name)[0]

    async def requeue(self, which: DeadLetter | str, data: Any = _UNCHANGED) -> None:
        """Send a letter back to its service, at attempt 1, with its identity; every copy of it leaves the queue.

        Where it failed in several services, or under several patterns, each of them gets it once.

        Args:
            which: a letter, or its id. data: repaired data, where the old ones were wrong.

        Raises:
            UsageError: no such letter. PayloadError: data that JSON cannot hold. ConnectionLost: it may be done.
        """
        async with self._browse() as letters:
            for copies in _alike(_with_id(letters, which, self.name)):
                await self._back(copies, data)

    async def requeue_all(self) -> int:
        """Send every letter back, each identity once to each place that it came from. Returns how many were sent.

        Raises as `requeue`.
        """
        async with self._browse() as letters:
            all_copies = _alike(letters)
            for copies in all_copies:
                await self._back(copies)
            return len(all_copies)

    async def drop(self, which: DeadLetter | str) -> None:
        """Throw a letter away, with every copy of it. Raises UsageError: no such letter."""
        async with self._browse() as letters:
            for letter in _with_id(letters, which, self.name):
                await self._remove(letter)

    async def _back(self, copies: Letters, data: Any = _UNCHANGED) -> None:
        first = copies[0]
        if not first.source:
            raise UsageError(
                f"where the dead letter {first.id!r} came from is not known, so it cannot be sent back."
                f" Emit its data once more, then drop it."
            )
        body = first.body if data is _UNCHANGED else _repaired(first.body, data)
        headers = {**first.headers, HISTORY: first.history.again().header()}
        await self._send_back(first, body, headers)
        for letter in copies:
            await self._remove(letter)

    async def __aenter__(self) -> DeadLetters:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    # each broker's own

    @abc.abstractmethod
    async def _open(self) -> None:
        """Connect. Raises ConnectError."""

    @abc.abstractmethod
    async def _close(self) -> None:
        """Let go."""

    @abc.abstractmethod
    def _browse(self) -> contextlib.AbstractAsyncContextManager[Letters]:
        """The letters. They stay; inside, `_send_back` and `_remove` may be called with them."""

    @abc.abstractmethod
    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        """Store the event where it came from; it is there when this returns."""

    @abc.abstractmethod
    async def _remove(self, letter: DeadLetter) -> None:
        """Take this copy out of the dead letters."""


def dead_letters(url: str, name: str, *, tls: Tls | None = None) -> DeadLetters:
    """The dead letters in the queue `name` (the `dead_letter` of a handler, or `<service>.dead`).

    Raises:
        UnsupportedError: the transport of this URL has none; the message names those that have.
    """
    from .transports import DURABLE_NAMES, dead_letters_of, kind_of

    kind = dead_letters_of(url)
    if kind is None:
        raise UnsupportedError(
            f"{kind_of(url).name} has no dead letters: what fails there is gone. {DURABLE_NAMES} have them."
        )
    return kind(url, name, tls)


def _with_id(letters: Letters, which: DeadLetter | str, queue: str) -> Letters:
    identity = which.id if isinstance(which, DeadLetter) else which
    found = [one for one in letters if one.id == identity]
    if not found:
        raise UsageError(
            f"there is no dead letter {identity!r} in {queue!r}, which has {len(letters)}. It may be requeued or"
            " dropped already; `await office.list()` shows what is there. Nothing was changed."
        )
    return found


def _alike(letters: Letters) -> list[Letters]:
    """The copies of each message that came from one place."""
    copies: dict[tuple[str, str], Letters] = {}
    for letter in letters:
        copies.setdefault((letter.id, letter.source), []).append(letter)
    return list(copies.values())


def _data(body: bytes) -> Any:
    try:
        packet = messages.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")
    return packet["data"] if isinstance(packet, dict) and {"pattern", "data"} <= packet.keys() else packet


def _repaired(body: bytes, data: Any) -> bytes:
    with contextlib.suppress(msgspec.DecodeError):
        packet = messages.decode(body)
        if isinstance(packet, dict) and "pattern" in packet:
            return messages.encode({**packet, "data": data})
    return messages.encode(data)
