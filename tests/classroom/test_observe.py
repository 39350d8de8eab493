"""Receiving spans: what is kept, what is refused, and what a hostile sender cannot do."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import AsyncIterator

import pytest
from observe_help import request, span_bytes

from classroom.observe.receiver import MOST_BYTES, Receiver
from classroom.observe.spans import Malformed, Store, read

OTLP = "Content-Type: application/x-protobuf"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One that listens on this test's own loop."""
    receiver = Receiver(Store(limit=1000))
    receiver.endpoint = await receiver.start()
    yield receiver
    await receiver.stop()


async def sent(receiver: Receiver, data: bytes, *, end: bool = True) -> bytes:
    """Send raw bytes; what comes back until the receiver closes, or has nothing more to say for a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(receiver.endpoint.rpartition(":")[2]))
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_spans_arrive(receiver: Receiver):
    """A whole request is kept and answered with 200; several on one connection, too."""
    one, two = request(span_bytes("a", 1)), request(span_bytes("b", 2))
    answer = await sent(receiver, one + two)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [span.name for span in receiver.store.spans()] == ["a", "b"]
    assert receiver.store.refused == 0


async def test_what_was_written_before_a_crash_counts(receiver: Receiver):
    """Requests before a half one are kept; the half one is not."""
    one = request(span_bytes("whole", 1))
    await sent(receiver, one + one.replace(b"whole", b"other")[:-10])
    assert [span.name for span in receiver.store.spans()] == ["whole"]


async def test_a_gzipped_body_is_read_and_a_bomb_is_not(receiver: Receiver):
    """Up to the limit that holds for plain ones."""
    packed = gzip.compress(span_bytes("packed", 1))
    assert b" 200 " in await sent(receiver, request(packed, "Content-Encoding: gzip"))
    bomb = gzip.compress(bytes(MOST_BYTES * 20))
    assert b" 400 " in await sent(receiver, request(bomb, "Content-Encoding: gzip"))
    assert b" 400 " in await sent(receiver, request(b"\x1f\x8b no gzip", "Content-Encoding: gzip"))
    assert b" 400 " in await sent(receiver, request(packed[:-12] + bytes(12), "Content-Encoding: gzip"))
    assert [span.name for span in receiver.store.spans()] == ["packed"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b" 404 "),
        (b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", b" 415 "),
        (request(b"no protobuf at all"), b" 400 "),
        (f"POST /v1/traces HTTP/1.1\r\nHost: x\r\n{OTLP}\r\nContent-Length: -1\r\n\r\n".encode(), b" 400 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n", b" 400 "),
        (b"POST /v1/traces HTTP/1.1\r\n" + b"X: y\r\n" * 20000, b" 431 "),
        (request(bytes(MOST_BYTES + 1)), b" 413 "),
    ],
    ids=["another path", "JSON", "garbage", "a negative length", "TLS", "endless headers", "too large"],
)
async def test_what_is_no_otlp_is_refused(receiver: Receiver, data: bytes, status: bytes):
    """With the status that says why; the next sender is served."""
    assert status in await sent(receiver, data)
    assert receiver.store.refused == 1
    assert b" 200 " in await sent(receiver, request(span_bytes("next", 1)))


async def test_random_bytes_do_no_harm(receiver: Receiver):
    """As a request, and as the body of one: a thousand of them leave the receiver in order."""
    dice = random.Random(8)
    good = span_bytes("good", 1)
    for _ in range(1000):
        body = bytearray(good)
        for _ in range(dice.randrange(1, 8)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        try:
            receiver.store.add(read(bytes(body[: dice.randrange(len(body) + 1)])))
        except Malformed:
            continue
    noise = [sent(receiver, dice.randbytes(dice.randrange(1, 2000))) for _ in range(100)]
    await asyncio.gather(*noise)
    assert b" 200 " in await sent(receiver, request(span_bytes("still", 2)))
    assert receiver.store.spans()[-1].name == "still"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trace_id": b"short"}, "ids of another length"),
        ({"span_id": b""}, "ids of another length"),
        ({"start_time_unix_nano": 0}, "more than a day away"),
        ({"end_time_unix_nano": 2**64 - 1}, "more than a day away"),
    ],
)
def test_impossible_spans_are_refused(changes: dict[str, object], why: str):
    """A picture's scale must not be torn by one sender's nonsense."""
    with pytest.raises(Malformed, match=why):
        read(span_bytes("odd", 1, **changes))


def test_only_so_many_are_kept():
    """The oldest go, and are counted; long texts and many attributes are cut."""
    store = Store(limit=10)
    for number in range(25):
        store.add(read(span_bytes("n" * 5000, number, attributes={f"key{n}": "v" * 5000 for n in range(200)})))
    assert len(store) == 10
    assert store.dropped == 15
    (*_, last) = store.spans()
    assert len(last.name) == 300
    assert len(last.attributes) == 64
    assert max(map(len, last.attributes.values())) == 300


def test_a_span_replaces_its_announcement():
    """And not the other way round, in whatever order they come."""
    announced = span_bytes(
        "begun",
        1,
        parent=7,
        attributes={"postoffice.pending": "begun", "postoffice.name": "work", "postoffice.parent": ""},
    )
    ended = span_bytes("work", 7)
    store = Store()
    store.add(read(announced))
    (only,) = store.spans()
    assert (only.name, only.end, only.parent) == ("work", None, "")
    store.add(read(ended))
    store.add(read(announced))
    (only,) = store.spans()
    assert only.end is not None


async def test_a_slow_sender_is_no_trouble_to_others(receiver: Receiver):
    """Connections that send half a request and wait do not stop a whole one."""
    port = int(receiver.endpoint.rpartition(":")[2])
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    for _, writer in slow:
        writer.write(request(span_bytes("slow", 1))[:60])
    begin = time.monotonic()
    assert b" 200 " in await sent(receiver, request(span_bytes("quick", 2)))
    assert time.monotonic() - begin < 5
    for _, writer in slow:
        writer.close()
