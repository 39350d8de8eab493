"""Check 09a.predict: what becomes of six orders; what was written down before is compared with a real run."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from classroom.checks.needs import need_broker
from classroom.checks.rehearsal import Stage, new_ids, rehearsal
from classroom.checks.result import Result
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan

ATTEMPTS = 3  # of the desk's Retry
DESK = """\
import msgspec
from classroom.ledger import ledger
from postoffice import Retry, RpcError, event_pattern

PRICES = {"tea": 4, "cake": 6}

class Order(msgspec.Struct):
    id: int
    article: str

@event_pattern("order.placed", retry=Retry(attempts=3, initial=0.1, on=(RpcError, ConnectionError)))
async def charge(order: Order, ctx):
    print(f"order {order.id}: attempt {ctx.attempt}")
    await ledger.charge(order.id, amount=PRICES[order.article])
"""
SURE = "it went well in the end: an order that is done is acknowledged, and not buried."
COUNT = "draw the attempts one by one: what does each of them do, and how does it end?"
REASONS: dict[str, tuple[Mapping[Any, str], ...]] = {
    "refused twice": (
        {2: "the two refused calls are attempts, too: two in vain, and a third.", 1: "RpcError is named in on=."},
        {"dead": SURE},
        {2: "a refusal comes before the effect: nothing was done.", 3: "a refusal comes before the effect."},
    ),
    "refused three times": (
        {4: "attempts=3 counts the first one, too.", 2: "attempts=3 is three calls, and not three after the first."},
        {"done": "its three attempts are used up, and none went well.", "lost": "what is given up is kept."},
        {1: "no attempt got through.", 3: "a refusal comes before the effect: nothing was done."},
    ),
    "three answers lost": (
        {1: "a lost answer is a ConnectionLost, a kind of ConnectionError: it is in on=.", 4: "attempts=3 is in all."},
        {"done": "each attempt raised, so to the service the order has failed, whatever the ledger did."},
        {
            0: "it lies among the dead letters, and yet the ledger did its work each time: only the answers were lost.",
            1: "without a key each call is a charge of its own.",
        },
    ),
    "no article": (
        {
            1: "the payload is compared with the class Order first; the handler is not called for it.",
            3: "an invalid payload is never tried again, nor given to the handler.",
        },
        {"lost": "at least once nothing is dropped: what cannot be handled is buried."},
        {},
    ),
    "unknown article": (
        {
            3: "on= names the errors that pass. A KeyError is not among them: tried once.",
            0: "a str it is, and so a good Order; only the handler finds that there is no price.",
        },
        {"lost": "at least once nothing is dropped: what cannot be handled is buried."},
        {1: "the KeyError comes before the ledger is called."},
    ),
    "killed after its handler": (
        {1: "it was not acknowledged, so the broker delivers it again.", 3: "once before the kill, and once after it."},
        {"dead": "nothing was wrong with it: its second call went well."},
        {1: "the broker's second delivery is a second call, and there is no key."},
    ),
}


async def judge(result: Result, draw: Random, prediction: Any, rabbit: Any, book: Any) -> None:
    """All conditions: one for each order."""
    need_broker(result, "rabbit", rabbit, "rabbitmq")
    if not _answered(result, prediction):
        return
    desk = ServiceHandle("desk", Plan(DESK, "rabbit", lambda: rabbit.url, "at-least-once", None, 1, False), _nothing)
    async with rehearsal(result, "desk", desk, rabbit, book) as stage:
        happened = await experiment(stage, draw)
        for name in REASONS:
            _compare(result, name, prediction[name], happened[name])


def _nothing(_: str) -> bool:
    return False


def _answered(result: Result, prediction: Any) -> bool:
    """Whether every question has an answer of three parts."""
    text = "prediction answers all questions"
    if not isinstance(prediction, Mapping):
        return result.judge(text, False, seen=f"{prediction!r:.80}", hint="prediction = {...}, as the cell had it.")
    wrong = [one for one in REASONS if not (type(prediction.get(one)) in (list, tuple) and len(prediction[one]) == 3)]
    if wrong:
        hint = "keep the keys as the cell had them, and for each a list of three: [calls, end, charges]."
        return result.judge(text, False, seen=f"wrong: {', '.join(wrong)}", hint=hint)
    if unwritten := [one for one in REASONS if any(part is ... for part in prediction[one])]:
        hint = "first guess, then look: replace each ... by a number or a word."
        return result.judge(text, False, seen=f"still ...: {', '.join(unwritten)}", hint=hint)
    return True


def _compare(result: Result, name: str, guess: Any, seen: list[Any]) -> None:
    wrong = [n for n, one in enumerate(seen) if type(guess[n]) is not type(one) or guess[n] != one]
    known = (REASONS[name][n].get(guess[n]) for n in wrong if type(guess[n]) in (int, str))
    hint = next((one for one in known if one), COUNT)
    text = f"{name}: calls of the handler, its end, charges"
    result.judge(text, not wrong, expected=f"your guess: {[*guess]!r}"[:200], seen=f"{seen!r}", hint=hint)


async def experiment(stage: Stage, draw: Random) -> dict[str, list[Any]]:
    """Do what the task describes; of each order how often it was handled, where it ended, what was charged."""
    orders = {name: _order(draw, name) for name in REASONS}

    async def send(*names: str) -> None:
        for name in draw.sample(names, len(names)):
            await stage.send("order.placed", orders[name]["id"], orders[name])

    for name, times in draw.sample([("refused twice", 2), ("refused three times", ATTEMPTS)], 2):
        async with stage.book.failing(times):
            await send(name)
            await stage.settle()  # charged, or buried: that is its last step
    async with stage.book.failing(ATTEMPTS, after_effect=True):
        await send("three answers lost", "no article", "unknown article")  # only one of them calls the ledger
        await stage.drain()
    await stage.service.restart()
    crash = await stage.crash("after-handler", 1)
    await send("killed after its handler")
    await stage.restart_after(crash)
    await stage.drain()
    return await _told(stage, {name: order["id"] for name, order in orders.items()})


def _order(draw: Random, name: str) -> dict[str, Any]:
    (ident,) = new_ids(1)
    if name == "no article":
        return {"id": ident}
    articles = ("pie", "jam", "ham") if name == "unknown article" else ("tea", "cake")
    return {"id": ident, "article": draw.choice(articles)}


async def _told(stage: Stage, idents: Mapping[str, int]) -> dict[str, list[Any]]:
    """What the service printed, the dead letters, and the ledger's effects: [calls, end, charges] of each order."""
    printed = stage.service.logs(2000).splitlines()
    dead = {stage.number(one) for one in await stage.letters()}
    charged = [row.id for row in await stage.rows() if row.outcome == "effect"]
    return {
        name: [
            sum(line.startswith(f"order {ident}: attempt") for line in printed),
            "dead" if ident in dead else "done",
            charged.count(ident),
        ]
        for name, ident in idents.items()
    }
