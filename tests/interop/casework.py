"""How cases are written down, compared and run. Each is stated once, whoever is the client and the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .peers import Outcome, Pair

__all__ = ["CASES", "NotApplicable", "NotSupported", "answered", "case", "ended", "objects", "run", "same", "sorted_by"]


class NotSupported(Exception):
    """NestJS can do it here and we cannot; the text says what is missing."""


class NotApplicable(Exception):
    """There is nothing of the kind on this transport, or on this side; the text says why."""


CASE_LIMIT = 40.0  # seconds
Case = Callable[[Pair], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, f"two cases are called {name!r}"
        CASES[name] = function
        return function

    return add


def same(found: Any, expected: Any) -> None:
    """Equal as JSON is: 1 and True differ, 1 and 1.0 do not."""
    if found != expected or isinstance(found, bool) is not isinstance(expected, bool):
        raise AssertionError(f"expected {_short(expected)}, got {_short(found)}")


def ended(outcome: Any, end: str, values: list[Any], error: Any = None) -> None:
    same([outcome.end, outcome.values, outcome.error], [end, values, error])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def objects(pair: Pair) -> None:
    if not pair.wire.objects:
        raise NotApplicable("an object is no address here; both sides take text")


def sorted_by(pair: Pair) -> None:
    if pair.client.nest and not pair.wire.nest_sorts:
        raise NotApplicable("NestJS publishes to the exchange by the unsorted text of a pattern, which nothing takes")


def answered(pair: Pair, outcomes: list[Outcome], expected: list[Any]) -> None:
    """Each call has its own answer. Where NestJS's client loses some, what did come was right."""
    lost = {n for n, one in enumerate(outcomes) if one.end == "timeout"}
    same(
        [one.values for n, one in enumerate(outcomes) if n not in lost],
        [[one] for n, one in enumerate(expected) if n not in lost],
    )
    if lost and pair.client.nest and pair.wire.nest_loses_bursts:
        raise NotApplicable("NestJS's client unsubscribes from replies too early, and loses some of a burst")
    same(lost, set())


async def run(pair: Pair, one: Case) -> None:
    """One case, on a service that has forgotten the ones before. Raises AssertionError, NotSupported, TimeoutError."""
    await pair.service.seen(forget=True)
    async with asyncio.timeout(CASE_LIMIT):
        await one(pair)
