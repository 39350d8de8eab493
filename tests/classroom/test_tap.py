"""Listening in: every letter that goes through a NATS broker, and none of the broker's own."""

import pytest

from classroom import start_broker, tap
from classroom.brokers import BrokerError
from classroom.tap import Wire, listen_in, shortened
from postoffice import Client, Service, message_pattern


@message_pattern("double")
async def double(number: int) -> int:
    return 2 * number


async def test_a_request_is_two_letters_and_an_event_is_one():
    try:
        post = await start_broker("nats")
    except BrokerError as error:
        pytest.skip(f"no NATS here: {error}")
    try:
        async with (
            Service(double, url=post.url),
            await Client.connect(post.url) as client,
            listen_in(post.url) as wire,
        ):
            assert await client.send("double", 21) == 42
            await client.emit("told", 1)
        assert [(subject, reply) for subject, reply, _ in wire.letters] == [
            ("double", "inbox 1"),
            ("inbox 1", ""),
            ("told", ""),
        ]
        assert "inbox 1" in repr(wire)
        assert "<caption" in wire._repr_html_()
    finally:
        await post.stop()


async def test_the_first_letter_is_never_missed(monkeypatch: pytest.MonkeyPatch):
    """The broker has the subscription before the block begins. (With one flush, one in twenty came too late.)"""
    monkeypatch.setattr(tap, "QUIET", 0.01)
    try:
        post = await start_broker("nats")
    except BrokerError as error:
        pytest.skip(f"no NATS here: {error}")
    try:
        async with await Client.connect(post.url) as client:
            for number in range(100):
                async with tap.listen_in(post.url) as wire:
                    await client.emit("told", number)
                assert len(wire) == 1, number
    finally:
        await post.stop()


def test_silence_and_long_letters():
    assert repr(Wire()) == "no letter went through the broker"
    assert len(shortened("x" * 1000)) == 110
