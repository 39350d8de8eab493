"""Hostile bytes: whatever comes, nothing crashes, hangs or grows without bound.

Each property runs FUZZ_CASES cases (default 300). `make fuzz` runs a million in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postoffice import Client, Service, event_pattern, message_pattern
from postoffice.messages import Packet, Reply, read_packet, read_reply
from postoffice.patterns import route_of_json
from postoffice.transports.base import Delivery
from postoffice.transports.framing import FrameError, Frames, frame

CASES = int(os.environ.get("FUZZ_CASES", "300"))
hostile = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
pytestmark = pytest.mark.timeout(60 + CASES // 20)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["pattern", "data", "id", "metadata", "response", "err", "isDisposed", "status", "x"])
PACKETS = st.dictionaries(KEYS, JSON | st.sampled_from(["echo", "fact", {"cmd": "sum"}, "42"]), max_size=6)
AS_BYTES = PACKETS.map(lambda packet: json.dumps(packet, ensure_ascii=False).encode("utf-8", "replace"))
CHIMERAS = st.builds(lambda packet, tail: packet[: len(packet) // 2] + tail, AS_BYTES, st.binary(max_size=9))
BYTES = st.binary(max_size=80) | AS_BYTES | CHIMERAS
LENGTHS = st.sampled_from([b"5#", b"0#", b"#", b"-1#", b"99999999999#", b" 3 x#", b"1e3#", b"\xff#"])
STREAMS = st.lists(BYTES | LENGTHS | BYTES.map(lambda body: b"%d#%b" % (len(body), body)), max_size=6).map(b"".join)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    """A stream in pieces."""
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


def read_all(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """The packets of a stream, and whether it ended in an error."""
    frames, packets = Frames(max_frame=4096), []
    try:
        for piece in pieces:
            packets += frames.feed(piece)
    except FrameError:
        return packets, True
    return packets, False


@hostile
@given(STREAMS, st.lists(st.integers(0, 500), max_size=12))
def test_frames_do_not_depend_on_the_pieces(stream: bytes, at: list[int]) -> None:
    """A stream gives the same packets and the same verdict, however it is cut."""
    whole, failed = read_all([stream])
    parts, failed_in_parts = read_all(cut(stream, at))
    assert failed_in_parts == failed
    assert failed or parts == whole


@hostile
@given(st.lists(JSON, min_size=1, max_size=4), st.lists(st.integers(0, 500), max_size=12))
def test_what_is_framed_comes_back(values: list[Any], at: list[int]) -> None:
    """Every packet that is written is read again, in order, from any pieces."""
    packets = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    assert read_all(cut(b"".join(map(frame, packets)), at)) == (packets, False)


@hostile
@given(BYTES)
def test_packets_and_replies_are_read_or_refused(body: bytes) -> None:
    """Bytes are a packet, or a reply, or a DecodeError; nothing else comes out."""
    for read, kind in ((read_packet, Packet), (read_reply, Reply)):
        with contextlib.suppress(msgspec.DecodeError):
            assert isinstance(read(body), kind)


@hostile
@given(BYTES | JSON.map(lambda value: json.dumps(value).encode()))
def test_every_pattern_has_a_route_or_none(raw: bytes) -> None:
    """The router answers, for anything."""
    found = route_of_json(raw)
    assert found is None or isinstance(found, str)


class Recorded(Delivery):
    """A message whose replies are kept."""

    def __init__(self, body: bytes, route: str | None) -> None:
        super().__init__(body, route)
        self.replies: list[bytes] = []

    def reply(self, packet: bytes) -> None:
        self.replies.append(packet)


@message_pattern("echo")
async def echo(data: Any) -> Any:
    return data


@message_pattern({"cmd": "sum"})
async def add(data: list[int]) -> int:
    return sum(data)


@event_pattern("fact")
async def fact(data: Any) -> None:
    pass


@pytest.fixture(scope="module")
def dispatch() -> Iterator[Any]:
    """The dispatch of a service, for one message at a time; nothing of it is replaced. Its log would be endless."""
    logging.getLogger("postoffice").setLevel(logging.CRITICAL)
    with asyncio.Runner() as runner:
        service = Service(echo, add, fact, url="tcp://127.0.0.1:0")
        runner.run(service.start())

        async def one(delivery: Recorded) -> None:
            service._dispatch.deliver(delivery)
            await service._dispatch.quiet()

        yield lambda delivery: runner.run(one(delivery))
        runner.run(service.stop())
    logging.getLogger("postoffice").setLevel(logging.NOTSET)


@hostile
@given(body=BYTES, route=st.sampled_from([None, "echo", "fact", "nobody", '{"cmd":"sum"}']))
def test_every_request_gets_one_last_packet(dispatch: Any, body: bytes, route: str | None) -> None:
    """The dispatch takes anything. What is a request gets exactly one last packet; what is none gets nothing."""
    delivery = Recorded(body, route)
    dispatch(delivery)
    assert len(delivery.replies) == _expected(body, route)
    for packet in delivery.replies:
        reply = read_reply(packet)
        assert reply.last or reply.failed


def _expected(body: bytes, route: str | None) -> int:
    """1 for a request, by the wire's rule: an object with an id, and from a broker also a pattern or data."""
    try:
        packet = read_packet(body)
    except msgspec.DecodeError:
        return 0
    if route is not None and not (bytes(packet.pattern) or bytes(packet.data)):
        return 0
    return 1 if bytes(packet.id) else 0


async def test_a_service_outlives_garbage_on_its_port() -> None:
    """Real sockets full of garbage: each is closed or ignored, and a client beside them is served all the time."""
    garbage: list[bytes] = []

    @settings(max_examples=min(CASES, 2000), database=None, suppress_health_check=list(HealthCheck))
    @given(STREAMS)
    def collect(stream: bytes) -> None:
        garbage.append(stream)

    collect()
    async with Service(echo, add, fact, url="tcp://127.0.0.1:0") as service:
        host, port = "127.0.0.1", int(service.url.rpartition(":")[2])
        async with await Client.connect(service.url) as client:
            for number, stream in enumerate(garbage):
                _, writer = await asyncio.open_connection(host, port)
                writer.write(stream)
                writer.close()
                assert await client.send("echo", number) == number
