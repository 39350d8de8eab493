"""A saga by choreography: services that know events only, and a correlation id; no one is in charge."""

from typing import Any

import pytest
from contract_help import LIMIT, Place, eventually

from postoffice import Client, Context, Service, event_pattern
from postoffice.idempotency import idempotent
from postoffice.idempotency_stores import MemoryKeys

ORDERS = 20


def by_message(data: Any, ctx: Context) -> str | None:
    return ctx.message_id


@pytest.mark.parametrize("kind", ["redis"])
async def test_every_order_ends_and_the_money_adds_up(place: Place) -> None:
    """Each event comes twice, the payer's service stops and starts meanwhile; odd orders cannot be shipped."""
    name = place.name
    client: Client = await place.connect(delivery="at-least-once")
    balance: dict[int, int] = {}
    ends: dict[str, str] = {}

    async def tell(event: str, data: Any, ctx: Context) -> None:
        """What a handler emits has an id made from its message's: done twice, it is the same event twice."""
        headers = {"correlation-id": ctx.headers["correlation-id"]}
        for _ in range(2):
            await client.emit(f"{name}.{event}", data, headers=headers, message_id=f"{ctx.message_id}:{event}")

    @event_pattern(f"{name}.placed")
    @idempotent(MemoryKeys(), key=by_message)
    async def charge(data: Any, ctx: Context) -> None:
        balance[data] = balance.get(data, 0) + 10
        await tell("charged", data, ctx)

    @event_pattern(f"{name}.charged")
    @idempotent(MemoryKeys(), key=by_message)
    async def ship(data: Any, ctx: Context) -> None:
        await tell("unshippable" if data % 2 else "shipped", data, ctx)

    @event_pattern(f"{name}.unshippable")
    @idempotent(MemoryKeys(), key=by_message)
    async def refund(data: Any, ctx: Context) -> None:
        balance[data] -= 10
        await tell("cancelled", data, ctx)

    def ending(event: str) -> Any:
        @event_pattern(f"{name}.{event}")
        async def end(data: Any, ctx: Context) -> None:
            ends[ctx.headers["correlation-id"]] = event

        return end

    def payments() -> Service:
        return Service(charge, refund, url=place.url, name=f"{name}-payments", delivery="at-least-once")

    await place.serve(ship, name=f"{name}-shipping", delivery="at-least-once")
    await place.serve(ending("shipped"), ending("cancelled"), name=f"{name}-orders", delivery="at-least-once")
    async with payments():
        for number in range(ORDERS):
            for _ in range(2):
                headers = {"correlation-id": f"order {number}"}
                await client.emit(f"{name}.placed", number, headers=headers, message_id=f"order-{number}")
    async with payments():
        await eventually(lambda: len(ends) == ORDERS, "the end of every order", within=LIMIT)
    assert ends == {f"order {n}": "cancelled" if n % 2 else "shipped" for n in range(ORDERS)}
    assert balance == {n: 0 if n % 2 else 10 for n in range(ORDERS)}
