"""What NestJS wrote to Kafka, as captured, against what we write and read: values, headers, replies."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import PayloadError, messages
from postoffice.transports.kafka_records import (
    CORRELATION_ID,
    END,
    KEY,
    MAX_BYTES,
    REPLY_PARTITION,
    REPLY_TOPIC,
    reply_packet,
    reply_record,
    sent_record,
    to_json,
    to_value,
    with_text,
)

CAPTURED = json.loads((Path(__file__).parents[1] / "vectors" / "kafka.json").read_text(encoding="utf-8"))["cases"]
# NestJS takes an object with `key` or `value` for a record and loses what else it holds (and hands a handler of a null
# value the raw record); we send all of it. Dates of ours are in ISO form. Of these, only what is read is compared.
NEST_ONLY = ("echo.object_with_key_property", "echo.object_with_value_property", "echo.date", "record.event")
REQUESTS = [one for one in CAPTURED if one["direction"] == "client->service" and one["name"] not in NEST_ONLY]
REPLIES = [one for one in CAPTURED if one["direction"] == "service->client"]
OUR_REPLIES = [one for one in REPLIES if one["name"] != "echo.object_with_key_property"]


def value_of(case: dict[str, Any]) -> bytes | None:
    return None if case["payload"] is None else case["payload"].encode()


def headers_of(case: dict[str, Any]) -> dict[str, bytes]:
    return {
        name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()
        for name, value in case["headers"].items()
    }


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
def test_what_nests_client_sends(case: dict[str, Any]) -> None:
    """The same value, key and headers from the same data."""
    headers = headers_of(case)
    protocol = [(name, headers.pop(name)) for name in (CORRELATION_ID, REPLY_TOPIC, REPLY_PARTITION) if name in headers]
    given_headers = {name: value.decode() for name, value in headers.items()}
    data = case.get("data", {})
    if case["name"] == "record.key_headers":
        given_headers[KEY] = case["key"]["payload"]
        data = json.loads(case["payload"])
    if case["name"].startswith("two_concurrent"):
        data = int(case["payload"])
    record = sent_record(messages.write_packet(case["topic"], data), given_headers, protocol)
    assert record.value == value_of(case)
    assert record.key == (case["key"]["payload"].encode() if case["key"] else None)
    assert record.headers == [*headers.items(), *protocol]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case["name"])
def test_what_nests_service_answers_is_read(case: dict[str, Any]) -> None:
    """A value, the last one, or an error."""
    reply = messages.read_reply(reply_packet(value_of(case), headers_of(case)))
    error = case["headers"].get("kafka_nest-err")
    assert reply.last == ("kafka_nest-is-disposed" in case["headers"])
    assert reply.failed == (error is not None)
    if error is not None:
        assert messages.decode(reply.err) == json.loads(error)
    else:
        assert messages.decode(reply.response) == messages.decode(to_json(value_of(case)))


@pytest.mark.parametrize("case", OUR_REPLIES, ids=lambda case: case["name"])
def test_what_our_service_answers_is_what_nests_does(case: dict[str, Any]) -> None:
    """The same value and headers, byte for byte, from the packet that such a reply is on other transports."""
    headers = headers_of(case)
    packet = reply_packet(value_of(case), headers)
    record = reply_record(packet, headers[CORRELATION_ID], 0)
    assert (record.value, dict(record.headers), record.partition) == (value_of(case), headers, 0)


def test_an_end_without_a_value_is_told_from_a_last_none() -> None:
    """NestJS cannot tell them apart on Kafka, so we add a header, which it ignores."""
    end = reply_record(b'{"isDisposed":true}', b"1", None)
    none = reply_record(b'{"response":null,"isDisposed":true}', b"1", None)
    assert end.value is none.value is None
    assert [header for header in end.headers if header not in none.headers] == [(END, b"\0")]
    assert not messages.read_reply(reply_packet(end.value, dict(end.headers))).has_value
    assert messages.read_reply(reply_packet(none.value, dict(none.headers))).has_value


@pytest.mark.parametrize(
    ("data", "value"),
    [("text", b"text"), ("", b""), (7, b"7"), (-1.5, b"-1.5"), (100.0, b"100"), (1e21, b"1e+21"),
     (2**70, str(2**70).encode()), (True, b"true"), (None, None), ([], b"[]"),
     ({"é": None}, '{"é":null}'.encode())],
)  # fmt: skip
def test_values(data: object, value: bytes | None) -> None:
    """Text for what is no object or list, as JavaScript writes it."""
    assert to_value(messages.encode(data)) == value


@pytest.mark.parametrize(
    ("value", "data"),
    [(None, None), (b"", ""), (b"7", "7"), (b"null", "null"), (b'"q"', '"q"'), (b"[1]", [1]), (b"{oh", "{oh"),
     (b"[1] ", [1]), (b"\xff", "�"), (b"\0\0\0\0\1x", "\0\0\0\0\1x"), (b"[" * 100_000, "[" * 100_000)],
)  # fmt: skip
def test_values_read(value: bytes | None, data: object) -> None:
    """JSON only where it starts as an object or a list and is one; whatever it is, it is text at least."""
    assert messages.decode(to_json(value)) == data


@given(st.one_of(st.none(), st.binary()))
def test_no_value_is_too_strange(value: bytes | None) -> None:
    """Any bytes become the JSON of something."""
    msgspec.json.decode(to_json(value))


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.lists(st.text()), st.dictionaries(st.text(), st.integers()))))
def test_objects_come_back(data: dict[str, Any]) -> None:
    assert messages.decode(to_json(to_value(messages.encode(data)))) == data


def test_the_protocols_headers_are_not_the_senders() -> None:
    """Neither may a sender set them, nor does a handler see them."""
    record = sent_record(messages.write_packet("x", 1), {CORRELATION_ID: "mine", "x": "é", KEY: "k"})
    assert (record.headers, record.key) == ([("x", "é".encode())], b"k")
    assert with_text({CORRELATION_ID: b"1", "x": b"\xff"}, b"k") == {"x": "�", KEY: "k"}


def test_a_record_that_is_too_large_is_refused() -> None:
    """With both numbers."""
    with pytest.raises(PayloadError, match=rf"a record of 1,0\d\d,\d\d\d bytes exceeds the {MAX_BYTES:,}"):
        sent_record(messages.write_packet("x", "a" * MAX_BYTES), None)
    with pytest.raises(PayloadError, match="exceeds"):
        reply_record(b'{"response":"' + b"a" * MAX_BYTES + b'","isDisposed":true}', b"1", 0)
