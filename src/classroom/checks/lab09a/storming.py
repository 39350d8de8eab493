"""Check 09a.storm: three tiers that try again, in an outage, in a moment's fault, and after it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from classroom.checks.effects import one_effect_per_id
from classroom.checks.findings import Finding
from classroom.checks.needs import FIRST_CELL, need_ledger, no_verdict
from classroom.checks.rehearsal import last_words, new_ids
from classroom.checks.result import Result
from classroom.checks.runs import Run
from classroom.checks.serving import caller, copy_of
from classroom.ledger import Book, LedgerError
from classroom.ledger.rows import Row
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from postoffice import Client

PATTERN = "buy"
OUTAGE = 60  # requests while the ledger is out of order
MOST_CALLS = 80  # that the ledger may get for them: 60, a tenth of them again, and a burst of ten
CALM = 50  # requests that fill a budget of a tenth up to its burst
FAULTS = 4  # in the calm, one at a time
RECOVERY = 15.0  # seconds; the task says 10
STORM = "tiers are multiplied: what one tier tries three times, and the next, and the next, is tried 27 times."
UNLIMITED = (
    "every request may still be tried again, and in an outage all of them are. Bound the part of retries:"
    " budget=RetryBudget(ratio=0.1), made once, outside the handler, and shared by all requests."
)
LIES = "the ledger refused everything, and yet the caller was told that all is well. An error must reach its caller."
GIVES_UP = "one refused call is no outage: one tier must try it once more."
NOT_SAFE = (
    "the answer got lost, and nobody tried again: with its key a charge may be repeated, which retrying() must be told:"
    " idempotent=True."
)
TWICE = "a lost answer was taken for a lost charge: without its key, the second attempt charges again."
STUCK = (
    "the ledger is well again, and the shop still sells nothing: what opened, ran out or was noted in the outage must"
    " come back by itself."
)
EMPTY = (
    "in the outage the budget was used up, and the requests since then have not filled it: each one pays in a part of"
    " a retry, by its ratio."
)


async def judge(result: Result, draw: Random, shop: Any, book: Any) -> None:
    """All conditions of the task."""
    async with twin(result, "shop", shop, book) as street:
        if await street.sells(result, draw) and await street.bears_an_outage(result):
            await street.recovers(result, draw)


class Street:
    """A copy of the shop, its customers, and what the ledger has of it."""

    def __init__(self, service: ServiceHandle, book: Book, client: Client) -> None:
        self.service, self.book, self._client = service, book, client

    async def buy(self, number: int, total: int = 10) -> Outcome:
        """One request of one customer."""
        return await outcome(self._client.send(PATTERN, {"id": number, "total": total}))

    async def calls(self, wanted: Collection[int]) -> list[Row]:
        """Every call that came to the ledger for these orders."""
        return [row for row in await self.book.rows() if row.id in wanted]

    async def sells(self, result: Result, draw: Random) -> bool:
        """On a calm day, with a fault now and then: everything is sold, once."""
        kinds = [False, True] * (FAULTS // 2)  # refused before its effect; its answer lost after it
        draw.shuffle(kinds)
        return await self._calm(result, draw, kinds, GIVES_UP, last_words(self.service))

    async def _calm(self, result: Result, draw: Random, kinds: list[bool], one: str, none: str) -> bool:
        """Customers one after the other; at some of them, a single call to the ledger fails."""
        faults = dict(zip(sorted(draw.sample(range(CALM // 2, CALM), len(kinds))), kinds, strict=True))
        sold, failed = new_ids(CALM), list[tuple[int, Outcome]]()
        for place, number in enumerate(sold):
            if place in faults:
                await self.book.failing(1, after_effect=faults[place])
            end = await self.buy(number, draw.randint(1, 99))
            if end.error is not None:
                failed.append((place, end))
            if place in faults:
                await self.book.up()
        text = f"{CALM} customers, and at {len(kinds)} of them one call to the ledger fails: all can buy"
        seen = f"{len(failed)} could not: {failed[0][1]!r}" if failed else ""
        hint = none if len(failed) > len(kinds) else one
        if failed and all(faults.get(place) for place, _ in failed):
            hint = NOT_SAFE
        if not result.judge(text, not failed, seen=seen, hint=hint):
            return False
        return await self._once(result, sold)

    async def _once(self, result: Result, sold: list[int]) -> bool:
        rows = await self.calls(set(sold))
        found = one_effect_per_id(Run(sold, ledger=rows))
        missing = set(sold) - {row.id for row in rows if row.outcome == "effect"}
        if missing:
            seen = f"{len(missing)} of them have no charge in the ledger"
            return result.judge("each of them is charged once", False, seen=seen, hint='charge order["id"].')
        text = "each of them is charged once"
        hint = "" if found.passed else TWICE
        told = Finding(text, found.passed, found.expected, found.seen, hint, offenders=found.offenders, life=found.life)
        result.conditions.append(told)
        return bool(found.passed)

    async def bears_an_outage(self, result: Result) -> bool:
        """The ledger refuses everything, and many ask at once."""
        wanted = set(new_ids(OUTAGE))
        async with self.book.failing():
            ends = await asyncio.gather(*(self.buy(number) for number in wanted))
        well = [end for end in ends if end.error is None]
        text = f"in an outage each of {OUTAGE} callers is told of it"
        if not result.judge(text, not well, expected="an error", seen=f"{len(well)} got {well[:1]}", hint=LIES):
            return False
        calls = Counter(row.id for row in await self.calls(wanted))
        text = f"{OUTAGE} requests in an outage make {MOST_CALLS} calls to the ledger at most"
        total, most = calls.total(), max(calls.values(), default=0)
        seen = f"{total:,} calls: {total / OUTAGE:.2g} for each request, and {most} for one"
        return result.judge(text, total <= MOST_CALLS, seen=seen, hint=STORM if most > 3 else UNLIMITED)

    async def recovers(self, result: Result, draw: Random) -> None:
        """Soon it sells again; and when it has sold for a while, it bears a moment's fault as it did before."""
        loop = asyncio.get_running_loop()
        end, last = loop.time() + RECOVERY, await self.buy(*new_ids(1))
        while last.error is not None and loop.time() < end:
            await asyncio.sleep(0.1)
            last = await self.buy(*new_ids(1))
        text = "after the outage the shop sells again"
        if result.judge(text, last.error is None, expected="within 10 s", seen=repr(last), hint=STUCK):
            await self._calm(result, draw, [False], EMPTY, STUCK)


@asynccontextmanager
async def twin(result: Result, name: str, service: Any, book: Any) -> AsyncIterator[Street]:
    """A copy of a service over TCP, once it is up, and gone at the end. Raises Over where something is missing."""
    need_ledger(result, book)
    async with copy_of(result, name, service) as copy:
        try:
            with no_verdict(result, lambda: f"{last_words(copy)}. {FIRST_CELL}"):
                async with caller(copy) as client:
                    yield Street(copy, book, client)
        finally:
            with suppress(LedgerError):
                await book.up()
