"""Spans for the tests of observing, as bytes and as objects."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from classroom.observe.spans import Span

BEGIN = time.time()


def request(body: bytes, *headers: str) -> bytes:
    """An OTLP request as it goes over the wire."""
    head = ["POST /v1/traces HTTP/1.1", "Host: x", "Content-Type: application/x-protobuf", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def span_bytes(
    name: str, ident: int, *, parent: int = 0, attributes: dict[str, str] | None = None, **changes: Any
) -> bytes:
    """One span as protobuf."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    about = group.resource.attributes.add()
    about.key, about.value.string_value = "service.name", "tester"
    span = group.scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes(15) + b"\1", ident.to_bytes(8, "big"), name
    span.parent_span_id = parent.to_bytes(8, "big") if parent else b""
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    for key, value in (attributes or {}).items():
        pair = span.attributes.add()
        pair.key, pair.value.string_value = key, value
    for field, value in changes.items():
        setattr(span, field, value)
    return message.SerializeToString()


def span(name: str, ident: str, service: str, start: float, end: float | None, **changes: Any) -> Span:
    """One span as it is kept; times are seconds since these tests began."""
    fields = {
        "trace": "t1",
        "parent": "",
        "kind": "internal",
        "instance": "0",
        "attributes": {},
        "events": [],
    } | changes
    return Span(
        id=ident, name=name, service=service, start=BEGIN + start, end=None if end is None else BEGIN + end, **fields
    )


def sent(number: int, at: float, *, off: float = 0.0, trace: str | None = None, error: str = "") -> list[Span]:
    """A client's event, and its handling 2 ms later by a service whose clock is `off`."""
    ident, about = trace or f"t{number}", {"messaging.message.id": f"m{number}", "messaging.destination.name": "order"}
    return [
        span("emit order", f"e{number}", "client", at, at + 0.001, trace=ident, kind="producer", attributes=about),
        span(
            "process order", f"p{number}", "payments", at + 0.002 + off, at + 0.01 + off,
            trace=ident, kind="consumer", parent=f"e{number}", attributes=about, error=error,
        ),
    ]  # fmt: skip
