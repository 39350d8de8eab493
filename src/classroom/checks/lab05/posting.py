"""Check 05.confirm: a publisher that knows what became of its message."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from classroom.byhand import depth
from classroom.checks.asking import ask
from classroom.checks.needs import need_broker, need_function, no_verdict
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


async def posted(post, far, direct, exchange, key, body, patience, signal):  # type: ignore[no-untyped-def]
    """An adapter: connects to `far`, has `post` publish, and gives its answer and how many messages were returned.

    Where there is a `signal`, it says by way of `direct` that it is connected, and waits to be told to go on.
    """
    import asyncio
    import contextlib
    import inspect

    import aio_pika

    if not inspect.iscoroutinefunction(post):
        return ["no async function", repr(post)[:80]]
    connection, returned = await aio_pika.connect(far), []
    try:
        channel = await connection.channel()
        channel.return_callbacks.add(lambda _, message: returned.append(message))
        there = await channel.get_exchange(exchange)
        if signal:
            async with await aio_pika.connect(direct) as beside:
                side = await beside.channel()
                await side.default_exchange.publish(aio_pika.Message(b"ready"), f"{signal}-ready")
                go = await side.get_queue(f"{signal}-go")
                while await go.get(no_ack=True, fail=False) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        return ["it said", await post(there, key, body, patience), len(returned)]
    finally:
        with contextlib.suppress(Exception):  # its network may be cut
            await asyncio.wait_for(connection.close(), 0.5)


@dataclass(frozen=True)
class Said:
    """What `post` said: as text for the reader, and the word alone ("" where it is none of the four)."""

    text: str
    word: str = ""
    returned: bool = False


@dataclass(frozen=True)
class Place:
    """Where it is tried: the learner's function, the two ways to the broker, and the check's own channel."""

    post: Any
    far: str
    direct: str
    channel: AbstractChannel

    async def told(
        self, exchange: str, key: str, body: bytes = b"{}", patience: float = LIMIT, far: bool = False, signal: str = ""
    ) -> Said:
        """Have it post a message."""
        way = self.far if far else self.direct
        answer = await ask(self.post, way, self.direct, exchange, key, body, patience, signal, via=posted, limit=LIMIT)
        match answer.value:
            case ["it said", said, returned]:
                word = said if type(said) is str and said in WORDS else ""
                return Said(repr(said)[:300], word, bool(returned))
            case ["no async function", str(text)]:
                return Said(f"no async function: {text}")
        if answer.kind == "TooLong":
            return Said(f"no answer within {LIMIT / PATIENCE:g} times its patience")
        return Said(answer.error if answer.kind == "NotImplementedError" else f"it raised {answer!r}"[:300])

    @asynccontextmanager
    async def ready_to_post(self, exchange: str, patience: float) -> AsyncIterator[tuple[asyncio.Task[Said], Any]]:
        """It is connected by the link, and waits; what is being said, and what to await so that it goes on."""
        signal = f"check-{secrets.token_hex(4)}"
        names = [f"{signal}-{word}" for word in ("ready", "go")]
        ready, _ = [await self.channel.declare_queue(name) for name in names]
        posting = asyncio.create_task(self.told(exchange, "order.placed", patience=patience, far=True, signal=signal))
        try:
            # what is waited for is in another process
            while not posting.done() and await ready.get(no_ack=True, fail=False) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield posting, lambda: self.channel.default_exchange.publish(aio_pika.Message(b"go"), names[1])
        finally:
            posting.cancel()
            for name in names:
                await self.channel.queue_delete(name)


async def judge(result: Result, draw: Random, post: Any, rabbit: Any) -> None:
    """All conditions of the task."""
    need_broker(result, "rabbit", rabbit, "rabbitmq")
    need_function(result, "post", post, "async def post(...):")
    names = [f"check-{secrets.token_hex(4)}-{kind}" for kind in ("room", "full")]
    async with AsyncExitStack() as stack:
        stack.enter_context(no_verdict(result))
        link = await start_link(rabbit.url)
        stack.push_async_callback(link.stop)
        channel = await (await stack.enter_async_context(await aio_pika.connect(rabbit.url))).channel()
        place = Place(post, link.url, rabbit.url, channel)
        await declare(channel, *names)
        try:
            if await stores(result, place, names[0], draw):
                await knows_nobody(result, place, draw)
                await knows_refusal(result, place, names[1])
                await admits_silence(result, place, names[0], link)
                await admits_a_break(result, place, names[0], link)
        finally:
            for name in names:
                await channel.queue_delete(name)
                await channel.exchange_delete(name)


async def declare(channel: AbstractChannel, room: str, full: str) -> None:
    """A queue with room, and one that takes one message and refuses the next; each with an exchange of its own."""
    limits: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    for name, arguments in ((room, None), (full, limits)):
        exchange = await channel.declare_exchange(name, "topic")
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        await queue.bind(exchange, "order.*")


async def stores(result: Result, place: Place, name: str, draw: Random) -> bool:
    """A message with a place to go arrives as it is, and would survive a restart of the broker."""
    body = f"parcel {draw.random()}".encode()
    said = await place.told(name, "order.placed", body)
    if said.text.startswith("no async function"):
        return result.judge("post is an async function", False, seen=said.text, hint="async def post(...):")
    text = "a message that a queue takes is 'stored'"
    hint = "write this part first." if "NotImplementedError" in said.text else f"return one of {WORDS}."
    if not result.judge(text, said.word == "stored", expected="'stored'", seen=said.text, hint=hint):
        return False
    letter = await (await place.channel.get_queue(name)).get(no_ack=True, fail=False)
    got = None if letter is None else letter.body
    hint = "publish aio_pika.Message(body) by this exchange, with this key."
    if not result.judge("it is in the queue as it was given", got == body, seen=repr(got), hint=hint):
        return False
    kept = letter is not None and letter.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return result.judge("it is persistent", kept, seen="a transient message", hint=IN_MEMORY)


async def knows_nobody(result: Result, place: Place, draw: Random) -> None:
    """No binding fits: keys that nobody could have listed before."""
    keys = ("oder.placed", f"order.placed.{draw.randint(1, 99)}", "order.placed")
    lonely = await place.channel.declare_exchange(f"check-{secrets.token_hex(4)}", "topic")
    try:
        ends = [await place.told(lonely.name, key) for key in keys]
    finally:
        await lonely.delete()
    words = [said.word for said in ends]
    hint = RETURNED if any(said.returned for said in ends) else DROPPED
    seen = ", ".join(said.text for said in ends)
    text = "a message that no queue takes is told as 'nobody'"
    result.judge(text, words == ["nobody"] * len(ends), expected="'nobody', three times", seen=seen, hint=hint)


async def knows_refusal(result: Result, place: Place, name: str) -> None:
    """A full queue."""
    first, second = [await place.told(name, "order.placed") for _ in range(2)]
    seen = f"the first {first.text}, the second {second.text}"
    text = "a queue with room for one: the second message is 'refused'"
    good = (first.word, second.word) == ("stored", "refused")
    result.judge(text, good, expected="'stored', then 'refused'", seen=seen, hint=NACK)


async def admits_silence(result: Result, place: Place, name: str, link: Any) -> None:
    """The broker has it, and its answer does not come back."""
    async with place.ready_to_post(name, PATIENCE) as (posting, go), link.cut(direction="downstream"):
        await go()
        said = await posting
    hint = SURE if said.word else PATIENT if "within" in said.text else "TimeoutError is one way not to know: catch it."
    text = "no answer in time is 'unknown'"
    waiting = await depth(place.channel, name)
    expected = f"'unknown': {waiting} lies in the queue, and its sender was never told"
    result.judge(text, said.word == "unknown", expected=expected, seen=said.text, hint=hint)


async def admits_a_break(result: Result, place: Place, name: str, link: Any) -> None:
    """The connection breaks while the answer is on its way."""
    before = await depth(place.channel, name)
    async with place.ready_to_post(name, LIMIT) as (posting, go), link.cut(direction="downstream"):
        await go()
        for _ in range(200):
            if posting.done() or await depth(place.channel, name) > before:
                break
            await asyncio.sleep(0.02)
        async with link.reset_peer():
            said = await posting
    text = "a connection that breaks before the answer is 'unknown'"
    hint = SURE if said.word else BREAKS
    result.judge(text, said.word == "unknown", expected="'unknown'", seen=said.text, hint=hint)
