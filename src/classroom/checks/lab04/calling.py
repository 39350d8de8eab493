"""Check 04.desk: a caller that sends and emits in the right places, waits for nobody too long, and tells no lies."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Any

from classroom.checks.lab04.office import effects, office, settled
from classroom.checks.rehearsal import new_ids, words_of
from classroom.checks.result import Result
from classroom.checks.serving import copy_of
from classroom.checks.street import until
from classroom.ledger import Book
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from postoffice import Client, RequestTimeout

STATES = ("paid", "refused", "not paid", "unknown")
LIMIT = 4.0  # seconds; below the 5 that a call waits where nothing is said
CUSTOMERS = 6  # at once
EMITTED = "the payment was emitted: nobody told the desk that it was refused. What it must know, it must send."
DEAF = "it waited too long for payments. Give the call a limit: timeout=0.5"
WAITS = "it waits for parcels, whose answer it does not need. Emit what has happened."
RAISED = "an error that the desk did not catch reaches its caller as 'Internal server error'. Return a state instead."
SURE = "NoHandlerError is certain: nothing was done. error.may_have_happened tells it from a timeout."
LIE = "no answer is not a no, and not a yes: RequestTimeout and ConnectionLost are 'unknown'."
CROSSED = "the answer has the id of another order: calls at the same time must not share a variable."
EARLY = "a parcel went out for an order that nobody has paid, as far as the desk can know."
UNHEARD = 'nobody packs it. Which pattern has the handler of parcels? "order.paid", letter by letter.'
TWICE = "something is done twice: is there a second attempt, or are there two letters for one thing?"


async def judge(result: Result, draw: Random, desk: Any, payments: Any, parcels: Any, post: Any, book: Any) -> None:
    """All conditions of the task, on a copy of the desk."""
    async with (
        office(result, post, book, payments=payments, parcels=parcels),
        copy_of(result, "desk", desk) as twin,
        await Client.connect(twin.url, timeout=LIMIT) as client,
    ):
        trial = Trial(result, draw, client, book)
        if await trial.sells(twin) and await trial.refuses():
            await trial.bears(payments, parcels)


class Trial:
    """A desk that is tried, and its customers."""

    def __init__(self, result: Result, draw: Random, client: Client, book: Book) -> None:
        self.result, self.draw, self.client, self.book = result, draw, client, book

    async def checkout(self, ident: int, total: int | None = None) -> tuple[Outcome, str]:
        """One checkout: how it ended, and the state, "" where it is none of the four."""
        order = {"id": ident, "total": total or self.draw.randint(1, 99)}
        end = await outcome(self.client.send("checkout", order))
        state = end.answer.get("state") if isinstance(end.answer, dict) and end.answer.get("id") == ident else None
        return end, state if state in STATES else ""

    async def done(self, ident: int) -> tuple[int, int]:
        """How often an order was charged, and shipped."""
        return await effects(self.book, "charge", ident), await effects(self.book, "ship", ident)

    async def sells(self, twin: ServiceHandle) -> bool:
        """A good day: paid, charged once, packed once."""
        (ident,) = new_ids(1)
        end, state = await self.checkout(ident)
        expected = f"{{'id': {ident}, 'state': 'paid'}}"
        seen, hint = repr(end), await words_of(twin, state != "paid")
        if "NoHandlerError" in seen or "nobody handles" in hint or "Internal" in seen:
            hint = f"{UNHEARD} {hint}"
        if not self.result.judge("an order is paid", state == "paid", expected=expected, seen=seen, hint=hint):
            return False
        await until(lambda: self._is(ident, 1, 1), 3.0)
        await settled(self.book)
        charged, shipped = await self.done(ident)
        hint = TWICE if charged > 1 or shipped > 1 else UNHEARD if not shipped else 'send "payment.take" the order.'
        seen = f"charged {charged} times, shipped {shipped} times"
        text = "it is charged once, and shipped once"
        return self.result.judge(text, (charged, shipped) == (1, 1), seen=seen, hint=hint)

    async def _is(self, ident: int, *wanted: int) -> bool:
        return await self.done(ident) == wanted

    async def refuses(self) -> bool:
        """A card that is no good."""
        (ident,) = new_ids(1)
        end, state = await self.checkout(ident, 1001 + self.draw.randint(0, 99))
        hint = RAISED if end.error else EMITTED if state == "paid" else "an RpcError is the other side's no: 'refused'."
        text = "what payments refuse is 'refused'"
        if not self.result.judge(text, state == "refused", expected="'refused'", seen=repr(end), hint=hint):
            return False
        await settled(self.book)
        shipped = (await self.done(ident))[1]
        return self.result.judge("and nothing is shipped", not shipped, seen=f"{shipped} parcels", hint=EARLY)

    async def bears(self, payments: ServiceHandle, parcels: ServiceHandle) -> None:
        """Others stand still, or are away; in an order drawn by lot."""
        trials = [
            partial(self.without_parcels, parcels),
            partial(self.silence, payments),
            partial(self.absence, payments),
        ]
        self.draw.shuffle(trials)
        for trial in trials:
            if not await trial():
                return
        await self.crowd()

    async def without_parcels(self, parcels: ServiceHandle) -> bool:
        """Parcels stands still: that is no business of the customer."""
        (ident,) = new_ids(1)
        async with parcels.paused():
            end, state = await self.checkout(ident)
        text = "parcels is paused: the order is paid all the same"
        if not self.result.judge(text, state == "paid", expected="'paid'", seen=repr(end), hint=WAITS):
            return False
        await until(lambda: self._is(ident, 1, 1))
        await settled(self.book)
        charged, shipped = await self.done(ident)
        text, seen = "parcels goes on: it is shipped once", f"charged {charged} times, shipped {shipped} times"
        return self.result.judge(text, (charged, shipped) == (1, 1), seen=seen, hint=TWICE)

    async def silence(self, payments: ServiceHandle) -> bool:
        """Payments stands still: each of several customers is answered."""
        idents = new_ids(CUSTOMERS)
        async with payments.paused():
            ends = await asyncio.gather(*(self.checkout(ident) for ident in idents))
        late = sum(isinstance(end.error, RequestTimeout) for end, _ in ends)
        text = f"payments is paused: {CUSTOMERS} customers at once are answered"
        if not self.result.judge(text, not late, seen=f"{late} were not", hint=DEAF):
            return False
        other = next((end for end, state in ends if state != "unknown"), None)
        hint = RAISED if other is not None and other.error else LIE
        hint = CROSSED if other is not None and "'unknown'" in repr(other.answer) else hint
        text = "payments is paused: each is told 'unknown'"
        if not self.result.judge(text, other is None, expected="'unknown'", seen=repr(other), hint=hint):
            return False
        await until(lambda: self._all_charged(idents))
        await settled(self.book)
        done = [await self.done(ident) for ident in idents]
        text = "payments goes on: nobody has paid twice"
        seen = f"{sum(charged > 1 for charged, _ in done)} paid twice"
        good = self.result.judge(text, all(charged < 2 for charged, _ in done), seen=seen, hint=TWICE)
        parcels = sum(shipped for _, shipped in done)
        text = "and nothing is shipped that may not be paid"
        return self.result.judge(text, not parcels, seen=f"{parcels} parcels", hint=EARLY) and good

    async def _all_charged(self, idents: list[int]) -> bool:
        return {*idents} <= {*(await self.book.effects("charge")).ids}

    async def absence(self, payments: ServiceHandle) -> bool:
        """Payments is away: nothing was done, and that is certain."""
        (ident,) = new_ids(1)
        async with payments.stopped():
            end, state = await self.checkout(ident)
        hint = RAISED if end.error else SURE
        text = "payments is away: 'not paid', for certain"
        return self.result.judge(text, state == "not paid", expected="'not paid'", seen=repr(end), hint=hint)

    async def crowd(self) -> None:
        """Many at once, on a good day again: each effect once."""
        idents = new_ids(2 * CUSTOMERS)
        states = [state for _, state in await asyncio.gather(*(self.checkout(ident) for ident in idents))]
        await until(lambda: self._all_shipped(idents), 5.0)
        await settled(self.book)
        done = [await self.done(ident) for ident in idents]
        seen = f"{states.count('paid')} paid, {done.count((1, 1))} charged and shipped once"
        good = states.count("paid") == len(idents) == done.count((1, 1))
        hint = "after a fault the desk must go on, and calls at the same time must not share a variable."
        self.result.judge(f"{len(idents)} orders at once: each charged and shipped once", good, seen=seen, hint=hint)

    async def _all_shipped(self, idents: list[int]) -> bool:
        return {*idents} <= {*(await self.book.effects("ship")).ids}
