"""Checks 02.away, 02.killed, 02.slow and 02.replicas: the guarantee matrix, predicted, and then run cell by cell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, get_args

from classroom.brokers import Broker, BrokerError
from classroom.checks.rehearsal import FIRST_CELL
from classroom.checks.result import Result
from classroom.guarantees import MESSAGES, Cell, Fault, Seen, Word, matrix
from classroom.ledger import Book, LedgerError
from classroom.service_plan import ServiceError
from postoffice import PostOfficeError

__all__ = ["BROKERS", "CELLS", "check_words", "ends", "judge", "run", "serve"]

BROKERS = {"redis": "redis", "nats": "nats", "mqtt": "mosquitto", "rabbit": "rabbitmq"}  # variable -> kind
TRANSPORTS = ("redis", "nats", "mqtt", "rabbitmq")
WORDS = get_args(Word)
LISTENERS = ("redis", "nats", "mqtt")  # at most once, their brokers hand a letter to whoever listens at that moment


def _both(fault: Fault) -> list[Cell]:
    return [Cell(one, fault, promise) for one in TRANSPORTS for promise in ("at-most-once", "at-least-once")]


CELLS: dict[Fault, list[Cell]] = {
    "away": [
        Cell("tcp", "away"),
        *_both("away"),
        *(Cell(one, "away", "at-least-once", "at-most-once") for one in TRANSPORTS),
    ],
    "killed": _both("killed"),
    "slow": [*(Cell(one, "slow") for one in TRANSPORTS), Cell("redis", "slow", "at-least-once")],
    "replicas": _both("replicas"),
}


def serve(result: Result, book: Any, brokers: Mapping[str, Any]) -> bool:
    """Judge whether the ledger and the brokers run; only what does not is told."""
    for name, kind in BROKERS.items():
        one = brokers[name]
        if not (isinstance(one, Broker) and one.kind == kind):
            return result.judge(f"{name} is a broker that runs", False, seen=f"{one!r:.80}", hint=FIRST_CELL)
        if not one.alive:
            seen, hint = f"it is {one.state}", f"await {name}.restart()"
            return result.judge(f"{name} is a broker that runs", False, seen=seen, hint=hint)
    if not (isinstance(book, Book) and book.alive):
        return result.judge("book is a ledger that runs", False, seen=f"{book!r:.80}", hint=FIRST_CELL)
    return True


@asynccontextmanager
async def ends(result: Result) -> AsyncIterator[None]:
    """What breaks down on the way, such as a broker, leaves the check without a verdict."""
    try:
        yield
    except (ExceptionGroup, PostOfficeError, ServiceError, LedgerError, BrokerError, OSError, RuntimeError) as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        seen = f"{type(first).__name__}: {first}"[:500]
        result.judge("the check came to its end", None, seen=seen, hint=FIRST_CELL)


def check_words(result: Result, name: str, given: Any, keys: Iterable[str], words: Sequence[str]) -> bool:
    """Judge whether a variable is a dict in which each key has one of the words; only what is wrong is told."""
    text = f"{name} has a word for each"
    if not isinstance(given, Mapping):
        return result.judge(text, False, seen=f"{given!r:.80}", hint="keep the dict as the cell had it.")
    if missing := [key for key in keys if key not in given]:
        return result.judge(text, False, seen=f"missing: {'; '.join(missing)}", hint="keep the keys as the cell had.")
    if unwritten := [key for key in keys if given[key] is ...]:
        seen = f"still ...: {'; '.join(unwritten)}"
        return result.judge(text, False, seen=seen, hint=f"replace each ... by one of: {', '.join(words)}.")
    strange = [key for key in keys if type(given[key]) is not str or given[key] not in words]
    if strange:
        seen = "; ".join(f"{key}: {given[key]!r:.40}" for key in strange)
        return result.judge(text, False, seen=seen, hint=f"the words are: {', '.join(words)}.")
    return True


async def run(cells: Sequence[Cell], book: Book, brokers: Mapping[str, Broker], draw: Random) -> list[Seen]:
    """Some cells of the matrix, as many events and a crash as drawn. Large events go to one service at a time."""
    places: dict[str, str | None] = {"tcp": None, "rabbitmq": brokers["rabbit"].url}
    places |= {name: brokers[name].url for name in LISTENERS}
    messages, nth = MESSAGES - draw.randint(0, 9), draw.randint(3, 20)
    if cells[0].fault != "slow":
        return await matrix(cells, places, book, messages, nth)
    return [seen for cell in cells for seen in await matrix([cell], places, book, messages, nth)]


async def _judge(fault: Fault, result: Result, draw: Random, prediction: Any, book: Any, *brokers: Any) -> None:
    """All conditions of one column: one for each cell."""
    cells, named = CELLS[fault], dict(zip(BROKERS, brokers, strict=True))
    keys = [cell.name for cell in cells]
    if not (serve(result, book, named) and check_words(result, fault, prediction, keys, WORDS)):
        return
    async with ends(result):
        for seen in await run(cells, book, named, draw):
            guess = prediction[seen.cell.name]
            numbers = f"{seen!r}".removeprefix(f"{seen.cell.name}: ")
            right, hint = guess == seen.word, _why(seen.cell)
            result.judge(f"{seen.cell.name}", right, expected=f"your guess: {guess}", seen=numbers, hint=hint)


def judge(fault: Fault) -> Any:
    """The judge of one column of the matrix."""
    return partial(_judge, fault)


def _why(cell: Cell) -> str:
    """What happens in a cell, for whoever guessed otherwise."""
    durable, listens = cell.service == "at-least-once", cell.transport in LISTENERS
    match cell.fault:
        case "away" if cell.transport == "tcp":
            return "its sender cannot even connect, so it is told of each."
        case "away" if not listens:
            return "the letters lie in a queue, whatever the two have promised, and a queue waits."
        case "away" if cell.sender == "at-most-once":
            return "a service can only take what somebody has stored, and this sender asked nobody to store it."
        case "away":
            return STORED if durable else "the broker hands a letter to whoever listens now, and nobody did."
        case "killed" if durable:
            return "the broker keeps a letter until its ack. One was done, and not acknowledged: it comes again."
        case "killed":
            return "all lay in the hands of the process that died, and at most once nobody else has them."
        case "slow" if cell.transport == "redis" and not durable:
            return "Redis holds up to 32 MB for a subscriber that does not read, and then hangs up on it."
        case "slow":
            return "what it does not read waits: in the socket, in the broker's memory, in a queue or a stream."
        case _ if not listens or (durable and cell.transport != "mqtt"):
            return "both take from one queue or stream: what one has, the other does not get."
        case _:
            return "each replica is a subscriber of its own, and gets a copy of its own: they are in no group."


STORED = "both sides asked for it, so the broker has stored each letter and kept the reader's place."
