"""Check 02.orders: two replicas on NATS charge each order once, and lose none, be they away or killed."""

from __future__ import annotations

import secrets
from dataclasses import replace
from random import Random
from typing import Any

from classroom.checks.invariants import duplicates, find, lost
from classroom.checks.needs import need_broker, need_ledger, need_service, no_verdict
from classroom.checks.result import Result
from classroom.checks.serving import comes_up
from classroom.guarantees import Cell, Fault, Seen, Trial
from classroom.ledger import Book
from classroom.service_handle import ServiceHandle

__all__ = ["judge"]

PATTERN, ORDERS, REPLICAS, PREFETCH = "order.placed", 40, 2, 16
COPIES = (
    "each replica is a subscriber of its own, so each gets each order. Either they are in one group, or they take from"
    " one store: think which of the two also survives what comes below."
)
NOT_KEPT = "its sender asked the broker to store each order, and the service did not: --delivery at-least-once"
HIDDEN = (
    "the service acknowledges an order when its handler returns. Was the charge done by then, or only begun? And does"
    " anything swallow an error, or note an order as done before it is?"
)
AGAIN = "more came again than was in flight: does something repeat the charge?"


async def judge(result: Result, draw: Random, orders: Any, nats: Any, book: Any) -> None:
    """All conditions of the task, each with a copy of the service."""
    need_broker(result, "nats", nats, "nats")
    need_ledger(result, book)
    need_service(result, "orders", orders)
    with no_verdict(result):
        for trial in (shares, outlives_absence, outlives_kill):
            if not await trial(result, draw, orders, book):
                return


async def _tried(result: Result, draw: Random, orders: ServiceHandle, book: Book, fault: Fault) -> Seen:
    """A copy of the service under one fault."""
    twin = orders.twin(f"orders_{secrets.token_hex(3)}")
    cell = Cell("nats", fault, orders.plan.delivery, "at-least-once")  # type: ignore[arg-type]
    trial = Trial(cell, book, twin, PATTERN)
    try:
        await comes_up(result, "orders", twin)
        await trial.begin()
        return await trial.faults[fault](ORDERS, draw.randint(2, 8))
    finally:
        await trial.end()


async def shares(result: Result, draw: Random, orders: ServiceHandle, book: Book) -> bool:
    """Nothing is broken: each order is charged once, with its total."""
    seen = await _tried(result, draw, orders, book, "replicas")
    rows = [row for row in seen.run.ledger or () if row.outcome == "effect" and row.id in seen.run.attempted]
    totals = {ident: number for number, ident in enumerate(seen.run.attempted, 1)}
    number = orders.plan.replicas
    text = f"there are {REPLICAS} replicas"
    hint = "one is no cure: when it is busy, or dies, orders wait. --replicas 2"
    good = result.judge(text, number == REPLICAS, seen=str(number), hint=hint)
    wrong = [
        f"{row.kind} {row.id}: {row.amount}" for row in rows if (row.kind, row.amount) != ("charge", totals[row.id])
    ]
    hint = COPIES if seen.twice else NOT_KEPT if not rows else 'charge data["id"], and as its amount data["total"].'
    right = seen.word == "all" and not wrong and len(rows) == ORDERS
    told = "; ".join([f"{seen!r}", *wrong[:3]])
    return result.judge(f"{ORDERS} orders are charged, each once", right, seen=told, hint=hint) and good


async def outlives_absence(result: Result, draw: Random, orders: ServiceHandle, book: Book) -> bool:
    """Both are stopped, orders come, both are back."""
    seen = await _tried(result, draw, orders, book, "away")
    return find(result, seen.run, lost, "both are away for a moment: no order is lost", _why(orders))


async def outlives_kill(result: Result, draw: Random, orders: ServiceHandle, book: Book) -> bool:
    """One dies with its hands full, between a charge and its ack."""
    seen = await _tried(result, draw, orders, book, "killed")
    kept = find(result, seen.run, lost, "killed between charge and ack: no order is lost", _why(orders))
    text = "killed: only what was in flight is charged again"
    run = replace(seen.run, in_flight=REPLICAS * PREFETCH)
    return find(result, run, duplicates, text, AGAIN) and kept


def _why(orders: ServiceHandle) -> str:
    return NOT_KEPT if orders.plan.delivery == "at-most-once" else HIDDEN
