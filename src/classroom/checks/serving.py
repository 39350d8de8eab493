"""Check 03.till: a service that adds up, refuses what it cannot, and lives on whatever is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from classroom.checks.result import Result
from classroom.outcome import Outcome, outcome
from postoffice import Client, NoHandlerError, RpcError

TOTAL = {"cmd": "total"}
LIMIT = 5.0  # seconds for one answer; a till needs about a millisecond
INTERNAL = "Internal server error"


def order(*lines: tuple[Any, Any]) -> dict[str, Any]:
    """An order of lines, each a quantity and a price."""
    return {"lines": [{"qty": qty, "price": price} for qty, price in lines]}


GOOD = [(order((2, 3)), 6), (order((1, 10), (3, 5)), 25), (order(), 0), (order((4, 0.25)), 1)]
BAD: list[tuple[Any, str]] = [  # what is sent, and the field that the refusal must name
    ({}, "lines"),
    ({"lines": "two teas"}, "lines"),
    ({"lines": [{"price": 3}]}, "qty"),
    (order((0, 3)), "qty"),
    (order((1.5, 3)), "qty"),
    (order(("2", 3)), "qty"),
    (order((2, -1)), "price"),
    (order((2, "free")), "price"),
]
NOISE = [
    b"hello, is anybody there?\r\n\r\n" * 4,
    b"x#{}",
    b"5#nope!",
    b'99#{"pattern":',
    b"999999999999#{}",
    b"\xff" * 50,
]


def is_handle(service: Any) -> bool:
    """Whether a variable still holds what %%service bound to it."""
    return all(hasattr(service, name) for name in ("ready", "url", "replicas", "logs"))


async def is_up(result: Result, name: str, service: Any) -> bool:
    """Judge whether a service serves; the conditions after it make no sense otherwise."""
    if not is_handle(service):
        seen = f"{name} = {service!r:.60}"
        return result.judge(f"{name} is a service", False, seen=seen, hint=f"run the %%service {name} cell again.")
    try:
        await service.ready()
    except Exception as error:
        lines = str(error).strip().splitlines()
        told = " … ".join(dict.fromkeys([lines[0], lines[-1]])).replace(service.name, name)
        hint = "read the traceback under the service's cell; its line numbers are the cell's."
        return result.judge(f"{name} starts and is ready", False, seen=told, hint=hint)
    return result.judge(f"{name} starts and is ready", True)


def process_ids(service: Any) -> list[int]:
    """Who runs the service now: a process that died and was replaced has another id."""
    return [replica.pid for replica in service.replicas if replica.alive]


@asynccontextmanager
async def caller(service: Any) -> AsyncIterator[Client]:
    """A client of a service, closed at the end."""
    async with await Client.connect(service.url, timeout=LIMIT) as client:
        yield client


async def judge(result: Result, till: Any) -> None:
    """All conditions of the task."""
    if not await is_up(result, "till", till):
        return
    before = process_ids(till)
    try:
        async with caller(till) as client:
            await adds_up(result, client, till)
            await refuses(result, client)
            await returns_unknown_letters(result, client)
            await keeps_calm(result, client)
        await survives_noise(result, till)
    except ConnectionError as error:  # ConnectError is one; so is what a bare socket raises
        result.judge("till can be reached", False, seen=str(error), hint="it died while it was tried: see till.logs().")
    await same_process(result, till, before)


async def adds_up(result: Result, client: Client, till: Any) -> None:
    """Good orders get the sum of qty * price."""
    for data, total in GOOD:
        end = await outcome(client.send(TOTAL, data))
        if end.answer != total or end.error:
            hint = "return the number alone: the sum of qty * price over all lines."
            if isinstance(end.error, RpcError) and str(end.error) == INTERNAL:
                hint = f"the handler raised; the last line of till's log: {till.logs(1)}"
            elif isinstance(end.error, NoHandlerError):
                hint = 'the pattern is {"cmd": "total"}, letter by letter.'
            result.judge("good orders are added up", False, expected=f"{total} for {data}", seen=repr(end), hint=hint)
            return
    result.judge("good orders are added up", True)


async def refuses(result: Result, client: Client) -> None:
    """Every bad order is refused with words that name the field."""
    text = f"each of {len(BAD)} bad orders is refused, in words that name the field"
    for data, field in BAD:
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
    if data == order(("2", 3)):
        return 'it took the text "2" for a number. pydantic converts unless told not to: BaseModel, strict=True.'
    return "it was accepted. Check it before you add up, or let a type with limits check it: Field(ge=1)."


async def returns_unknown_letters(result: Result, client: Client) -> None:
    """Unknown patterns come back as NoHandlerError."""
    text = "unknown patterns are returned at once, as NoHandlerError"
    for pattern in ({"cmd": "totals"}, {"cmd": "total", "v": 2}, "total"):
        end = await outcome(client.send(pattern, order((2, 3))))
        if not isinstance(end.error, NoHandlerError):
            result.judge(
                text, False, expected=f"NoHandlerError for {pattern}", seen=repr(end), hint="handle one pattern only."
            )
            return
    result.judge(text, True)


async def keeps_calm(result: Result, client: Client) -> None:
    """Good orders among bad ones, all at once, get their own answers."""
    orders = [(order((n, 7)), 7 * n) if n % 3 else ({"lines": None}, None) for n in range(1, 91)]
    ends = await asyncio.gather(*(outcome(client.send(TOTAL, data)) for data, _ in orders))
    good = [(total, end) for (_, total), end in zip(orders, ends, strict=True) if total is not None]
    right = sum(end.answer == total for total, end in good)
    hint = "does a handler share a variable with the others? Each call needs its own."
    seen = f"{right} of {len(good)} right"
    result.judge(
        "60 good orders among 30 bad ones, at once, get their own totals", right == len(good), seen=seen, hint=hint
    )


async def survives_noise(result: Result, till: Any) -> None:
    """Bytes that are no frames, some on connections that stay open, do not disturb others."""
    address = urlsplit(till.url)
    writers = []
    try:
        for noise in NOISE:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writers.append(writer)
            writer.write(noise)
        async with caller(till) as client:
            end = await outcome(client.send(TOTAL, GOOD[0][0]))
    finally:
        for writer in writers:
            writer.close()
    result.judge("bytes that are no frames do not disturb other callers", end.answer == GOOD[0][1], seen=repr(end))


async def same_process(result: Result, till: Any, before: list[int]) -> None:
    """It is still the process that it was."""
    same = process_ids(till) == before
    hint = "something ended the process. Look at till.logs()."
    result.judge("till is still the same process", same, expected="alive", seen=till.state, hint=hint)
