"""Checks 02.away, 02.killed, 02.slow and 02.replicas: the guarantee matrix, predicted, and then run cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, get_args

from classroom.brokers import Broker
from classroom.checks.needs import need, need_broker, need_ledger, no_verdict
from classroom.checks.result import Over, Result
from classroom.guarantees import MESSAGES, Cell, Fault, Seen, Word, matrix
from classroom.ledger import Book

__all__ = ["BROKERS", "CELLS", "judge", "need_all", "need_words", "run"]

BROKERS = {"redis": "redis", "nats": "nats", "mqtt": "mosquitto", "rabbit": "rabbitmq"}  # variable -> kind
TRANSPORTS = ("redis", "nats", "mqtt", "rabbitmq")
WORDS = get_args(Word)
BUSY = "is this machine very busy, or short of memory? Check again."
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


def need_all(result: Result, book: Any, brokers: Mapping[str, Any]) -> None:
    """The ledger and the brokers run."""
    for name, kind in BROKERS.items():
        need_broker(result, name, brokers[name], kind)
    need_ledger(result, book)


def need_words(result: Result, name: str, given: Any, keys: Iterable[str], words: Sequence[str]) -> None:
    """A variable is a dict in which each key has one of the words; told only where it is not. Raises Over then."""
    text, keys = f"{name} has a word for each", [*keys]
    there = isinstance(given, Mapping)
    need(result, text, there, seen=f"{given!r:.80}", hint="keep the dict as the cell had it.")
    missing = [key for key in keys if key not in given]
    need(result, text, not missing, seen=f"missing: {'; '.join(missing)}", hint="keep the keys as the cell had.")
    left = [key for key in keys if given[key] is ...]
    hint = f"replace each ... by one of: {', '.join(words)}."
    need(result, text, not left, seen=f"still ...: {'; '.join(left)}", hint=hint)
    odd = [f"{key}: {given[key]!r:.40}" for key in keys if type(given[key]) is not str or given[key] not in words]
    need(result, text, not odd, seen="; ".join(odd), hint=f"the words are: {', '.join(words)}.")


async def run(
    result: Result, cells: Sequence[Cell], book: Book, brokers: Mapping[str, Broker], draw: Random
) -> list[Seen]:
    """Some cells of the matrix, as many events and a crash as drawn. Large events go to one service at a time.

    A cell that was disturbed runs once more. Raises Over, without a verdict, where it was so again.
    """
    places: dict[str, str | None] = {"tcp": None, "rabbitmq": brokers["rabbit"].url}
    places |= {name: brokers[name].url for name in LISTENERS}
    messages, nth = MESSAGES - draw.randint(0, 9), draw.randint(3, 20)
    together = [cells] if cells[0].fault != "slow" else [[cell] for cell in cells]
    found = [seen for some in together for seen in await matrix(some, places, book, messages, nth)]
    for number, seen in enumerate(found):
        if seen.disturbed:
            (found[number],) = await matrix([seen.cell], places, book, messages, nth)
            if again := found[number].disturbed:
                result.judge(f"{seen.cell.name}: it could be played", None, seen=again, hint=BUSY)
                raise Over
    return found


async def _judge(fault: Fault, result: Result, draw: Random, prediction: Any, book: Any, *brokers: Any) -> None:
    """All conditions of one column: one for each cell."""
    cells, named = CELLS[fault], dict(zip(BROKERS, brokers, strict=True))
    keys = [cell.name for cell in cells]
    need_all(result, book, named)
    need_words(result, fault, prediction, keys, WORDS)
    with no_verdict(result):
        for seen in await run(result, cells, book, named, draw):
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
