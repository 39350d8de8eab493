"""Check 01.shop: a shop whose bank is out of reach, and which still answers everybody, and tells no lies."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from classroom.checks.rehearsal import new_ids, words_of
from classroom.checks.result import Result
from classroom.checks.serving import copy_of
from classroom.checks.street import Street, street, until
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from postoffice import Client, RequestTimeout, RpcError

STATES = ("paid", "refused", "unknown")
SILENT = ("request lost", "reply lost", "bank paused")
DEADLINE = 1.0  # seconds, as the task says
SLOWEST = 4.0  # times that; below the 5 seconds that a call waits where nothing is said
CUSTOMERS = 6  # at once, while nobody answers
DEAF = "it waited for the bank longer than a second. Give the call a limit: timeout=0.5"
RAISED = (
    "an error that the shop did not catch reaches its caller as 'Internal server error', or as the bank's own words."
    " Catch it, and return a state."
)
LIE = "no answer from the bank is not a no, and not a yes: RequestTimeout and ConnectionLost are 'unknown'."
TWICE = "it asked the bank again after a silence. Without a key that the bank knows, that is a second charge."
WAKES = "after the fault it must go on: does it keep a connection that is dead, or a note that the bank is gone?"


async def judge(result: Result, draw: Random, shop: Any, bank: Any, road: Any, book: Any) -> None:
    """All conditions of the task, on a copy of the shop."""
    async with (
        street(result, bank, road, book) as here,
        copy_of(result, "shop", shop) as twin,
        await Client.connect(twin.url, timeout=SLOWEST * DEADLINE) as client,
    ):
        await serves(result, twin, client, here, draw)


async def serves(result: Result, twin: ServiceHandle, client: Client, here: Street, draw: Random) -> None:
    """A good day, a refusal, three silences, and a good day again."""
    if not (await sells(result, twin, client, here, draw, "on a good day") and await refuses(result, client, draw)):
        return
    faults = [*SILENT]
    draw.shuffle(faults)
    for fault in faults:
        if not await bears(result, client, here, draw, fault):
            return
    await sells(result, twin, client, here, draw, "after all that")


async def checkout(client: Client, ident: int, amount: int) -> tuple[Outcome, str]:
    """One checkout: how it ended, and the state that was answered, "" where it is none of the three."""
    end = await outcome(client.send("checkout", {"id": ident, "amount": amount}))
    state = end.answer.get("state") if isinstance(end.answer, dict) and end.answer.get("id") == ident else None
    return end, state if state in STATES else ""


async def sells(result: Result, twin: ServiceHandle, client: Client, here: Street, draw: Random, when: str) -> bool:
    """An order is paid, and the ledger has it."""
    (ident,) = new_ids(1)
    end, state = await checkout(client, ident, draw.randint(1, 99))
    expected = f"{{'id': {ident}, 'state': 'paid'}}"
    told = await words_of(twin, state != "paid")
    hint = WAKES if when != "on a good day" else f"see the task for what to answer; {told}"
    if not result.judge(f"{when} an order is paid", state == "paid", expected=expected, seen=repr(end), hint=hint):
        return False
    await until(lambda: here.charged(ident), 3.0)
    seen = await here.charged(ident)
    text = f"{when} the ledger has it once"
    return result.judge(text, seen == 1, seen=f"{seen} times", hint='ask the bank: "charge", with the order, once.')


async def refuses(result: Result, client: Client, draw: Random) -> bool:
    """The bank says no, and so does the shop, in its own words."""
    (ident,) = new_ids(1)
    end, state = await checkout(client, ident, 1001 + draw.randint(0, 99))
    expected = f"{{'id': {ident}, 'state': 'refused'}}"
    hint = RAISED if isinstance(end.error, RpcError) else "the bank's no is an RpcError: catch it, and say 'refused'."
    return result.judge("what the bank refuses is 'refused'", state == "refused", expected=expected, seen=repr(end),
                        hint=hint)  # fmt: skip


async def bears(result: Result, client: Client, here: Street, draw: Random, fault: str) -> bool:
    """Several customers at once, and a bank that does not answer: each gets an answer, and no lie."""
    idents = new_ids(CUSTOMERS)
    async with here.fault(fault):
        calls = [checkout(client, ident, draw.randint(1, 99)) for ident in idents]
        ends = await asyncio.gather(*calls)
    late = sum(isinstance(end.error, RequestTimeout) for end, _ in ends)
    text = f"{fault}: all {CUSTOMERS} customers are answered"
    if not result.judge(text, not late, seen=f"{late} were not, within {SLOWEST:g} deadlines", hint=DEAF):
        return False
    other = next((end for end, state in ends if state != "unknown"), None)
    hint = RAISED if other is not None and other.error is not None else LIE
    text = f"{fault}: each is told 'unknown'"
    if not result.judge(text, other is None, expected="'unknown'", seen=repr(other), hint=hint):
        return False
    if fault != "request lost":
        await until(lambda: _all_charged(here, idents))
    await here.quiet()
    twice = [ident for ident in idents if await here.charged(ident) > 1]
    return result.judge(f"{fault}: nobody pays twice", not twice, seen=f"{len(twice)} paid twice", hint=TWICE)


async def _all_charged(here: Street, idents: list[int]) -> bool:
    return {*idents} <= {*(await here.book.effects("charge")).ids}
