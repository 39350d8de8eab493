"""NATS by hand: the few lines that its field guide uses again and again, over the driver nats-py.

from classroom.byhand_nats import bookmark, ended, fresh, read, received, take
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from postoffice.transports.nats import flushed

__all__ = ["bookmark", "ended", "fresh", "read", "received", "take"]

LIMIT = 10.0  # seconds to wait for a message that should come


async def received(nc: Client, subscription: Subscription) -> list[Msg]:
    """The messages that have come to a subscription, which ends here."""
    await flushed(nc)  # until the server answers a ping: what came before it has been delivered
    found = [await subscription.next_msg() for _ in range(subscription.pending_msgs)]
    await subscription.unsubscribe()
    return found


async def ended(call: Awaitable[Any]) -> str:
    """How a call of the driver ended, and after how long."""
    began = time.perf_counter()
    try:
        result = f"returned {await call!r}"
    except Error as error:
        result = f"raised {type(error).__name__}"
    return f"{result} after {1000 * (time.perf_counter() - began):.1f} ms"


async def fresh(js: JetStreamContext, stream: str, subject: str, count: int) -> list[str]:
    """A new stream with `count` messages; one of that name goes, with its consumers. Returns the server's answers."""
    with contextlib.suppress(NotFoundError):
        await js.delete_stream(stream)
    await js.add_stream(name=stream, subjects=[subject])
    stored = [await js.publish(subject, f"message {number}".encode()) for number in range(1, count + 1)]
    return [f"{one.stream}, number {one.seq}" for one in stored]


async def bookmark(js: JetStreamContext, stream: str, name: str, **options: Any) -> JetStreamContext.PullSubscription:
    """A durable consumer of a stream; one of that name goes. `options` are those of nats-py's ConsumerConfig."""
    with contextlib.suppress(NotFoundError):
        await js.delete_consumer(stream, name)
    config = api.ConsumerConfig(**options)
    return await js.pull_subscribe("", durable=name, stream=stream, config=config)


async def read(consumer: JetStreamContext.PullSubscription) -> list[str]:
    """Take and acknowledge all that lies before a consumer now."""
    waiting = (await consumer.consumer_info()).num_pending
    messages = await consumer.fetch(waiting, timeout=LIMIT) if waiting else []
    for message in messages:
        await message.ack()
    return [message.data.decode() for message in messages]


async def take(consumer: JetStreamContext.PullSubscription, count: int) -> None:
    """Take and acknowledge messages one by one, and print when each came. Raises TimeoutError when none comes."""
    began = time.perf_counter()
    for _ in range(count):
        (message,) = await consumer.fetch(1, timeout=LIMIT)
        await message.ack()
        after = time.perf_counter() - began
        print(f"{message.data.decode()} came after {after:.1f} s, delivery {message.metadata.num_delivered}")
