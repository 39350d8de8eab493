"""Check 03.till: a service that adds up, refuses what it cannot, and lives on whatever is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import urlsplit

from classroom.checks.rehearsal import words_of
from classroom.checks.result import Result
from classroom.checks.serving import caller, copy_of, process_ids
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from postoffice import Client, NoHandlerError, RpcError

TOTAL = {"cmd": "total"}
INTERNAL = "Internal server error"


def order(*lines: tuple[Any, Any]) -> dict[str, Any]:
    """An order of lines, each a quantity and a price."""
    return {"lines": [{"qty": qty, "price": price} for qty, price in lines]}


def good_orders(draw: Random) -> list[tuple[Any, float]]:
    """Orders, each with its total: prices are quarters, so that every sum is exact."""
    orders: list[tuple[Any, float]] = []
    for prices in (range(1, 20), range(1, 20), range(0), (0.25, 0.5, 2.75)):
        lines = [(draw.randint(1, 9), draw.choice(prices)) for _ in range(1 + len(orders))] if prices else []
        orders.append((order(*lines), sum(qty * price for qty, price in lines)))
    return orders


def bad_orders(draw: Random) -> list[tuple[Any, str]]:
    """What is sent, and the field that the refusal must name."""
    qty, price, good = draw.randint(2, 9), draw.randint(1, 9), (1, 4)
    return [
        ({}, "lines"),
        ({"lines": draw.choice(["two teas", 7, None])}, "lines"),
        ({"lines": [{"price": price}]}, "qty"),
        (order((0, price)), "qty"),
        (order(good, (-qty, price)), "qty"),
        (order((qty + 0.5, price)), "qty"),
        (order((str(qty), price)), "qty"),
        (order(good, (qty, -price)), "price"),
        (order((qty, draw.choice(["free", None, [price]]))), "price"),
    ]


NOISE = [
    b"hello, is anybody there?\r\n\r\n" * 4,
    b"x#{}",
    b"5#nope!",
    b'99#{"pattern":',
    b"999999999999#{}",
    b"\xff" * 50,
]


async def judge(result: Result, draw: Random, till: Any) -> None:
    """All conditions of the task."""
    async with copy_of(result, "till", till) as twin:
        before, good = process_ids(twin), good_orders(draw)
        try:
            async with caller(twin) as client:
                await adds_up(result, client, twin, good)
                await refuses(result, client, bad_orders(draw))
                await returns_unknown_letters(result, client, draw)
                await keeps_calm(result, client, draw)
            await survives_noise(result, twin, *good[0])
        except ConnectionError as error:  # ConnectError is one; so is what a bare socket raises
            hint = f"it died while it was tried; the last line of its log: {twin.logs(1)}"
            result.judge("till can be reached", False, seen=str(error), hint=hint)
        await same_process(result, twin, before)


def is_number(answer: Any, wanted: float) -> bool:
    """Whether an answer is this number; True is none."""
    return type(answer) in (int, float) and answer == wanted


async def adds_up(result: Result, client: Client, till: ServiceHandle, good: Sequence[tuple[Any, float]]) -> None:
    """Good orders get the sum of qty * price."""
    for data, total in good:
        end = await outcome(client.send(TOTAL, data))
        if not is_number(end.answer, total):
            hint = "return the number alone: the sum of qty * price over all lines."
            if isinstance(end.error, RpcError) and str(end.error) == INTERNAL:
                hint = f"the handler raised; {await words_of(till, failed=True)}"
            elif isinstance(end.error, NoHandlerError):
                hint = 'the pattern is {"cmd": "total"}, letter by letter.'
            elif isinstance(end.error, RpcError):
                hint = "this order makes sense, and was refused: a price may have a fraction, an order no lines at all."
            result.judge("good orders are added up", False, expected=f"{total} for {data}", seen=repr(end), hint=hint)
            return
    result.judge("good orders are added up", True)


async def refuses(result: Result, client: Client, bad: Sequence[tuple[Any, str]]) -> None:
    """Every bad order is refused with words that name the field."""
    text = f"each of {len(bad)} bad orders is refused, in words that name the field"
    for data, field in bad:
        end = await outcome(client.send(TOTAL, data))
        if isinstance(end.error, RpcError) and field in str(end.error) and str(end.error) != INTERNAL:
            continue
        expected = f"RpcError that names {field!r}, for {data}"
        result.judge(text, False, expected=expected, seen=repr(end), hint=_refusal_hint(end, data))
        return
    result.judge(text, True)


def _refusal_hint(end: Outcome, data: Any) -> str:
    if isinstance(end.error, RpcError):
        if str(end.error) == INTERNAL:
            return "any exception but RpcError reaches the caller as this: raise RpcError, or give data a type."
        return "say which field is wrong: its name helps the caller, who cannot see your code."
    if end.error is not None:
        return "a bad order must not end the process: no sys.exit, and no loop over what was sent."
    if isinstance(end.answer, dict):
        return "an error that is *returned* is an answer like any other to the caller: raise RpcError instead."
    lines = data.get("lines")
    if isinstance(lines, list) and any(isinstance(line.get("qty"), str) for line in lines):
        return "it took a text for a number. pydantic converts unless told not to: class Line(BaseModel, strict=True)."
    return "it was accepted. Check it before you add up, or let a type with limits check it: Field(ge=1)."


async def returns_unknown_letters(result: Result, client: Client, draw: Random) -> None:
    """Unknown patterns come back as NoHandlerError."""
    text = "unknown patterns are returned at once, as NoHandlerError"
    for pattern in ({"cmd": "totals"}, {"cmd": "total", "v": draw.randint(2, 99)}, "total"):
        end = await outcome(client.send(pattern, order((2, 3))))
        if not isinstance(end.error, NoHandlerError):
            result.judge(
                text, False, expected=f"NoHandlerError for {pattern}", seen=repr(end), hint="handle one pattern only."
            )
            return
    result.judge(text, True)


async def keeps_calm(result: Result, client: Client, draw: Random) -> None:
    """Good orders among bad ones, all at once, get their own answers."""
    orders = [(order((n, price)), n * price) for n in range(1, 61) for price in [draw.randint(1, 99)]]
    mixed = [*orders, *[({"lines": None}, None)] * 30]
    draw.shuffle(mixed)
    ends = await asyncio.gather(*(outcome(client.send(TOTAL, data)) for data, _ in mixed))
    right = sum(is_number(end.answer, total) for (_, total), end in zip(mixed, ends, strict=True) if total is not None)
    hint = "does a handler share a variable with the others? Each call needs its own."
    text = f"{len(orders)} good orders among {len(mixed) - len(orders)} bad ones, at once, get their own totals"
    result.judge(text, right == len(orders), seen=f"{right} of {len(orders)} right", hint=hint)


async def survives_noise(result: Result, till: ServiceHandle, data: Any, total: float) -> None:
    """Bytes that are no frames, some on connections that stay open, do not disturb others."""
    address = urlsplit(till.url)
    writers = []
    try:
        for noise in NOISE:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writers.append(writer)
            writer.write(noise)
        async with caller(till) as client:
            end = await outcome(client.send(TOTAL, data))
    finally:
        for writer in writers:
            writer.close()
    good = is_number(end.answer, total)
    hint = f"meanwhile another caller sent a good order, and had no right answer: expected {total}."
    result.judge("bytes that are no frames do not disturb other callers", good, seen=repr(end), hint=hint)


async def same_process(result: Result, till: ServiceHandle, before: list[int]) -> None:
    """It is still the process that it was."""
    same = process_ids(till) == before
    hint = f"something ended the process; the last line of its log: {till.logs(1)}"
    result.judge("till is still the same process", same, expected="alive", seen=till.state, hint=hint)
