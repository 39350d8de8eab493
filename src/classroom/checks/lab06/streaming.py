"""Check 06.predict: what was written down before is compared with what Redis does."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import Redis

from classroom.byhand_redis import heard, listening, read
from classroom.checks.guesses import compare, need_answers
from classroom.checks.needs import need_broker, no_verdict
from classroom.checks.result import Result

PUBLISHED, BEFORE, AFTER = 20, 8, 5  # as the task says: in all, before somebody listens, after he has gone
REPLICAS, ORDERS = 3, 4
ENTRIES, ANNS, DONE = 20, 6, 2  # in the stream; that Ann reads; that she acknowledges
LOOK = "draw the stream, and the list of what is pending, after each step."
QUESTIONS = {
    "heard": "how many messages the subscriber hears",
    "charges": f"how many charges {ORDERS} orders make, with {REPLICAS} replicas on a channel",
    "bob": "how many new entries Bob gets",
    "pending": "how many entries are pending when Bob has acknowledged all of his",
    "by itself": "how many of them come to Bob when he asks for new ones again",
    "claimed": "how many entries Bob gets by XAUTOCLAIM",
    "length": "how many entries are in the stream, when all are acknowledged",
    "latecomer": "how many entries a group gets that is made at the end, from $",
}
REASONS: dict[str, Mapping[Any, str]] = {
    "heard": {
        20: "a channel keeps nothing: neither for who comes late, nor for who has gone.",
        12: "after he has gone, nothing is kept for him either.",
        15: "what was said before he came is gone.",
    },
    "charges": {
        4: "nobody deals the orders out: every replica that listens hears every order.",
        3: "every replica hears every order, not only one.",
    },
    "bob": {
        20: "the group has handed six to Ann, and hands none of them out again by itself.",
        16: "only acknowledged ones are done, but Ann's others are handed out, too: they are not new.",
        18: "only acknowledged ones are done, but Ann's others are handed out, too: they are not new.",
        10: "in a group nobody's share is fixed: who asks gets what is new.",
    },
    "pending": {
        0: "Ann's death settles nothing: what she did not acknowledge stays on the list.",
        6: "two of them she has acknowledged.",
    },
    "by itself": {
        4: "'new' means never handed out. Redis does not see that Ann is dead: somebody has to claim them.",
    },
    "claimed": {0: "whatever has been idle for long enough can be claimed by anybody.", 6: "two were acknowledged."},
    "length": {
        0: "XACK takes an entry off the list of what is pending, not out of the stream.",
        4: "XACK takes an entry off the list of what is pending, not out of the stream.",
    },
    "latecomer": {20: "$ is the end of the stream: such a group gets what comes from then on. From 0, it gets all."},
}


async def judge(result: Result, prediction: Any, broker: Any) -> None:
    """All conditions: one for each question."""
    need_broker(result, "broker", broker, "redis")
    need_answers(result, prediction, QUESTIONS)
    with no_verdict(result, lambda: "await broker.restart()"):
        async with Redis.from_url(broker.url, decode_responses=True) as redis:
            happened = await on_a_channel(redis) | await in_a_stream(redis)
    compare(result, prediction, happened, QUESTIONS, REASONS, LOOK)


async def on_a_channel(redis: Any) -> dict[str, int]:
    """Do what the task describes with publish and subscribe."""
    channel = f"check-{secrets.token_hex(4)}"
    for n in range(BEFORE):
        await redis.publish(channel, n)
    async with listening(redis, channel) as subscriber:
        for n in range(PUBLISHED - BEFORE - AFTER):
            await redis.publish(channel, n)
        there = len((await heard(subscriber)).messages)
    for n in range(AFTER):
        await redis.publish(channel, n)
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(listening(redis, channel)) for _ in range(REPLICAS)]
        for n in range(ORDERS):
            await redis.publish(channel, n)
        charges = sum([len((await heard(one)).messages) for one in replicas])
    return {"heard": there, "charges": charges}


async def in_a_stream(redis: Any) -> dict[str, int]:
    """Do what the task describes with a stream and two readers."""
    stream, group = f"check-{secrets.token_hex(4)}", "payments"
    try:
        await redis.xgroup_create(stream, group, id="0", mkstream=True)
        for n in range(ENTRIES):
            await redis.xadd(stream, {"n": n})
        anns = await read(redis, stream, group, "ann", ANNS)
        await redis.xack(stream, group, *[*anns][:DONE])
        bobs = await read(redis, stream, group, "bob", ENTRIES)
        await redis.xack(stream, group, *bobs)
        pending = (await redis.xpending(stream, group))["pending"]
        again = await read(redis, stream, group, "bob", ENTRIES)
        _, claimed, *_ = await redis.xautoclaim(stream, group, "bob", min_idle_time=0)
        await redis.xack(stream, group, *(ident for ident, _ in claimed))
        await redis.xgroup_create(stream, "late", id="$")
        late = await read(redis, stream, "late", "eve", ENTRIES)
        return {"bob": len(bobs), "pending": pending, "by itself": len(again), "claimed": len(claimed),
                "length": await redis.xlen(stream), "latecomer": len(late)}  # fmt: skip
    finally:
        await redis.delete(stream)
