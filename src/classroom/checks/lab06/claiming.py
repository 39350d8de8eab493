"""Check 06.rescue: what stands on the pending list of a group for too long is taken over, or buried."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from random import Random
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from classroom.checks.asking import Answer, ask
from classroom.checks.needs import need_broker, need_function, no_verdict
from classroom.checks.result import Result

IDLE = 600_000  # milliseconds after which an entry is stale, in this check; nothing here waits so long
STALE, FRESH = 2 * IDLE, 0  # how long they have been idle
MOST = 3  # deliveries after which an entry is buried
MANY = range(110, 150)  # stale entries: more than a page of a hundred
KEYS = ["mine", "dead"]
PAGES = (
    "XPENDING and XAUTOCLAIM answer with a page of them, a hundred unless you say otherwise: go on until none is left."
)
GREEDY = (
    "an entry that was handed out a moment ago has a reader who works on it. Only what was idle for `idle` ms or longer"
    " is stale: give it to XPENDING (idle=) or XAUTOCLAIM (min_idle_time=)."
)
POISON = "an entry that was delivered `most` times or more has perhaps killed its readers: it goes to the dead stream."
EAGER = "XCLAIM and XAUTOCLAIM count as a delivery: look at XPENDING's times_delivered before you claim."
HELD = "an entry that is buried must leave the pending list: XACK, after its copy is in the dead stream."
COPY = "copy the fields of the entry (XRANGE from its id to its id) to f'{stream}.dead' by XADD."
HONEST = 'return {"mine": [ids that you have claimed], "dead": [ids that you have buried]}.'
GONE = (
    "claim and acknowledge entries; delete neither the stream nor its group. What is buried goes to a stream, by XADD."
)
TRIMMED = (
    "an entry may be pending and no longer in the stream: XRANGE and XCLAIM find nothing then. Neither mine nor dead."
)


@dataclass
class Group:
    """A stream with one group, and what is pending in it: ids by what should become of them."""

    redis: Any
    stream: str
    stale: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    poison: dict[str, dict[str, str]] = field(default_factory=dict)
    trimmed: str = ""
    name: str = "payments"

    async def fill(self, draw: Random) -> None:
        """Entries with readers who are gone, with one who works, and with some that have been handed out too often."""
        await self.redis.xgroup_create(self.stream, self.name, id="0", mkstream=True)
        kinds = ["stale"] * draw.choice(MANY) + ["fresh"] * draw.randint(3, 9) + ["poison"] * draw.randint(2, 5)
        draw.shuffle(kinds)
        letters = [{"order": str(n), "by": str(draw.random())} for n in range(len(kinds))]
        many = self.redis.pipeline(transaction=False)
        for letter in letters:
            many.xadd(self.stream, letter)
        ids = await many.execute()
        await self.redis.xreadgroup(self.name, "ann", {self.stream: ">"}, count=len(ids))
        for ident, kind, letter in zip(ids, kinds, letters, strict=True):
            self._hold(many, ident, kind, letter, draw)
        await many.execute()
        self.trimmed = draw.choice(sorted(self.stale))
        self.stale.remove(self.trimmed)
        await self.redis.xdel(self.stream, self.trimmed)

    def _hold(self, many: Any, ident: str, kind: str, letter: dict[str, str], draw: Random) -> None:
        """One entry: who has it, for how long, and how often it was delivered; Redis lets us say so."""
        reader = "bob" if kind == "fresh" else draw.choice(["ann", "eve"])
        times = draw.randint(MOST, MOST + 4) if kind == "poison" else draw.randint(1, MOST - 1)
        if kind == "poison":
            self.poison[ident] = letter
        else:
            (self.fresh if kind == "fresh" else self.stale).add(ident)
        silent = FRESH if kind == "fresh" else STALE
        many.xclaim(self.stream, self.name, reader, 0, [ident], idle=silent, retrycount=times, justid=True)

    async def held(self) -> dict[str, str]:
        """id -> who has it."""
        rows = await self.redis.xpending_range(self.stream, self.name, "-", "+", 10_000)
        return {row["message_id"]: row["consumer"] for row in rows}

    async def dead(self) -> list[dict[str, str]]:
        """The fields of what lies in the dead stream."""
        return [fields for _, fields in await self.redis.xrange(f"{self.stream}.dead")]


async def judge(result: Result, draw: Random, rescue: Any, broker: Any) -> None:
    """All conditions of the task."""
    need_broker(result, "broker", broker, "redis")
    need_function(result, "rescue", rescue, "async def rescue(...):")
    stream = f"check-{secrets.token_hex(4)}"
    with no_verdict(result, lambda: "await broker.restart()"):
        async with Redis.from_url(broker.url, decode_responses=True) as redis:
            group = Group(redis, stream)
            await group.fill(draw)
            try:
                await rescues(result, group, draw, rescue, broker.url)
            except ResponseError as error:  # nobody else has touched them
                text = "the stream, its group and the dead stream are there afterwards"
                result.judge(text, False, seen=str(error), hint=GONE)
            finally:
                await redis.delete(stream, f"{stream}.dead")


async def rescues(result: Result, group: Group, draw: Random, rescue: Any, url: str) -> None:
    """It is called twice. Raises ResponseError when what it should work on is no more."""
    me = draw.choice(["carol", "dan", "ruth"])
    answer = await ask(rescue, url, group.stream, group.name, me, IDLE, MOST)
    if answers(result, answer):
        await accounts(result, group, me, answer.value)
        await ends(result, group, await ask(rescue, url, group.stream, group.name, me, IDLE, MOST))


def answers(result: Result, answer: Answer) -> bool:
    """It came to its end, with two lists of ids."""
    value = answer.value
    right = type(value) is dict and sorted(value) == sorted(KEYS)
    right = right and all(type(value[one]) is list and all(type(i) is str for i in value[one]) for one in KEYS)
    hint = HONEST
    if answer.kind == "NotImplementedError":
        hint = "write this part first."
    elif answer.kind == "TooLong":
        hint = "it did not come to its end: does its loop look at the same entries again?"
    elif answer.kind:
        hint = "run the cell, call it by hand, read the error."
    elif "b'" in repr(answer):
        hint = "the ids are bytes: Redis.from_url(url, decode_responses=True) gives text."
    seen = repr(answer)[:300]
    return result.judge("rescue gives two lists of ids", right, expected=HONEST, seen=seen, hint=hint)


async def accounts(result: Result, group: Group, me: str, told: dict[str, list[str]]) -> None:
    """Who has what now, and whether that is what was told."""
    held, poison = await group.held(), set(group.poison)
    stolen = {one for one in group.fresh if held.get(one) != "bob"}
    text = "what somebody works on stays with its reader"
    result.judge(text, not stolen, expected="0 taken away", seen=f"{len(stolen)} of {len(group.fresh)}", hint=GREEDY)
    buried, wanted = await group.dead(), [*group.poison.values()]
    good = [one for one in buried if one not in wanted]
    missing = [one for one in wanted if one not in buried]
    early = len(buried) > len(wanted)
    mine = {one for one, who in held.items() if who == me}
    left = len(group.stale - mine)
    text = "every stale entry is yours"
    hint = PAGES if group.stale & mine else "claim it for `me`: XCLAIM or XAUTOCLAIM, and do not acknowledge it."
    hint = EAGER if early else hint
    result.judge(text, not left, expected="0 left behind", seen=f"{left} of {len(group.stale)}", hint=hint)
    hint = EAGER if early else COPY if buried else POISON
    seen = f"{len(buried)} there, {len(missing)} missing, {len(good)} that should not be"
    text = f"what was delivered {MOST} times or more is in the dead stream, as it was, once"
    right = not good and not missing and len(buried) == len(wanted)
    result.judge(text, right, expected=f"{len(wanted)} entries", seen=seen, hint=hint)
    text, still = "what is buried is not pending any more", len(poison & held.keys())
    result.judge(text, not still, expected="0 pending", seen=f"{still} pending", hint=HELD)
    right = sorted(told["mine"]) == sorted(group.stale) and sorted(told["dead"]) == sorted(poison)
    hint = TRIMMED if group.trimmed in (*told["mine"], *told["dead"]) else HONEST
    seen = f"{len(told['mine'])} mine, {len(told['dead'])} dead"
    expected = f"{len(group.stale)} mine, {len(poison)} dead, and each of them"
    result.judge("it tells what it did", right, expected=expected, seen=seen, hint=hint)


async def ends(result: Result, group: Group, answer: Answer) -> None:
    """The second time, nothing is stale."""
    buried = len(await group.dead())
    right = answer.value == {"mine": [], "dead": []} and buried == len(group.poison)
    hint = "what you have claimed is not idle any more, and what is buried is gone: a second call finds nothing."
    seen = f"{answer!r:.200}, {buried} in the dead stream"
    result.judge("called again, it finds nothing", right, expected="two empty lists", seen=seen, hint=hint)
