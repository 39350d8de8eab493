"""What travels through Kafka: a value and headers, as NestJS writes them, and how a packet becomes that and back.

    request   value, kafka_correlationId, kafka_replyTopic, kafka_replyPartition
    event     value
    value     value, kafka_correlationId            one of several
    last      the same, and kafka_nest-is-disposed  (one zero byte)
    error     no value, kafka_correlationId, kafka_nest-err, kafka_nest-is-disposed

A value is text: of an object or a list its JSON, of anything else what JavaScript's toString gives. So 7 arrives as
"7", True as "true", a text that is the JSON of an object as that object, and None is no value at all.
Ours is one header, which NestJS ignores: `postoffice-end` marks an end without a value, else the same as a last None.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from .. import messages
from ..durable import HISTORY, History
from ..errors import PayloadError
from ..patterns import js_number

__all__ = [
    "Record",
    "as_last",
    "dead_record",
    "reply_packet",
    "reply_record",
    "sent_record",
    "to_json",
    "to_value",
    "with_text",
]

CORRELATION_ID, REPLY_TOPIC, REPLY_PARTITION = "kafka_correlationId", "kafka_replyTopic", "kafka_replyPartition"
ERROR, LAST, END = "kafka_nest-err", "kafka_nest-is-disposed", "postoffice-end"
NO_VALUE = "postoffice-no-value"  # a dead letter whose event had none: a record without a value says "settled" there
KEY = "kafka_messageKey"  # NestJS's name for it: among the headers of a call, it gives the record's key
PROTOCOL = {CORRELATION_ID, REPLY_TOPIC, REPLY_PARTITION, ERROR, LAST, END, NO_VALUE}
MAX_BYTES = 1_048_576  # Kafka's own limit for a record with its headers, where nobody has changed it


class Record(NamedTuple):
    """What is sent to a topic; without a partition, the key decides, and without a key, chance."""

    value: bytes | None
    headers: list[tuple[str, bytes]]
    key: bytes | None = None
    partition: int | None = None

    def checked(self) -> Record:
        """The record itself. Raises PayloadError when it is larger than Kafka takes."""
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(self.key, self.value, self.headers)
        if size > MAX_BYTES:
            raise PayloadError(
                f"a record of {size:,} bytes exceeds the {MAX_BYTES:,} that Kafka takes (max.request.size)."
                " Nothing was sent. Send a reference to the data, or send it in parts."
            )
        return self


def sent_record(packet: bytes, headers: Mapping[str, str] | None, protocol: Iterable[tuple[str, bytes]] = ()) -> Record:
    """A request or an event, from its packet, the headers of the call and those of the protocol."""
    given = dict(headers or {})
    key = given.pop(KEY, None)
    own = [(name, value.encode()) for name, value in given.items() if name not in PROTOCOL]
    value = to_value(bytes(messages.read_packet(packet).data))
    return Record(value, [*own, *protocol], None if key is None else key.encode()).checked()


def reply_record(packet: bytes, correlation_id: bytes, partition: int | None) -> Record:
    """A reply, from its packet."""
    reply = messages.read_reply(packet)
    headers = [(CORRELATION_ID, correlation_id)]
    if reply.failed:
        headers += [(ERROR, to_value(bytes(reply.err)) or b""), (LAST, b"\0")]
    elif reply.last:
        headers += [(LAST, b"\0")] if reply.has_value else [(LAST, b"\0"), (END, b"\0")]
    return Record(to_value(bytes(reply.response)), headers, partition=partition).checked()


def as_last(record: Record) -> Record:
    """The same value as the last one of its stream."""
    return record._replace(headers=[*record.headers, (LAST, b"\0")])


def reply_packet(value: bytes | None, headers: Mapping[str, bytes]) -> bytes:
    """The packet of a reply, from its value and its headers: whether a header is there is what counts."""
    if ERROR in headers:
        error = to_json(headers[ERROR]) if headers[ERROR] else b'{"status":"error","message":""}'
        return b'{"err":' + error + b',"isDisposed":true}'
    if END in headers:
        return b'{"isDisposed":true}'
    return b'{"response":' + to_json(value) + (b',"isDisposed":true}' if LAST in headers else b"}")


def dead_record(record: Any, history: History) -> Record:
    """A record that failed, as a dead letter: under a key of its own, with its value and its own key kept."""
    headers = [(name, value) for name, value in record.headers if name not in (HISTORY, KEY)]
    headers.append((HISTORY, history.header().encode()))
    if record.key is not None:
        headers.append((KEY, record.key))
    if record.value is None:
        headers.append((NO_VALUE, b""))
    key = f"{history.id}.{secrets.token_hex(6)}".encode()
    return Record(record.value if record.value is not None else b"", headers, key)


def to_value(data: bytes) -> bytes | None:
    """The value of a record, from the JSON text of the data."""
    first = data[:1]
    if first == b'"':
        return str(messages.decode(data)).encode()
    if first in b"{[tf" and first:
        return data
    if first in b"n":  # null, or nothing
        return None
    return data if data.lstrip(b"-").isdigit() else js_number(float(data)).encode()


def to_json(value: bytes | None) -> bytes:
    """The JSON text of the data, from the value of a record: that itself where it is an object's or a list's."""
    if value is None:
        return b"null"
    if value[:1] in (b"{", b"["):
        try:
            messages.decode(value)
            return value
        except msgspec.DecodeError:
            pass
    return messages.encode(value.decode("utf-8", "replace"))


def with_text(headers: Mapping[str, bytes], key: bytes | None) -> dict[str, str]:
    """What a handler sees of the headers: the sender's own, and the record's key."""
    own = {name: value.decode("utf-8", "replace") for name, value in headers.items() if name not in PROTOCOL}
    return own if key is None else own | {KEY: key.decode("utf-8", "replace")}
