"""What travels: requests, events and replies, as JSON, in the words of NestJS.

    request   {"pattern":…,"data":…,"id":…}         an id asks for an answer
    event     {"pattern":…,"data":…}                no id, no answer
    value     {"response":…,"id":…}                 one of several values
    last      {"response":…,"isDisposed":true,"id":…}
    end       {"isDisposed":true,"id":…}            the end, without a value
    error     {"err":…,"isDisposed":true,"id":…}

RabbitMQ's replies carry no id: the message's correlation id does that work. Headers travel beside the packet
where the transport has some, else inside it, as "metadata".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from .errors import PayloadError
from .patterns import Pattern

__all__ = ["Packet", "Reply", "encode", "read_packet", "read_reply", "write_packet", "write_reply"]

NO_HANDLER = "There is no matching message handler defined in the remote service."
INTERNAL_ERROR = {"status": "error", "message": "Internal server error"}
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
TRUE = Raw(b"true")
FALSY = frozenset([b"", b'""', b"0", b"-0", b"null", b"false"])  # what JavaScript takes for "no error"


class Packet(msgspec.Struct):
    """A request or an event as it came, its parts still JSON text: nothing is decoded before it is needed.

    An absent part is empty. It is a request if, and only if, it has an id, be it null.
    """

    pattern: Raw = Raw(b"")
    data: Raw = Raw(b"")
    metadata: Raw = Raw(b"")
    id: Raw = Raw(b"")


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """An answer as it came. An object with any other key is no envelope but a value (NestJS 12)."""

    response: Raw = Raw(b"")
    err: Raw = Raw(b"")
    is_disposed: Raw = msgspec.field(default=Raw(b""), name="isDisposed")
    id: Raw = Raw(b"")
    status: Raw = Raw(b"")

    @property
    def has_value(self) -> bool:
        return bool(bytes(self.response))

    @property
    def last(self) -> bool:
        """Whether no further packet follows."""
        return bytes(self.is_disposed) not in FALSY

    @property
    def failed(self) -> bool:
        return bytes(self.err) not in FALSY


_encoder = msgspec.json.Encoder(enc_hook=lambda value: foreign(value))
_packets = msgspec.json.Decoder(Packet)
_replies = msgspec.json.Decoder(Reply)
_values: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """A value as JSON in UTF-8: dicts, lists, text, numbers, dataclasses, msgspec and pydantic models, dates.

    Raises:
        PayloadError: it cannot be written as JSON.
    """
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(
            f"{_short(value)} cannot be written as JSON: {error}. Nothing was sent."
            " Send what JSON knows: dict, list, str, int, float, bool, None, a dataclass or a model."
        ) from error


def decode(raw: bytes | Raw) -> Any:
    """JSON text as Python values; absent text is None. Raises msgspec.DecodeError where it is no JSON."""
    return _read(_values, raw) if bytes(raw) else None


def _read(decoder: Any, text: bytes | Raw) -> Any:
    """msgspec's decoding, where every text that is no JSON raises the one error."""
    try:
        return decoder.decode(text)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"JSON is malformed: {error}") from None
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not SURROGATE.search(bytes(text)):
            raise
        return decoder.decode(_mended(bytes(text)))


def _mended(text: bytes) -> bytes:
    """JSON where U+FFFD stands for each half of a character: JavaScript writes one when it has cut an emoji in two."""
    try:
        whole = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(f"JSON is malformed: {error}") from None
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def write_packet(
    pattern: Pattern, data: Any, request_id: str | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """A request (with an id) or an event (without) as it goes over the wire."""
    parts = [b'{"pattern":', encode(pattern), b',"data":', encode(data)]
    if metadata:
        parts += [b',"metadata":', encode(metadata)]
    if request_id is not None:
        parts += [b',"id":"', request_id.encode(), b'"']
    return b"".join([*parts, b"}"])


def read_packet(body: bytes) -> Packet:
    """A packet from its bytes.

    Raises:
        msgspec.ValidationError: JSON, but no object. msgspec.DecodeError (its parent): no JSON at all.
    """
    packet: Packet = _read(_packets, body)
    return packet


def write_reply(fields: bytes, request_id: bytes) -> bytes:
    """A reply from its fields (JSON without braces) and the id of its request, verbatim; b"" leaves it out."""
    if not request_id:
        return b"{" + fields + b"}"
    return b"{" + fields + b',"id":' + request_id + b"}"


def value_fields(value: Any) -> bytes:
    """One of several values."""
    return b'"response":' + encode(value)


def last_fields(value: Any) -> bytes:
    """The only value, or the last one."""
    return b'"response":' + encode(value) + b',"isDisposed":true'


END_FIELDS = b'"isDisposed":true'


def error_fields(error: Any) -> bytes:
    """An error, which is always the last packet."""
    return b'"err":' + encode(error) + b',"isDisposed":true'


def no_handler_reply(request_id: bytes) -> bytes:
    """NestJS's answer to a request that nobody handles."""
    return b'{"id":' + request_id + b',"status":"error","err":' + encode(NO_HANDLER) + b"}"


def read_reply(body: bytes) -> Reply:
    """A reply from its bytes. What is no envelope becomes the value of a last packet, as NestJS 12 takes it.

    Raises:
        msgspec.DecodeError: the bytes are no JSON.
    """
    try:
        reply: Reply = _read(_replies, body)
        if any(map(bytes, (reply.response, reply.err, reply.is_disposed, reply.id, reply.status))):
            return reply
        return Reply(response=Raw(body), is_disposed=TRUE)
    except msgspec.ValidationError:
        try:
            identity = read_packet(body).id
        except msgspec.ValidationError:
            identity = Raw(b"")
        return Reply(response=Raw(body), is_disposed=TRUE, id=identity)


def foreign(value: Any) -> Any:
    """The JSON form of a pydantic model, without importing pydantic."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} that contains itself"
    return text if len(text) <= 80 else text[:77] + "..."


def metadata(packet: Packet) -> dict[str, Any]:
    """The headers inside a packet."""
    found = decode(packet.metadata)
    return found if isinstance(found, dict) else {}


def foreign_data(body: bytes) -> Raw:
    """A body that is no packet, as data: its JSON value, or its text."""
    try:
        decode(body)
        return Raw(body or b'""')
    except msgspec.DecodeError:
        return Raw(encode(body.decode("utf-8", "replace")))


def shown(packet: Packet) -> str:
    """A packet's pattern, for a line in a log."""
    text = bytes(packet.pattern).decode("utf-8", "replace") or "(no pattern)"
    return text if len(text) <= 100 else text[:97] + "..."
