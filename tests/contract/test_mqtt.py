"""What only MQTT has: topics with wildcards, shared subscriptions, and replies that a wildcard sees too."""

import asyncio
from collections import Counter
from typing import Any

import aiomqtt
import pytest
from contract_help import Place, eventually

from postoffice import Client, Context, PatternError, PayloadError, event_pattern, message_pattern

pytestmark = pytest.mark.parametrize("kind", ["mqtt"])


class Office:
    """Handlers that overlap; each notes what it got."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @event_pattern("#")
    async def everything(self, data, ctx: Context):
        self.seen.append(("#", ctx.pattern, data))

    @message_pattern("sensors/+/ask")
    async def one_level(self, data, ctx: Context):
        return ["+", ctx.pattern, data]

    @message_pattern("sensors/7/ask")
    async def exact(self, data, ctx: Context):
        return ["exact", ctx.pattern, data]


async def test_each_message_has_one_handler(place: Place) -> None:
    """The exact pattern first, then a wildcard's, messages before events; the context has the real topic."""
    office = Office()
    await place.serve(office)
    client = await place.connect()
    assert await client.send("sensors/7/ask", 1) == ["exact", "sensors/7/ask", 1]
    assert await client.send("sensors/8/ask", 2) == ["+", "sensors/8/ask", 2]
    await client.emit("sensors/8/seen", 3)
    await eventually(lambda: office.seen)
    assert office.seen == [("#", "sensors/8/seen", 3)]


async def test_a_handler_of_everything_does_not_take_replies(place: Place) -> None:
    """The replies pass it by, so it may ask others; a message to a topic with that ending is still its own."""
    office = Office()
    await place.serve(office)
    client = await place.connect()
    for number in range(20):
        await client.send("sensors/7/ask", number)
    await client.emit("customers/reply", "a message of that name")
    await eventually(lambda: office.seen)
    assert office.seen == [("#", "customers/reply", "a message of that name")]


async def test_a_shared_subscription_in_a_pattern(place: Place) -> None:
    """`$share/<group>/<topic>` as NestJS takes it: of two replicas one gets each message."""
    seen: Counter[str] = Counter()

    def replica(name: str) -> Any:
        @event_pattern("$share/workers/jobs/+")
        async def job(data: int, ctx: Context) -> None:
            seen[name] += 1
            assert ctx.pattern == f"jobs/{data}"

        return job

    await place.serve(replica("one"))
    await place.serve(replica("two"))
    client = await place.connect()
    for number in range(100):
        await client.emit(f"jobs/{number}", number)
    await eventually(lambda: seen.total() == 100)
    assert min(seen.values()) > 10


async def test_bursts_lose_no_reply(place: Place) -> None:
    """200 at once, again and again, on one pattern: NestJS's own client loses some, for it unsubscribes between."""
    await place.serve(Office())
    client = await place.connect()
    for _ in range(10):
        answers = await asyncio.gather(*(client.send("sensors/7/ask", number) for number in range(200)))
        assert [answer[2] for answer in answers] == list(range(200))


async def test_replies_come_after_the_broker_was_away(place: Place) -> None:
    """Reply topics of every pattern that was used before stand again, without a new first request."""
    assert place.broker
    await place.serve(Office())
    client = await place.connect()
    await client.send("sensors/7/ask", 1)
    place.broker.kill()
    await place.broker.restart()

    async def answered() -> None:
        while True:
            try:
                assert await client.send("sensors/7/ask", 2, timeout=0.5) == ["exact", "sensors/7/ask", 2]
                return
            except (TimeoutError, ConnectionError):
                await asyncio.sleep(0.02)

    await asyncio.wait_for(answered(), 20)


@pytest.mark.parametrize("topic", ["a/+", "a/#", "$share/g/a", "", "a\0b", "a" * 65_530])
async def test_topics_that_cannot_be_sent_to(place: Place, topic: str) -> None:
    """Refused here with the reason; the broker would close the connection."""
    await place.serve(Office())
    client = await place.connect()
    with pytest.raises(PatternError, match=r"cannot be .*Nothing was sent"):
        await client.send(topic, 1)
    with pytest.raises(PatternError, match=r"cannot be .*Nothing was sent"):
        await client.emit(topic, 1)
    assert await client.send("sensors/7/ask", 1) == ["exact", "sensors/7/ask", 1]


@pytest.mark.parametrize("topic", ["a/b+", "a#", "#/a", "", "a\0b", "\ud83d"])
async def test_patterns_that_are_no_topic_filter(place: Place, topic: str) -> None:
    """Said at start."""

    @event_pattern(topic)
    async def handler(data): ...

    with pytest.raises(PatternError, match="cannot be an MQTT topic"):
        await place.serve(handler)


async def test_a_message_over_mqtts_limit_is_refused(place: Place) -> None:
    """With both numbers, before anything is sent."""
    client: Client = await place.connect()
    with pytest.raises(PayloadError, match=r"268,435,4\d\d bytes with its topic exceeds MQTT's limit of 268,435,455"):
        client._transport.publish("a/topic", bytes(268_435_455), None)


async def test_a_retained_message_reaches_a_service_that_starts_later(place: Place) -> None:
    """It is an event as any other; its topic is what the broker kept."""
    office = Office()
    async with aiomqtt.Client("127.0.0.1", int(place.url.rpartition(":")[2])) as other:
        await other.publish("kept/value", b"21", qos=1, retain=True)
        try:
            await place.serve(office)
            await eventually(lambda: ("#", "kept/value", 21) in office.seen)
        finally:
            await other.publish("kept/value", b"", qos=1, retain=True)
