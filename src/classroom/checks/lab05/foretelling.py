"""Check 05.predict: what was written down before is compared with what the broker does."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection

from classroom.byhand import depth, give_back
from classroom.checks.guesses import compare, need_answers
from classroom.checks.needs import need_broker, no_verdict
from classroom.checks.result import Result

LETTERS, HELD, DONE = 20, 5, 8  # as the task says: sent, prefetch, acknowledged
LIMIT = 3  # of the quorum queue
SLOW, QUICK = 600, 100  # milliseconds that two letters may live
QUESTIONS = {
    "waiting": "how many letters wait while the consumer lives",
    "held": "how many letters the consumer holds",
    "waiting after": "how many letters wait after its death",
    "redelivered": "how many of them are marked redelivered",
    "deliveries": "how many deliveries a letter has that is always given back, with a limit of 3",
    "first back": "which letter comes back first",
}
LOOK = "draw the queue, and the consumer's hands, after each step."
REASONS: dict[str, Mapping[Any, str]] = {
    "waiting": {
        12: "those that the consumer holds do not wait: they are handed out.",
        20: "an acknowledged letter is gone for good, and one that is handed out does not wait.",
        15: "8 are done already, and the consumer was given new ones for them.",
    },
    "held": {
        0: "each ack makes room for the next letter: a busy consumer has its hands full.",
        8: "acknowledged letters are not held any more; and 5 is the most.",
    },
    "waiting after": {
        7: "what it held comes back: the broker still had it.",
        20: "what was acknowledged does not come back.",
        15: "count again: 20 were sent, and 8 are done.",
    },
    "redelivered": {
        12: "only those that somebody held bear the mark; the others were never handed out.",
        0: "the broker remembers that these letters had been handed out.",
        13: "the acknowledged ones are gone.",
    },
    "deliveries": {3: "the limit counts how often it may come *again*.", 1: "giving back is not rejecting."},
    "first back": {"quick": "a letter's own TTL is looked at only when it stands at the head of its queue."},
}
DRAW = "draw the queue, and the consumer's hands, after each step."


async def judge(result: Result, prediction: Any, rabbit: Any) -> None:
    """All conditions: one for each question."""
    need_broker(result, "rabbit", rabbit, "rabbitmq")
    need_answers(result, prediction, QUESTIONS)
    with no_verdict(result):
        async with await aio_pika.connect(rabbit.url) as connection:
            happened = await experiment(connection)
    compare(result, prediction, happened, QUESTIONS, REASONS, DRAW)


async def experiment(connection: AbstractConnection) -> dict[str, Any]:
    """Do what the task describes, and look."""
    name = f"check-{secrets.token_hex(4)}"
    queues = [name, f"{name}-quorum", f"{name}-ttl", f"{name}-back"]
    try:
        return await _death(connection, name) | await _limit(connection, queues[1]) | await _expiry(connection, name)
    finally:
        async with connection.channel() as channel:
            for queue in queues:
                await channel.queue_delete(queue)


async def _death(connection: AbstractConnection, name: str) -> dict[str, Any]:
    reader = await connection.channel()
    queue = await reader.declare_queue(name, durable=True)
    for number in range(LETTERS):
        await reader.default_exchange.publish(aio_pika.Message(str(number).encode()), name)
    await reader.set_qos(HELD)
    held = 0
    letters = queue.iterator()
    for number in range(DONE + HELD):  # prefetch lets no more come: after the last ack, so many are in its hands
        letter = await anext(letters)
        held += 1
        if number < DONE:
            await letter.ack()
            held -= 1
    async with connection.channel() as channel:
        waiting = await depth(channel, name)
    await reader.close()
    async with connection.channel() as channel:
        after = await depth(channel, name)
        again = await channel.get_queue(name)
        marks = [await again.get(no_ack=True) for _ in range(after)]
    redelivered = sum(bool(one.redelivered) for one in marks)
    return {"waiting": waiting, "held": held, "waiting after": after, "redelivered": redelivered}


async def _limit(connection: AbstractConnection, name: str) -> dict[str, Any]:
    async with connection.channel() as channel:
        arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": LIMIT}
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        await channel.default_exchange.publish(aio_pika.Message(b"no JSON {"), name)
        return {"deliveries": (await give_back(queue, most=50, seconds=20)).times}


async def _expiry(connection: AbstractConnection, name: str) -> dict[str, Any]:
    async with connection.channel() as channel:
        back = await channel.declare_queue(f"{name}-back", durable=True)
        to_back: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": back.name}
        await channel.declare_queue(f"{name}-ttl", durable=True, arguments=to_back)
        for word, life in (("slow", SLOW), ("quick", QUICK)):
            letter = aio_pika.Message(word.encode(), expiration=life / 1000)
            await channel.default_exchange.publish(letter, f"{name}-ttl")
        async with back.iterator(timeout=20) as letters:
            return {"first back": (await anext(letters)).body.decode()}
