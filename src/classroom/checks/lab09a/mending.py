"""Check 09a.letters: a dead-letter queue is cleared: sent back, repaired, dropped, or left for a human being."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from classroom.checks.asking import Answer, ask
from classroom.checks.effects import one_effect_per_id
from classroom.checks.invariants import dead_letter_ids, find, lost
from classroom.checks.needs import need_broker, need_function
from classroom.checks.rehearsal import Stage, new_ids, rehearsal
from classroom.checks.result import Result
from classroom.checks.runs import handlings
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan

PATTERN = "order.placed"
SHOWN = 3  # letters that a failure quotes
THANKS = '{"en": "Thank you"}'  # what the till says before it is mended
MENDED = '{"en": "Thank you", "fr": "Merci"}'
TILL = """\
import msgspec
from classroom.ledger import ledger
from postoffice import PermanentError, Retry, event_pattern

THANKS = {"en": "Thank you"}

class Order(msgspec.Struct):
    id: int
    total: float
    language: str

@event_pattern("order.placed", retry=Retry(attempts=2, initial=0.1))
async def charge(order: Order, ctx):
    if order.total <= 0:
        raise PermanentError(f"a total of {order.total:g} cannot be charged")
    await ledger.charge(order.id, amount=order.total, idempotency_key=ctx.message_id)
    await ledger.mail(order.id, text=THANKS[order.language], idempotency_key=ctx.message_id)
"""
SPOILT = (
    "letters were sent back that even the mended till cannot handle, and they are back among the dead. Repair what can"
    " be repaired, and drop what may be dropped, before."
)
FORGOTTEN = (
    "nobody touched them: send back what the mended till can do, and what can be repaired; drop what is 0 or less. Look"
    " at what a letter says, not at its place or its id."
)
DROPPED = (
    "a letter was thrown away that nobody has said may go. What you do not know, leave where it is: a human will look."
)
AGAIN = (
    "this order had been charged before its mail failed. It was sent once more as a new message, with a new message_id,"
    " so the ledger took it for new work. `office.requeue(letter)` keeps the identity."
)
COPIES = (
    "one message lies there twice: its sender repeated it, or the till died between copy and ack. The first requeue"
    " takes away all its copies, and then there is none left for the second. Take each id once:"
    " {one.id: one for one in letters}. Or it was sent back as it was: even the mended till refuses it, and it"
    " comes back while you are still at work."
)
PRICED = "the total is qty * price, both of them from the letter's own data."
NEGATIVE = "an order with a total of 0 or less is never charged: drop it, and do not repair what is no accident."
ALIKE = (
    "a letter has not what the function looks for: not all of a kind are alike. Look before you repair, and leave what"
    " you cannot repair: one odd letter must not stop the others."
)
RAISES = "call it by hand: `await clear(rabbit.url, 'till.dead')`, and read the error."


async def judge(result: Result, draw: Random, clear: Any, rabbit: Any, book: Any) -> None:
    """All conditions of the task."""
    need_broker(result, "rabbit", rabbit, "rabbitmq")
    need_function(result, "clear", clear, "async def clear(url, queue):")
    plan = Plan(TILL, "rabbit", lambda: rabbit.url, "at-least-once", None, 1, False)
    async with rehearsal(result, "till", ServiceHandle("till", plan, lambda _: False), rabbit, book) as stage:
        pile = await fill(stage, draw)
        stage.service.deploy(replace(plan, source=TILL.replace(THANKS, MENDED)))
        await stage.service.ready()
        queue = stage.service.queues[-1]
        began = time.time()
        for text in ("clear comes to its end", "and once more, on what is left"):
            answer = await ask(clear, rabbit.url, queue)
            if not result.judge(text, not answer.error, seen=answer.error[:300], hint=why(answer)):
                return
            await stage.idle()
        await stage.drain()
        await accounts(result, stage, pile, began)


def why(answer: Answer) -> str:
    """A hint for a function that raised."""
    if answer.kind == "NotImplementedError":
        return "write this part first."
    if answer.kind in ("KeyError", "TypeError", "AttributeError"):
        return ALIKE
    return COPIES if "no dead letter" in answer.error else RAISES


@dataclass
class Pile:
    """What was put into the dead-letter queue: of each order what is to be charged, by what it needs."""

    back: dict[int, float] = field(default_factory=dict)  # the till's fault: as they are
    repaired: dict[int, float] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)


async def fill(stage: Stage, draw: Random) -> Pile:
    """Orders that the till of this morning cannot handle, in any order; the sender of one repeats it."""
    pile = Pile()
    wanted = ["back", "back", "twice", "repaired", "repaired", "dropped", "dropped", "unhandled", "unpriced"]
    draw.shuffle(wanted)
    for what in wanted:
        pattern, order = _order(draw, pile, what)
        for _ in range(2 if what == "twice" else 1):
            await stage.send(pattern, order["id"], order)
    await stage.drain()
    return pile


def _order(draw: Random, pile: Pile, what: str) -> tuple[str, dict[str, Any]]:
    """One order that needs this, and its pattern."""
    (ident,) = new_ids(1)
    qty, price = draw.randint(2, 9), draw.randint(3, 30)
    order: dict[str, Any] = {"id": ident, "qty": qty, "price": price, "total": qty * price, "language": "en"}
    if what in ("back", "twice"):
        order["language"], pile.back[ident] = "fr", qty * price
    elif what == "repaired":
        del order["total"]
        pile.repaired[ident] = qty * price
    elif what == "dropped":
        order |= {"qty": -qty, "total": -qty * price}
        pile.dropped.add(ident)
    else:
        pile.left.add(ident)
        if what == "unpriced":
            del order["total"], order["price"]
    return draw.choice(("order.returned", "order.praised")) if what == "unhandled" else PATTERN, order


async def accounts(result: Result, stage: Stage, pile: Pile, began: float) -> None:
    """What was charged, mailed, thrown away, and what is left; `began`: when the first letter was touched."""
    run, good = await stage.run(pile.left), pile.back | pile.repaired
    effects = [row for row in run.ledger or () if row.outcome == "effect"]
    wrong = {row.id for row in effects} - good.keys()
    seen = f"orders {', '.join(map(str, wrong))} were"
    result.judge("nothing is charged that cannot be charged", not wrong, expected="0", seen=seen, hint=NEGATIVE)
    text = "each order is charged once, and thanked for once"
    find(result, run, one_effect_per_id, text, AGAIN)
    mailed = handlings(row for row in effects if row.kind == "mail")
    kept = [ident for ident in run.attempted if ident not in pile.dropped]
    whole = replace(run, acknowledged=kept, handled=mailed)
    if not find(result, whole, lost, "no letter is thrown away but those that may be", DROPPED):
        return
    finding = dead_letter_ids(run)
    rest = [one for one in await stage.letters() if stage.number(one) not in pile.left]
    hint = SPOILT if any(one.last > began for one in rest) else FORGOTTEN
    seen = f"{len(rest)} more: " + "; ".join(f"{one.kind}, {one.data}" for one in rest[:SHOWN])
    text = "what is left among the dead letters is for a human being, and no more"
    told = replace(finding, text=text, expected=f"the {len(pile.left)} that nobody here can handle")
    told = told if finding.passed else replace(told, seen=seen, hint=hint)
    result.conditions.append(told)
    charged = {row.id: row.amount for row in effects if row.kind == "charge"}
    odd = [f"{ident}: {charged[ident]}" for ident, total in good.items() if charged.get(ident, total) != total]
    text = "each is charged what it costs"
    result.judge(text, not odd, expected="qty * price", seen=", ".join(odd), hint=PRICED)
