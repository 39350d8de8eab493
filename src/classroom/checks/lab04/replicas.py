"""Check 04.mails: replicas that share the letters, and two names for one handler."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from classroom.checks.lab04.office import effects, office, settled
from classroom.checks.needs import need_service
from classroom.checks.rehearsal import new_ids
from classroom.checks.result import Result
from classroom.checks.serving import comes_up
from classroom.checks.street import until
from classroom.ledger import Book
from classroom.outcome import outcome
from classroom.service_handle import ServiceHandle
from postoffice import Client, NoHandlerError, RpcError

ORDERS = 16  # that two replicas both get none of them: once in 30,000
BOTH = ("preview", "mail.preview")
NOTHING = "it runs, and answers nothing: it is an event handler. Whoever asks needs a @message_pattern."
OTHER_NAME = "a function may bear several patterns, one decorator above the other: the old name, and the new one."
COPIES = "on NATS each replica gets a copy of the event, unless they share a name: --group, and a word."
ALONE = "two replicas are asked for: --replicas 2 in the first line of the cell."
SILENT = "the handler of the event ends with `await ledger.mail(...)` for each order."


async def judge(result: Result, draw: Random, mails: Any, post: Any, book: Any) -> None:
    """All conditions of the task."""
    async with office(result, post, book):
        await comes_up(result, "mails", need_service(result, "mails", mails))
        async with await Client.connect(post.url, timeout=5.0) as client:
            if await previews(result, client, draw):
                await shares(result, client, mails, book, draw)


async def previews(result: Result, client: Client, draw: Random) -> bool:
    """Both names are answered, with a text."""
    (ident,) = new_ids(1)
    name = draw.choice(["Ada", "Grace", "Edsger", "Barbara"])
    wanted = f"Dear {name}, your order {ident} is on its way."
    for pattern in BOTH:
        end = await outcome(client.send(pattern, {"id": ident, "name": name}))
        hint = OTHER_NAME if isinstance(end.error, NoHandlerError) else NOTHING
        hint = "return the text, as the cell had it." if end.answer is not None else hint
        hint = f"the handler raised: {end.error}" if isinstance(end.error, RpcError) else hint
        text = f"{pattern!r} is answered with the text"
        if not result.judge(text, end.answer == wanted, expected=repr(wanted), seen=repr(end), hint=hint):
            return False
    return True


async def shares(result: Result, client: Client, mails: ServiceHandle, book: Book, draw: Random) -> None:
    """Each order has one mail, though there are two replicas; both work; one may die."""
    idents = await place(client, draw)
    await until(lambda: _all(book, idents), 5.0)
    await settled(book)
    counts = [await effects(book, "mail", ident) for ident in idents]
    seen = f"{counts.count(0)} without, {counts.count(1)} with one, {sum(n > 1 for n in counts)} with more"
    hint = COPIES if max(counts) > 1 else SILENT
    text = f"{ORDERS} orders are paid: each has one mail"
    if not result.judge(text, counts == [1] * ORDERS, expected=f"{ORDERS} with one", seen=seen, hint=hint):
        return
    workers = {row.pid for row in await book.effects("mail") if row.id in idents}
    text = "two processes did it"
    if not result.judge(text, len(workers) > 1, expected="2 or more", seen=str(len(workers)), hint=ALONE):
        return
    async with mails.killed(draw.choice([one.number for one in mails.replicas])):
        await asyncio.sleep(0)

        async def serves() -> bool:
            return (await outcome(client.send(BOTH[0], {"id": 1, "name": "Ada"}, timeout=0.5))).error is None

        await until(serves)
        idents = await place(client, draw)
        await until(lambda: _all(book, idents), 5.0)
        await settled(book)
        counts = [await effects(book, "mail", ident) for ident in idents]
    seen = f"{counts.count(1)} of {ORDERS} with one mail"
    result.judge("one replica is killed: the other goes on", counts == [1] * ORDERS, seen=seen, hint=COPIES)


async def place(client: Client, draw: Random) -> list[int]:
    """Some orders are paid."""
    idents = new_ids(ORDERS)
    for ident in idents:
        await client.emit("mail.wanted", {"id": ident, "name": draw.choice(["Ada", "Grace"])})
    return idents


async def _all(book: Book, idents: list[int]) -> bool:
    return {*idents} <= {*(await book.effects("mail")).ids}
