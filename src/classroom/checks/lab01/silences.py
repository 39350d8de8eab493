"""Checks 01.silences and 01.which: what a caller sees when nobody answers, and what really happened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from classroom.checks.asking import ask
from classroom.checks.needs import need_function
from classroom.checks.pairs import pairs_of
from classroom.checks.rehearsal import new_ids
from classroom.checks.result import Result
from classroom.checks.street import FAULTS, LIMIT, PATIENCE, Street, street, until
from classroom.outcome import Outcome
from postoffice import ConnectError, ConnectionLost, RequestTimeout

CASES = {
    "request lost": "the request gets lost on the road",
    "reply lost": "the reply gets lost on the road",
    "paused, woken": "the bank is paused, and wakes up after the caller has given up",
    "paused, killed": "the bank is paused, and killed and started again after the caller has given up",
    "slow": "the ledger is slow, and finishes after the caller has given up",
    "no such pattern": "the caller writes 'chrage'",
    "sent again": "the reply gets lost, and the caller sends the same order again, successfully",
}
SEES = ("answer", "error", "silence")
REASONS = {
    "request lost": "what got lost before the bank was never known there; and no news is all that the caller has.",
    "reply lost": "the bank did its work, and told so; only the telling got lost.",
    "paused, woken": "the request lay in the socket of the sleeper, and was read when it woke up.",
    "paused, killed": "what lay in the socket of a process dies with it.",
    "slow": "giving up stops the waiting, not the work.",
    "no such pattern": "a bank that is well says at once that it has no such handler.",
    "sent again": "the first one had been charged. Nothing in the second says that it is the same.",
}


async def judge(result: Result, prediction: Any, bank: Any, road: Any, book: Any) -> None:
    """Check 01.silences: what was written down before is compared with what happens."""
    guesses = pairs_of(result, prediction, CASES, SEES, ("silence", 0))
    async with street(result, bank, road, book) as here:
        for name, text in CASES.items():
            seen = await happen(here, name)
            hint = REASONS[name]
            told = f"the caller has {seen[0]}, and the ledger has {seen[1]}"
            expected = f"your guess: {guesses[name][0]}, and {guesses[name][1]}"
            right = guesses[name] == seen and type(guesses[name][1]) is int
            result.judge(f"{name}: {text}", right, expected=expected, seen=told, hint=hint)


async def happen(here: Street, name: str) -> tuple[str, int]:
    """Do it, and look: what the caller saw, and how often the order was charged in the end."""
    (ident,) = new_ids(1)
    order = {"id": ident, "amount": 10}
    pattern = "chrage" if name == "no such pattern" else "charge"
    patience = LIMIT if name == "no such pattern" else PATIENCE
    fault = {"paused, woken": "bank paused", "paused, killed": "bank paused", "sent again": "reply lost"}
    fault |= {"slow": "bank busy", "no such pattern": "none"}
    async with here.fault(fault.get(name, name)):
        end = await here.ask(order, patience=patience, pattern=pattern)
        if name == "paused, killed":
            here.bank.kill()
    if name == "sent again":
        await until(lambda: here.charged(ident))
        end = await here.ask(order, patience=LIMIT)
    if name in ("reply lost", "paused, woken", "slow"):
        await until(lambda: here.charged(ident))
    await here.quiet()
    return word(end), await here.charged(ident)


def word(end: Outcome) -> str:
    """What a caller saw, in a word."""
    return "answer" if end.error is None else "silence" if isinstance(end.error, RequestTimeout) else "error"


# ---- which of them was it?

ANSWERED = "no silence"
HINTS = {
    "request lost": "not one byte went to the bank. Whatever it did since, it does not know of this order.",
    "reply lost": "the ledger has it, and nothing came back: so it was done, and the news got lost.",
    "bank paused": "the bytes are there, and nobody else gets an answer either: it is the bank that stands still.",
    "bank busy": "the bank answers others, so it is awake; it has the order, and the ledger has not: it works on it.",
    ANSWERED: "bytes came back. That is no silence, whatever else is true.",
}


async def judge_which(result: Result, draw: Random, which: Any, bank: Any, road: Any, book: Any) -> None:
    """Check 01.which: real incidents in an order drawn by lot; the function sees their traces only."""
    need_function(result, "which", which, "def which(traces):")
    async with street(result, bank, road, book) as here:
        kinds = [*FAULTS, ANSWERED, *draw.sample([*FAULTS, ANSWERED], 2)]
        draw.shuffle(kinds)
        for kind in kinds:
            traces = await incident(here, kind, draw)
            if traces is None:
                result.judge(f"{kind}: it could be played", None, hint="this machine is very busy: check again.")
                return
            told = await ask(which, traces)
            hint = "write this part first." if told.kind == "NotImplementedError" else HINTS[kind]
            if not result.judge(
                f"order {traces['order']}: {kind}", told.value == kind, expected=repr(kind),
                seen=f"{told!r} for {traces}", hint=hint,
            ):  # fmt: skip
                return


async def incident(here: Street, kind: str, draw: Random) -> Mapping[str, Any] | None:
    """Play one, and gather its traces while it lasts; None where that did not succeed."""
    for _ in range(3):
        (ident,) = new_ids(1)
        charged = partial(here.charged, ident)
        before = await here.passed()
        async with here.fault(kind):
            end = await here.ask({"id": ident, "amount": draw.randint(1, 99)}, patience=_patience(kind))
            if kind in ("reply lost", ANSWERED):
                await until(charged)
            after = await here.passed()
            traces = {
                "order": ident,
                "sent": after["upstream"] - before["upstream"],
                "returned": after["downstream"] - before["downstream"],
                "charged": await charged(),
                "answers others": await here.answers(0.5 if kind == "bank paused" else LIMIT),
            }
            traces["charged"] = traces["charged"] or await charged()
        if kind in ("bank busy", "bank paused"):
            await until(charged)
        await here.quiet()
        silent = isinstance(end.error, RequestTimeout | ConnectionLost | ConnectError)
        if silent != (kind == ANSWERED) and not (kind == "bank busy" and traces["charged"]):
            return traces
    return None


def _patience(kind: str) -> float:
    return LIMIT if kind == ANSWERED else PATIENCE
