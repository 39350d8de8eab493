"""Spans as they are kept: read from OTLP, each one once, never more than a number of them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from postoffice.tracing import NAME, PARENT, PENDING

__all__ = ["Malformed", "Span", "Store", "read"]

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")  # by OTLP's number
MOST_SPANS = 100_000  # kept; about 1 KB each
MOST_TEXT = 300  # characters of any text that are kept
MOST_ITEMS = 64  # attributes, and events, of one span that are kept
AWAY = 24 * 3600.0  # seconds; a clock farther off than this is no clock


class Malformed(ValueError):
    """These bytes are no spans."""


@dataclass(slots=True)
class Span:
    """One piece of work of one process, in unix seconds. `end` is None while it goes on, or when it never ended.

    `events` are (time, name, attempt). `error` is "" unless it failed.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    service: str
    instance: str
    start: float
    end: float | None
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[float, str, int]] = field(default_factory=list)
    error: str = ""

    @property
    def message(self) -> str:
        """The message's id; "" where the sender gave none."""
        return str(self.attributes.get("messaging.message.id") or "")

    @property
    def attempt(self) -> int:
        found = self.attributes.get("postoffice.attempt", 1)
        return found if isinstance(found, int) else 1

    def at(self, event: str) -> float | None:
        """When it noted an event, the last time."""
        return next((when for when, name, _ in reversed(self.events) if name == event), None)


class Store:
    """The newest spans, and what was dropped for them. May be used from any thread."""

    def __init__(self, limit: int = MOST_SPANS) -> None:
        self.limit = limit
        self.dropped = 0  # spans that were the oldest when there was no more room
        self.refused = 0  # requests that were no spans
        self.taken = 0  # spans and announcements that came in
        self._spans: OrderedDict[tuple[str, str], Span] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, spans: Iterable[Span]) -> None:
        """Keep these; what was known of the same span before is replaced."""
        with self._lock:
            for span in spans:
                self.taken += 1
                key = span.trace, span.id
                known = self._spans.get(key)
                if known is None or known.end is None:  # an announcement does not undo the span itself
                    self._spans[key] = span
            while len(self._spans) > self.limit:
                self._spans.popitem(last=False)
                self.dropped += 1

    def spans(self) -> list[Span]:
        """All that is kept, in the order in which it began to arrive."""
        with self._lock:
            return list(self._spans.values())


def read(body: bytes) -> list[Span]:
    """The spans of an OTLP request (protobuf).

    Raises:
        Malformed: it is none, or a span has no valid id, or a time that no clock shows.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise Malformed(f"this is no ExportTraceServiceRequest: {error}") from None
    found = []
    for group in request.resource_spans:
        about = _attributes(group.resource.attributes)
        service, instance = _text(about.get("service.name", "unknown")), _text(about.get("service.instance.id", ""))
        found += [_span(one, service, instance) for scope in group.scope_spans for one in scope.spans]
    return found


def _span(one: Any, service: str, instance: str) -> Span:
    if len(one.trace_id) != 16 or len(one.span_id) != 8 or len(one.parent_span_id) not in (0, 8):
        raise Malformed("a span has ids of another length than 16 and 8 bytes")
    attributes = _attributes(one.attributes)
    span = Span(
        trace=one.trace_id.hex(),
        id=one.span_id.hex(),
        parent=one.parent_span_id.hex(),
        name=_text(one.name),
        kind=KINDS[one.kind] if 0 <= one.kind < len(KINDS) else "internal",
        service=service,
        instance=instance,
        start=_seconds(one.start_time_unix_nano),
        end=_seconds(one.end_time_unix_nano),
        attributes=attributes,
        events=[*_events(one)],
        error=(_text(one.status.message) or "failed") if one.status.code == 2 else "",
    )
    if PENDING in attributes:  # it speaks for its parent, which has not ended
        span.id, span.parent, span.end = span.parent, _text(attributes.pop(PARENT, "")), None
        span.name = _text(attributes.pop(NAME, span.name))
    return span


def _events(one: Any) -> Iterator[tuple[float, str, int]]:
    for event in one.events[-MOST_ITEMS:]:
        attempt = _attributes(event.attributes).get("postoffice.attempt", 1)
        yield _seconds(event.time_unix_nano), _text(event.name), attempt if isinstance(attempt, int) else 1


def _attributes(pairs: Any) -> dict[str, Any]:
    """The plain ones; of lists and maps nothing is shown."""
    found = {}
    for pair in pairs[:MOST_ITEMS]:
        which = pair.value.WhichOneof("value")
        if which in ("string_value", "int_value", "bool_value", "double_value"):
            value = getattr(pair.value, which)
            found[_text(pair.key)] = _text(value) if isinstance(value, str) else value
    return found


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


def _seconds(nanoseconds: int) -> float:
    seconds = nanoseconds / 1e9
    if abs(seconds - time.time()) > AWAY:
        raise Malformed(f"a span has the time {seconds:.0f} (unix seconds), more than a day away")
    return seconds
