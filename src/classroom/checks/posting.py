"""Check 05.confirm: a publisher that knows what became of its message."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from random import Random
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange

from classroom.byhand import depth
from classroom.checks.rehearsal import serves
from classroom.checks.result import Result
from classroom.faults.link import start_link

PATIENCE = 0.5  # seconds, where no answer comes
LIMIT = 20 * PATIENCE  # seconds; whoever is not back by then does not look at its patience
WORDS = ("stored", "nobody", "refused", "unknown")
DROPPED = "the broker throws away what no queue takes, and says Ack, unless it is asked: mandatory=True."
RETURNED = (
    "aio-pika hands back the returned message as if it were an answer. Look at what publish returns: an Ack"
    " (pamqp.commands.Basic.Ack), or the message itself."
)
IN_MEMORY = "it would be gone after a restart of the broker: delivery_mode=aio_pika.DeliveryMode.PERSISTENT."
NACK = "a full queue refuses: the broker answers Nack, and aio-pika raises aio_pika.exceptions.DeliveryError."
PATIENT = "nobody answers, and it waits on: pass `patience` to publish as its timeout."
SURE = (
    "no answer is not a no. The message lies in the queue, though its sender never heard of it: only 'unknown' is true"
    " here."
)
BREAKS = "a connection that breaks is one more way not to know: catch aio_pika.exceptions.AMQPError, too."


logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs the connections that this check breaks


async def judge(result: Result, draw: Random, post: Any, rabbit: Any) -> None:
    """All conditions of the task."""
    if not serves(result, rabbit):
        return
    if not inspect.iscoroutinefunction(post):
        result.judge("post is an async function", False, seen=f"{post!r:.80}", hint="async def post(...):")
        return
    link = await start_link(rabbit.url)
    names = [f"check-{secrets.token_hex(4)}-{kind}" for kind in ("room", "full")]
    try:
        async with await aio_pika.connect(rabbit.url) as direct, await aio_pika.connect(link.url) as linked:
            channel, far = await direct.channel(), await linked.channel()
            await declare(channel, *names)
            try:
                if await stores(result, post, channel, names[0], draw):
                    await knows_nobody(result, post, channel, draw)
                    await knows_refusal(result, post, channel, names[1])
                    await admits_silence(result, post, far, channel, names[0], link)
                    await admits_a_break(result, post, far, channel, names[0], link)
            finally:
                for name in names:
                    await channel.queue_delete(name)
                    await channel.exchange_delete(name)
    finally:
        await link.stop()


async def declare(channel: AbstractChannel, room: str, full: str) -> None:
    """A queue with room, and one that takes one message and refuses the next; each with an exchange of its own."""
    limits: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    for name, arguments in ((room, None), (full, limits)):
        exchange = await channel.declare_exchange(name, "topic")
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        await queue.bind(exchange, "order.*")


async def told(
    post: Any, exchange: AbstractExchange, key: str, body: bytes = b"{}", patience: float = LIMIT
) -> tuple[str, str]:
    """What `post` says, as text for the reader, and the word alone ("" where it is none of the four)."""
    try:
        async with asyncio.timeout(LIMIT):
            answer = await post(exchange, key, body, patience)
    except NotImplementedError as error:
        return f"NotImplementedError: {error}", ""
    except TimeoutError:
        return f"no answer within {LIMIT / PATIENCE:g} times its patience", ""
    except Exception as error:
        return f"it raised {type(error).__name__}: {error}"[:300], ""
    return repr(answer), answer if answer in WORDS else ""


async def stores(result: Result, post: Any, channel: AbstractChannel, name: str, draw: Random) -> bool:
    """A message with a place to go arrives as it is, and would survive a restart of the broker."""
    exchange = await channel.get_exchange(name)
    body = f"parcel {draw.random()}".encode()
    seen, word = await told(post, exchange, "order.placed", body)
    text = "a message that a queue takes is 'stored'"
    hint = "write this part first." if "NotImplementedError" in seen else f"return one of {WORDS}."
    if not result.judge(text, word == "stored", expected="'stored'", seen=seen, hint=hint):
        return False
    letter = await (await channel.get_queue(name)).get(no_ack=True, fail=False)
    got = None if letter is None else letter.body
    hint = "publish aio_pika.Message(body) by this exchange, with this key."
    if not result.judge("it is in the queue as it was given", got == body, seen=repr(got), hint=hint):
        return False
    kept = letter is not None and letter.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return result.judge("it is persistent", kept, seen="a transient message", hint=IN_MEMORY)


async def knows_nobody(result: Result, post: Any, channel: AbstractChannel, draw: Random) -> None:
    """No binding fits: keys that nobody could have listed before."""
    keys = ("oder.placed", f"order.placed.{draw.randint(1, 99)}", "order.placed")
    returned = []
    channel.return_callbacks.add(lambda _, message: returned.append(message))
    lonely = await channel.declare_exchange(f"check-{secrets.token_hex(4)}", "topic")
    try:
        ends = [await told(post, lonely, key) for key in keys]
    finally:
        await lonely.delete()
    words = [word for _, word in ends]
    hint = RETURNED if returned else DROPPED
    seen = ", ".join(text for text, _ in ends)
    text = "a message that no queue takes is told as 'nobody'"
    result.judge(text, words == ["nobody"] * len(ends), expected="'nobody', three times", seen=seen, hint=hint)


async def knows_refusal(result: Result, post: Any, channel: AbstractChannel, name: str) -> None:
    """A full queue."""
    exchange = await channel.get_exchange(name)
    first, second = [await told(post, exchange, "order.placed") for _ in range(2)]
    seen = f"the first {first[0]}, the second {second[0]}"
    text = "a queue with room for one: the second message is 'refused'"
    good = (first[1], second[1]) == ("stored", "refused")
    result.judge(text, good, expected="'stored', then 'refused'", seen=seen, hint=NACK)


async def admits_silence(
    result: Result, post: Any, far: AbstractChannel, channel: AbstractChannel, name: str, link: Any
) -> None:
    """The broker has it, and its answer does not come back."""
    exchange = await far.get_exchange(name)
    async with link.cut(direction="downstream"):
        seen, word = await told(post, exchange, "order.placed", patience=PATIENCE)
    hint = SURE if word else PATIENT if "within" in seen else "a TimeoutError is one way not to know: catch it."
    text = "no answer in time is 'unknown'"
    waiting = await depth(channel, name)
    expected = f"'unknown': {waiting} lies in the queue, and its sender was never told"
    result.judge(text, word == "unknown", expected=expected, seen=seen, hint=hint)


async def admits_a_break(
    result: Result, post: Any, far: AbstractChannel, channel: AbstractChannel, name: str, link: Any
) -> None:
    """The connection breaks while the answer is on its way."""
    before = await depth(channel, name)
    exchange = await far.get_exchange(name)
    async with link.cut(direction="downstream"):
        posting = asyncio.create_task(told(post, exchange, "order.placed"))
        for _ in range(200):
            if posting.done() or await depth(channel, name) > before:
                break
            await asyncio.sleep(0.02)
        async with link.reset_peer():
            seen, word = await posting
    text = "a connection that breaks before the answer is 'unknown'"
    result.judge(text, word == "unknown", expected="'unknown'", seen=seen, hint=SURE if word else BREAKS)
