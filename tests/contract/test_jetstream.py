"""What is JetStream's own: streams, consumers, wildcards, copies that the server knows already."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
import pytest
from broker_help import own_broker
from contract_help import LIMIT, Place, eventually
from nats.js.api import StreamConfig

from postoffice import (
    Client,
    Context,
    PatternError,
    PayloadError,
    Retry,
    UnsupportedError,
    UsageError,
    dead_letters,
    event_pattern,
)
from postoffice.durable import Durable
from postoffice.transports.nats_streams import consumer_name

pytestmark = pytest.mark.parametrize("kind", ["nats"])
AT_LEAST_ONCE: dict[str, Any] = {"delivery": "at-least-once"}


class Noted:
    def __init__(self, *patterns: str, retry: Retry | None = None, fail: bool = False) -> None:
        self.got: list[tuple[str, Any, int]] = []
        self.headers: list[Any] = []
        self.fail = fail
        self.handlers = [self._handler(pattern, retry) for pattern in patterns]

    def _handler(self, pattern: str, retry: Retry | None) -> Any:
        @event_pattern(pattern, retry=retry)
        async def note(data: Any, ctx: Context) -> None:
            self.got.append((ctx.pattern, data, ctx.attempt))
            self.headers.append(ctx.headers)
            if self.fail:
                raise ValueError(data)

        return note


async def letters_of(place: Place, count: int) -> list[Any]:
    async with dead_letters(place.url, f"{place.name}.dead") as office, asyncio.timeout(LIMIT):
        while len(letters := await office.list()) < count:  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.02)
        return letters


async def test_wildcards_take_what_matches_and_overlap(place: Place) -> None:
    """Each handler whose pattern matches gets the event, and its own retries; the context says what was sent."""
    retry = Retry(attempts=2, initial=0.02, jitter=0)
    wide = Noted(f"{place.name}.*.sold", f"{place.name}.>", retry=retry, fail=True)
    exact = Noted(f"{place.name}.a.sold", retry=retry)
    await place.serve(*wide.handlers, *exact.handlers, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(f"{place.name}.a.sold", 1)
    letters = await letters_of(place, 2)
    sent = f"{place.name}.a.sold"
    assert sorted(wide.got) == [(sent, 1, 1), (sent, 1, 1), (sent, 1, 2), (sent, 1, 2)]
    assert exact.got == [(sent, 1, 1)]
    assert {one.pattern for one in letters} == {sent}
    wide.fail = False
    async with dead_letters(place.url, f"{place.name}.dead") as office:
        assert await office.requeue_all() == 2
    await eventually(lambda: len(wide.got) == 6, "each pattern that failed gets it once more")
    await asyncio.sleep(0.1)
    assert len(exact.got) == 1


async def test_the_same_event_twice_is_stored_once(place: Place) -> None:
    """By its message_id and its pattern: another pattern with the same identity is another event."""
    noted = Noted(f"{place.name}.placed", f"{place.name}.paid")
    await place.serve(*noted.handlers, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for _ in range(2):
        await client.emit(f"{place.name}.placed", 1, message_id="order 7")
        await client.emit(f"{place.name}.paid", 2, message_id="order 7")
    await client.emit(f"{place.name}.placed", 3, message_id="order 8")
    await eventually(lambda: len(noted.got) == 3)
    assert sorted(data for _, data, _ in noted.got) == [1, 2, 3]


async def test_headers_and_patterns_that_nats_has_no_room_for(place: Place) -> None:
    """Refused before anything is sent; what can travel does."""
    noted = Noted(place.job)
    await place.serve(*noted.handlers, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    for headers in ({"x": "é"}, {"x": "a\r\nb: c"}, {"x y": "a"}, {"x:": "a"}, {"": "a"}):
        with pytest.raises(PayloadError, match=r"cannot travel: NATS has printable ASCII .*Nothing was sent"):
            await client.emit(place.job, 1, headers=headers)
    for pattern in ("two words", "", ".a", "a..b"):
        with pytest.raises(PatternError, match="cannot be a NATS subject"):
            await client.emit(pattern, 1)
    with pytest.raises(PayloadError, match="exceeds"):
        await client.emit(place.job, "x" * 2_000_000)
    await client.emit(place.job, 2, headers={"x": "abc"})
    await eventually(lambda: len(noted.got) == 1)
    assert noted.headers[0]["x"] == "abc"


async def test_a_body_that_is_no_json_is_a_dead_letter(place: Place) -> None:
    """Somebody wrote to the stream's subject directly."""
    noted = Noted(place.job)
    await place.serve(*noted.handlers, **AT_LEAST_ONCE)
    connection = await nats.connect(place.url)
    await connection.jetstream().publish(f"events.{place.job}", b"\xff no json")
    await connection.jetstream().publish(f"events.{place.job}", b"5")
    await connection.close()
    (letter,) = await letters_of(place, 1)
    assert (letter.kind, letter.body) == ("invalid", b"\xff no json")
    await eventually(lambda: [data for _, data, _ in noted.got] == [5])


async def test_a_consumer_that_was_deleted_is_made_again(place: Place) -> None:
    """Deleted by hand while the service runs."""
    noted = Noted(place.job)
    await place.serve(*noted.handlers, ack_wait=0.5, **AT_LEAST_ONCE)
    client = await place.connect(**AT_LEAST_ONCE)
    await client.emit(place.job, 1)
    await eventually(lambda: len(noted.got) == 1)
    connection = await nats.connect(place.url)
    streams = connection.jetstream()
    mine = [one.name for one in await streams.consumers_info("events") if place.name in str(one.name)]
    for name in mine:
        await streams.delete_consumer("events", name)
    await client.emit(place.job, 2)
    await eventually(lambda: any(data == 2 for _, data, _ in noted.got))
    await connection.close()


async def test_a_long_or_odd_name_is_a_name(place: Place) -> None:
    """A service and a pattern that no file name could have."""
    pattern = f"{place.name}." + "x" * 300
    for name in (f"a.b c*>/{place.name}", "n" * 300 + place.name):
        noted = Noted(pattern)
        await place.serve(*noted.handlers, name=name, **AT_LEAST_ONCE)
        client = await place.connect(**AT_LEAST_ONCE)
        await client.emit(pattern, name)
        await eventually(lambda noted=noted: noted.got)  # type: ignore[misc]
        consumer = consumer_name(Durable(service=name), pattern)
        assert not set(consumer) & set("%.*>/ "), "NATS 2.10 takes no acknowledgements for a name with a percent sign"


async def test_a_server_without_jetstream_says_so(place: Place) -> None:
    """Both sides learn it when they connect, with what to do."""
    async with own_broker("nats", lambda folder: ["-js=false"]) as port:
        with pytest.raises(UnsupportedError, match=r"runs without JetStream.*-js"):
            await Client.connect(f"nats://127.0.0.1:{port}", **AT_LEAST_ONCE)


async def test_streams_in_the_way_are_named(place: Place) -> None:
    """Another stream of our subjects, or of our name."""
    assert place
    async with own_broker("nats", lambda folder: []) as port:
        connection = await nats.connect(f"nats://127.0.0.1:{port}")
        streams = connection.jetstream()
        await streams.add_stream(StreamConfig(name="orders", subjects=["events.order"]))
        with pytest.raises(UsageError, match="cannot be made: subjects overlap"):
            await Client.connect(f"nats://127.0.0.1:{port}", **AT_LEAST_ONCE)
        await streams.delete_stream("orders")
        await streams.add_stream(StreamConfig(name="events", subjects=["other"]))
        with pytest.raises(UsageError, match=r"a stream 'events' with \['other'\]"):
            await Client.connect(f"nats://127.0.0.1:{port}", **AT_LEAST_ONCE)
        await connection.close()
