"""Check 04.predict: who runs, and what the caller hears; played with handlers of our own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from classroom.checks.lab04.office import office
from classroom.checks.pairs import pairs_of
from classroom.checks.result import Result
from classroom.outcome import outcome
from postoffice import Client, RpcError, Service, event_pattern, message_pattern

CASES = {
    "emit to a message handler": "the handler is made for send",
    "emit that is refused": "the handler raises RpcError before its work",
    "send that is refused": "the handler raises RpcError before its work",
    "send to event handlers": "two services have a handler for this event",
    "send to nobody": "no service has the pattern",
    "emit to nobody": "no service has the pattern",
    "send, two services": "both have a message handler for the pattern, without a group",
    "send, two replicas in a group": "both have a message handler for the pattern",
    "send, and a stream": "the handler yields three values, and works once for each",
}
HEARS = ("answer", "error", "nothing")
REASONS = {
    "emit to a message handler": "a handler is found by its pattern. Only the return address is missing.",
    "emit that is refused": "an error is an answer, too, and an event has no return address.",
    "send that is refused": "RpcError travels back to whoever asked.",
    "send to event handlers": "each service that listens gets the letter, and answers that it is done.",
    "send to nobody": "NATS tells a caller that a subject has no subscribers.",
    "emit to nobody": "whoever sends an event is told nothing, whatever becomes of it.",
    "send, two services": "a subject gives everyone a copy. The first answer counts.",
    "send, two replicas in a group": "in a group, one gets the letter.",
    "send, and a stream": "the handler goes on to its end; the caller of send gets one answer, the last value.",
}
LIMIT = 10.0  # seconds for what takes a few hundredths


async def judge(result: Result, prediction: Any, post: Any, book: Any) -> None:
    """All conditions: one for each case."""
    pairs = pairs_of(result, prediction, CASES, HEARS, (1, "answer"))
    async with office(result, post, book):
        for name in CASES:
            runs, hears = await happen(name, post.url)
            guess = pairs[name]
            right = type(guess[0]) is int and (guess[0], guess[1]) == (runs, hears)
            seen = f"the work is done {runs} times, and the caller hears: {hears}"
            expected = f"your guess: {guess[0]!r}, and {guess[1]}"
            result.judge(f"{name}: {CASES[name]}", right, expected=expected, seen=seen, hint=REASONS[name])


class Worker:
    """A service of ours, that counts what it does."""

    def __init__(self, pattern: str) -> None:
        self.done = 0

        async def work() -> str:
            self.done += 1
            return "done"

        async def refuse() -> str:
            raise RpcError("no")

        async def pieces() -> AsyncIterator[int]:
            for number in range(3):
                self.done += 1
                yield number

        self.message, self.refusing = message_pattern(pattern)(work), message_pattern(pattern)(refuse)
        self.stream = message_pattern(pattern)(pieces)

        @event_pattern(pattern)
        async def note() -> None:
            self.done += 1

        self.event = note


async def happen(name: str, url: str) -> tuple[int, str]:
    """Play a case: how often the work was done, and what the caller heard."""
    pattern = f"check.{secrets.token_hex(4)}"
    workers = [Worker(pattern) for _ in range(2 if "two" in name or "event handlers" in name else 1)]
    group = "together" if "group" in name else None
    async with AsyncExitStack() as stack:
        for worker in workers if "nobody" not in name else ():
            await stack.enter_async_context(serving(_handler(worker, name), url, group))
        client = await stack.enter_async_context(await Client.connect(url, timeout=LIMIT))
        call = client.emit(pattern, 1) if name.startswith("emit") else client.send(pattern, 1)
        end = await outcome(call)
        await outcome(client.send(f"{pattern}.nobody"))  # the broker has dealt with what came before
        await _quiet(workers)
    hears = "error" if end.error else "nothing" if name.startswith("emit") else "answer"
    return sum(worker.done for worker in workers), hears


def _handler(worker: Worker, name: str) -> Any:
    if "refused" in name:
        return worker.refusing
    return worker.event if "event handlers" in name else worker.stream if "stream" in name else worker.message


@asynccontextmanager
async def serving(handler: Any, url: str, group: str | None = None) -> AsyncIterator[Service]:
    """A service with this handler while the block runs."""
    service = Service(handler, url=url, name="check", group=group)
    log = logging.getLogger("postoffice")
    before = log.level
    log.setLevel(logging.CRITICAL)  # what it complains of is what is being tried, and belongs to no learner
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        log.setLevel(before)


async def _quiet(workers: list[Worker]) -> None:
    """Nobody has worked for some looks."""
    before, quiet = -1, 0
    while quiet < 10:
        await asyncio.sleep(0.02)
        now = sum(worker.done for worker in workers)
        before, quiet = now, quiet + 1 if now == before else 0
