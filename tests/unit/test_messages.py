"""Packets as bytes: what is written, what is read, and what is refused."""

import contextlib
import dataclasses
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from postoffice import PayloadError, messages

DEEP = b"[" * 100_000 + b"]" * 100_000
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT, lambda part: st.lists(part) | st.dictionaries(TEXT, part), max_leaves=20
)


class Model(BaseModel):
    name: str


@dataclasses.dataclass
class Point:
    x: int
    y: int


@given(JSON)
def test_every_json_value_survives_the_way_there_and_back(value: object) -> None:
    """What a caller sends is what a handler gets."""
    assert messages.decode(messages.encode(value)) == value


@given(JSON, TEXT)
def test_a_request_is_the_json_that_nestjs_writes(data: object, pattern: str) -> None:
    """Keys in NestJS's order, no blanks, and readable by any other JSON library."""
    packet = messages.write_packet(pattern, data, "id1", {"k": "v"})
    assert list(json.loads(packet)) == ["pattern", "data", "metadata", "id"]
    assert json.loads(packet) == {"pattern": pattern, "data": data, "metadata": {"k": "v"}, "id": "id1"}


def test_an_event_has_no_id_and_no_empty_metadata() -> None:
    """Without an id nobody answers; an absent part is not written."""
    assert messages.write_packet("p", None) == b'{"pattern":"p","data":null}'


@pytest.mark.parametrize(
    ("value", "json_text"),
    [
        (Point(1, 2), b'{"x":1,"y":2}'),
        (Model(name="é"), '{"name":"é"}'.encode()),
        ([Model(name="a")], b'[{"name":"a"}]'),
        (float("nan"), b"null"),
        ({1: 2}, b'{"1":2}'),
    ],
)
def test_models_and_odd_numbers_are_written_as_javascript_would(value: object, json_text: bytes) -> None:
    """Dataclasses and pydantic models by their fields; NaN is null; keys are text."""
    assert messages.encode(value) == json_text


@pytest.mark.parametrize("value", [object(), 1 + 2j, "\ud800", {(1, 2): 3}, lambda: None])
def test_what_json_cannot_hold_is_refused_by_name(value: object) -> None:
    """The error says which value, that nothing was sent, and what would be possible."""
    with pytest.raises(PayloadError, match=r"cannot be written as JSON: .*Nothing was sent\. Send what JSON knows"):
        messages.encode(value)


def test_a_list_that_contains_itself_is_refused() -> None:
    """No recursion error reaches the caller, and a long repr is cut short."""
    endless: list[object] = ["x" * 1000]
    endless.append(endless)
    with pytest.raises(PayloadError) as caught:
        messages.encode(endless)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nope", b'{"data":NaN}', b'{"data":' + DEEP + b"}", b'{"a":"\n"}'], ids=range(6)
)
def test_bytes_that_are_no_json_raise_one_kind_of_error(body: bytes) -> None:
    """However they fail (cut short, a bare NaN, nested too deeply), the dispatch sees one error."""
    with pytest.raises(msgspec.DecodeError) as caught:
        messages.read_packet(body)
    assert not isinstance(caught.value, msgspec.ValidationError)


@pytest.mark.parametrize("body", [b"5", b'"text"', b"null", b"[1]", b"true"])
def test_json_that_is_no_object_is_told_apart(body: bytes) -> None:
    """It may be a foreign event's data, so it is not the same as no JSON."""
    with pytest.raises(msgspec.ValidationError):
        messages.read_packet(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_an_error(body: bytes) -> None:
    """Hostile bytes raise the one error or give a packet; its parts too."""
    try:
        packet = messages.read_packet(body)
    except msgspec.DecodeError:
        return
    for part in (packet.pattern, packet.data, packet.id, packet.metadata):
        with contextlib.suppress(msgspec.DecodeError):
            messages.decode(part)


def test_bad_utf8_and_deep_nesting_inside_a_part_are_the_same_error() -> None:
    """A part is decoded late, and fails no differently."""
    packet = messages.read_packet(b'{"pattern":"p","data":"\xff\xfe","id":1}')
    for raw in (packet.data, msgspec.Raw(DEEP)):
        with pytest.raises(msgspec.DecodeError):
            messages.decode(raw)


def test_an_id_is_present_even_when_it_is_null() -> None:
    """NestJS takes null as an id; an absent one makes it an event."""
    assert bytes(messages.read_packet(b'{"id":null}').id) == b"null"
    assert bytes(messages.read_packet(b"{}").id) == b""


@pytest.mark.parametrize(
    ("body", "value", "failed", "last"),
    [
        (b'{"response":1,"id":"i"}', 1, False, False),
        (b'{"response":null,"isDisposed":true,"id":"i"}', None, False, True),
        (b'{"err":"","response":1,"id":"i"}', 1, False, False),
        (b'{"err":0,"isDisposed":true}', None, False, True),
        (b'{"err":{"a":1},"isDisposed":true,"id":"i"}', None, True, True),
        (b'{"isDisposed":false,"response":2}', 2, False, False),
        (b'{"response":1,"extra":2,"id":"i"}', {"response": 1, "extra": 2, "id": "i"}, False, True),
        (b"{}", {}, False, True),
        (b"[1,2]", [1, 2], False, True),
        (b"null", None, False, True),
    ],
)
def test_replies_are_read_as_a_nestjs_client_reads_them(body: bytes, value: object, failed: bool, last: bool) -> None:
    """A falsy err is none; what is no envelope, as an object with a foreign key, is the only and last value."""
    reply = messages.read_reply(body)
    assert (messages.decode(reply.response), reply.failed, reply.last) == (value, failed, last)


def test_a_foreign_reply_still_finds_its_request() -> None:
    """The id of an object that is no envelope routes it all the same."""
    assert bytes(messages.read_reply(b'{"id":"i","extra":1}').id) == b'"i"'


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'"cut \\ud83d"', "cut \ufffd"),
        (b'["\\uDE80 \\ud83d\\ude80"]', ["\ufffd 🚀"]),
        (b'{"\\ud800":1}', {"\ufffd": 1}),
    ],
)
def test_half_an_emoji_is_read_as_the_sign_for_what_is_unknown(written: bytes, read: object) -> None:
    """JavaScript writes half a character when it has cut a text in the middle of one; the rest arrives."""
    packet = messages.read_packet(b'{"pattern":"p","data":' + written + b',"id":"1"}')
    assert (messages.decode(packet.data), bytes(packet.id)) == (read, b'"1"')
    assert messages.decode(messages.read_reply(b'{"response":' + written + b',"isDisposed":true}').response) == read


@pytest.mark.parametrize("body", [b'"\\ud800', b'["\\ud800",NaN]', b'"\\ud800"x', b"[" * 5000 + b'"\\ud800"'])
def test_half_an_emoji_in_what_is_no_json_is_the_same_error(body: bytes) -> None:
    """The second look does not let through what the first refused for another reason."""
    with pytest.raises(msgspec.DecodeError):
        messages.read_packet(body)
