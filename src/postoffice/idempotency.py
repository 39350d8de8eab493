"""Idempotency keys: an effect takes place once per key, however often its message comes.

    @event_pattern("order.placed", retry=Retry())
    @idempotent(keys, key=lambda data, ctx: ctx.message_id, resolve=ask_the_ledger)
    async def charge(data, ctx): ...

A record is `started` before the effect and `done`, with the reply, after it. Every later call with the key gets that
reply. A crash, or an error, between the two leaves an outcome that nobody here knows: then `resolve` asks the owner of
the effect. Or the effect is rows in the same SQLite file: then both are one transaction, and nothing is ever unknown
(`SqliteKeys.transact`). The stores are in idempotency_stores.py.

Guarantee: of calls with one key, one at a time works, and the others wait for its reply. The same key with other data
is an error. What a store forgets (memory at a restart, Redis as its persistence says, each after `ttl`) can be done
again.
Where it ends: a process that is paused for longer than its lease, and then goes on, may carry out the effect that
another one was meanwhile told is not done. Only the owner of the effect can fence that: pass the key on to it.

The pattern is Stripe's ("Idempotent requests", API reference; Brandur Leach, "Implementing Stripe-like idempotency
keys in Postgres", 2017).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from . import messages
from .context import Context
from .errors import HandlerError, PermanentError, RpcError, UsageError
from .leases import kept

__all__ = [
    "NOT_DONE",
    "InProgress",
    "KeyReused",
    "KeyStore",
    "OutcomeUnknown",
    "Record",
    "answer_of",
    "fingerprint",
    "idempotent",
    "once",
    "reused",
    "run_again",
]

F = TypeVar("F", bound=Callable[..., Any])
NOT_DONE: Final = object()
"""What `resolve` returns when the effect's owner says that it has not taken place: the work is run."""

_canonical = msgspec.json.Encoder(enc_hook=messages.foreign, order="sorted")
PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2)  # seconds between looks at a record that another call works on; the last repeats


class KeyReused(PermanentError):
    """This key was used with other data. Nothing was done: trying again cannot help."""

    may_have_happened = False


def reused(key: str) -> KeyReused:
    return KeyReused(
        f"the idempotency key {key!r} was used before, with other data. Nothing was done."
        " A key stands for one piece of work: make a new one for new data."
    )


class InProgress(RpcError):
    """Another call with this key is still at work. This one did nothing; try again later."""


class OutcomeUnknown(RpcError):
    """A call with this key began and did not finish: its effect may have taken place, and nobody was asked."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a store says of a key.

    `mine`: new, and we may begin. `unknown`: one that began and did not finish, ours to resolve. `busy`: another call
    is at work, or died less than a lease ago. `done`: `reply` is its answer (JSON).
    """

    state: Literal["mine", "unknown", "busy", "done"]
    fingerprint: str
    reply: bytes = b""


class KeyStore(Protocol):
    """Where records are kept. Each method is atomic, over all processes that share the store."""

    async def claim(self, key: str, fingerprint: str, owner: str, lease: float) -> Record:
        """Begin, or say why not. `mine` and `unknown` give the owner a lease of that many seconds."""

    async def renew(self, key: str, owner: str, lease: float) -> None:
        """The owner is alive. Without effect on a record that is another's, or done."""

    async def give_up(self, key: str, owner: str) -> None:
        """The owner does not know what became of the effect: the next claim is `unknown`, without waiting."""

    async def finish(self, key: str, fingerprint: str, reply: bytes) -> bytes:
        """The effect has taken place. Returns the reply that stands: the first that was written."""


async def once(
    store: KeyStore,
    key: str,
    data: Any,
    work: Callable[[], Awaitable[Any]],
    *,
    resolve: Callable[[], Awaitable[Any]] | None = None,
    lease: float = 5.0,
    wait: float = 10.0,
) -> Any:
    """The reply of `work` for this key: it is run by the first call only. Replies are kept as JSON.

    A PermanentError that it raises is an answer too, and kept. After any other error the outcome is unknown.

    Args:
        data: what the key stands for; the same key with other data is refused.
        resolve: asks the effect's owner about an unknown outcome. Returns the reply, or NOT_DONE to have `work` run.
            `run_again` where the owner itself takes a key only once. None: unknown stays unknown.
        lease: seconds after which a call that has fallen silent counts as dead. It is renewed while `work` runs.
        wait: seconds to wait for another call with the same key. Longer than the lease, so that a message that comes
            again after a crash finds the outcome unknown, and not its dead owner at work.

    Raises:
        KeyReused: the key came with other data. InProgress: another call is at work for longer than `wait`.
        OutcomeUnknown: one began and did not finish, and there is no `resolve`. What `work` or `resolve` raise.
    """
    if not (isinstance(key, str) and key):
        raise UsageError(f"an idempotency key is a text that is not empty; got {key!r}. Nothing was done.")
    owner, mark = secrets.token_hex(8), fingerprint(data)
    record = await _claim(store, key, mark, owner, lease, wait)
    if record.state == "done":
        return answer_of(record.reply)
    try:
        async with kept(lambda: store.renew(key, owner, lease), lease):
            reply = await _resolved(key, resolve) if record.state == "unknown" else NOT_DONE
            text = await _worked(work) if reply is NOT_DONE else messages.encode({"reply": reply})
            text = await store.finish(key, mark, text)
    except BaseException:
        with contextlib.suppress(Exception):  # the store is away: the lease will run out
            await store.give_up(key, owner)
        raise
    return answer_of(text)


async def run_again() -> Any:
    """A `resolve` for effects whose owner takes the key, and does nothing the second time: the work is run again."""
    return NOT_DONE


def idempotent(
    store: KeyStore,
    *,
    key: Callable[[Any, Context], str | None],
    resolve: Callable[[Any, Context], Awaitable[Any]] | None = None,
    lease: float = 5.0,
    wait: float = 10.0,
) -> Callable[[F], F]:
    """Have a handler run once per key: `once`, for an `async def handler(data, ctx)` of either kind.

    Args:
        key: the key of a message, from its data and context. Each handler has keys of its own.
        resolve: as in `once`, called with data and context. The others: as in `once`.

    Raises:
        HandlerError: the handler takes no context, is not async, or answers with a stream.
    """

    def wrap(function: F) -> F:
        _check(function)

        @functools.wraps(function)
        async def handler(*arguments: Any) -> Any:
            data, ctx = arguments[-2:]
            if (own := key(data, ctx)) is None:
                raise UsageError(
                    f"the message of {ctx.pattern!r} has no idempotency key: `key` gave None. Nothing was done."
                )
            ask = None if resolve is None else functools.partial(resolve, data, ctx)
            work = functools.partial(function, *arguments)
            return await once(store, f"{function.__name__}:{own}", data, work, resolve=ask, lease=lease, wait=wait)

        return handler  # type: ignore[return-value]  # wraps keeps what a handler is known by

    return wrap


async def _claim(store: KeyStore, key: str, mark: str, owner: str, lease: float, wait: float) -> Record:
    loop = asyncio.get_running_loop()
    end, looks = loop.time() + wait, 0
    while True:
        record = await store.claim(key, mark, owner, lease)
        if record.fingerprint != mark:
            await store.give_up(key, owner)
            raise reused(key)
        if record.state != "busy":
            return record
        if loop.time() >= end:
            raise InProgress(
                f"another call with the idempotency key {key!r} is at work, or died less than {lease:g} s ago, and had"
                f" no reply within {wait:g} s. This call did nothing. Try again later, with the same key."
            )
        await asyncio.sleep(min(PAUSES[min(looks, len(PAUSES) - 1)], max(0.0, end - loop.time())))
        looks += 1


async def _resolved(key: str, resolve: Callable[[], Awaitable[Any]] | None) -> Any:
    if resolve is None:
        raise OutcomeUnknown(
            f"a call with the idempotency key {key!r} began and did not finish: its effect may have taken place."
            " Ask its owner, with `resolve`; or make effect and key one transaction (SqliteKeys.transact)."
        )
    return await resolve()


async def _worked(work: Callable[[], Awaitable[Any]]) -> bytes:
    try:
        return messages.encode({"reply": await work()})
    except PermanentError as error:
        return messages.encode({"error": error.error})


def answer_of(text: bytes) -> Any:
    """The reply that a record keeps. Raises the PermanentError that was the answer."""
    kept_answer = messages.decode(text)
    if "error" in kept_answer:
        raise _permanent(kept_answer["error"])
    return kept_answer["reply"]


def _permanent(content: Any) -> PermanentError:
    error = PermanentError(content)
    error.error = content
    return error


def fingerprint(data: Any) -> str:
    """A digest of data: the same for the same JSON, whatever the order of its keys."""
    return hashlib.sha256(_canonical.encode(data)).hexdigest()


def _check(function: Callable[..., Any]) -> None:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [one for one in inspect.signature(function).parameters.values() if one.kind in kinds]
    if not inspect.iscoroutinefunction(function) or len(taken) < 2:
        raise HandlerError(
            f"{function.__qualname__} cannot be made idempotent: it must be `async def {function.__name__}(data, ctx)`,"
            " with both parameters, and answer with one value (no stream)."
        )
