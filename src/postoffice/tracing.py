"""OpenTelemetry spans of what clients send and services handle. Off, and next to free, until `on()`.

    send a.b     CLIENT     from the request to its answer        emit a.b     PRODUCER   until it is handed over
    process a.b  SERVER     a request, until it is answered       process a.b  CONSUMER   an event, until it is settled

A trace crosses processes as W3C `traceparent`, in the headers that the sender's own travel in; whoever does not know
it, a NestJS peer say, ignores it. Within a process it is a context variable, so that of any number of messages handled
at once each has its own, and what a handler sends becomes a child of its message.

A span is exported when it ends, which it never does in a process that is killed. So each is announced as it begins,
and again at points (points.py) of a delivery after which it may be cut off: by a span of no length, a child of the one
that it speaks for, with all that is known of it so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import messages, points
from .durable import MESSAGE_ID

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind

    from .messages import Packet
    from .pending import Waiting
    from .transports.delivery import Delivery

__all__ = ["failed", "off", "on", "receiving", "requesting", "sending"]

log = logging.getLogger("postoffice")

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PENDING = "postoffice.pending"  # the attribute of an announcement: the point that was reached
NAME, PARENT = "postoffice.name", "postoffice.parent"  # and those with its span's own name and parent
SLOW_AFTER = frozenset(["after-handler", "retried", "dead-lettered"])  # the broker may be waited for next

_tracing: _Tracing | None = None


def on(service: str, endpoint: str | None = None) -> bool:
    """Send spans of this process from now on. Whether it does: without an endpoint nothing changes.

    Args:
        service: the name of this process in traces; the environment's OTEL_SERVICE_NAME comes first.
        endpoint: where an OTLP/HTTP receiver listens (`http://127.0.0.1:4318`); None takes the environment's
            OTEL_EXPORTER_OTLP_ENDPOINT. To one on this machine, spans are written before the event loop's next turn,
            and the beginning of a handler before it is called, so that a killed process has told what it did; to
            others they go in batches, by OpenTelemetry's own exporter.

    Guarantee: never waits for the receiver. Spans that it does not take are dropped, and the log says so.
    """
    global _tracing
    endpoint = endpoint or os.environ.get(ENDPOINT)
    if not endpoint:
        return False
    off()
    try:
        _tracing = _Tracing(service, endpoint)
    except ImportError as error:
        log.warning("no spans are sent to %s: %s. Install opentelemetry-sdk and its OTLP exporter", endpoint, error)
        return False
    points.watchers.insert(0, _tracing.reached)  # first: a fault that comes later may end this process
    return True


def off() -> None:
    """Send what is left, a second at most, and no more from now on."""
    global _tracing
    if _tracing is not None:
        points.watchers.remove(_tracing.reached)
        _tracing.provider.shutdown()
        _tracing = None


def sending(verb: str, transport: str, address: str, headers: Mapping[str, str] | None) -> Any:
    """Around what is sent, as a context manager: gives the headers to send, with `traceparent` when tracing is on."""
    if _tracing is None:
        return contextlib.nullcontext(headers)
    return Sending(_tracing, verb, transport, address, (headers or {}).get(MESSAGE_ID), headers)


def requesting(transport: str, waiting: Waiting, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The same for a request whose answer is awaited: its span ends when the answer is there, or will not come."""
    if _tracing is None:
        return headers
    sent = Sending(_tracing, "send", transport, waiting.route, waiting.id, headers)
    waiting.future.add_done_callback(sent.ended)
    return sent.headers


def receiving(delivery: Delivery, transport: str, packet: Packet) -> Receiving | _Untraced:
    """Around the start of a delivery's work: what is started inside has its span."""
    return _OFF if _tracing is None else Receiving(_tracing, delivery, transport, packet)


def failed(error: BaseException) -> None:
    """Note in the current message's span that its handler raised this."""
    if _tracing is not None:
        _tracing.failed(_tracing.current(), error)


class _Tracing:
    """What is there while tracing is on."""

    def __init__(self, service: str, endpoint: str) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation import tracecontext

        from .tracing_export import exporter

        name = os.environ.get("OTEL_SERVICE_NAME") or service
        given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        own = {} if "service.instance.id=" in given else {"service.instance.id": str(os.getpid())}
        self.api = trace
        self.exporter = exporter(endpoint)
        resource = Resource.create({"service.name": name, "process.pid": os.getpid(), **own})
        self.provider = TracerProvider(resource=resource)
        self.provider.add_span_processor(self.exporter)
        self.tracer = self.provider.get_tracer("postoffice")
        self.current: Callable[[], Span] = trace.get_current_span
        self.deliveries: dict[int, Span] = {}  # by id(): of those under way
        self.w3c = tracecontext.TraceContextTextMapPropagator()

    def begin(self, name: str, kind: SpanKind, attributes: dict[str, Any], headers: Mapping[str, Any] = {}) -> Span:
        """A span that has begun, and is announced; the child of the headers' one, else of the current one."""
        carrier = {key: headers[key] for key in ("traceparent", "tracestate") if isinstance(headers.get(key), str)}
        parent = self.w3c.extract(carrier) if carrier else None
        span = self.tracer.start_span(name, parent, kind, {k: v for k, v in attributes.items() if v is not None})
        self.announce(span, "begun")
        return span

    def announce(self, span: Any, point: str) -> None:
        """Export what is known of a span that has not ended."""
        from opentelemetry.sdk.trace import ReadableSpan

        if not span.is_recording():
            return
        context = span.get_span_context()
        own = self.api.SpanContext(
            context.trace_id, self.provider.id_generator.generate_span_id(), False, context.trace_flags
        )
        parent = f"{span.parent.span_id:016x}" if span.parent else ""
        known = {**span.attributes, PENDING: point, NAME: span.name, PARENT: parent}
        snapshot = ReadableSpan(
            point,
            own,
            parent=context,
            resource=span.resource,
            attributes=known,
            events=span.events,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.start_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        self.exporter.on_end(snapshot)

    def reached(self, point: points.Point, delivery: Delivery) -> None:
        """A delivery's span notes the point. Where others watch, they may end this process: it is sent at once."""
        span = self.deliveries.get(id(delivery))
        if span is None:
            return
        span.add_event(point, {"postoffice.attempt": delivery.attempt})
        if len(points.watchers) > 1:
            self.announce(span, point)
            self.exporter.force_flush(0)
        elif point in SLOW_AFTER:
            self.announce(span, point)

    def failed(self, span: Span, error: BaseException) -> None:
        description = f"{type(error).__name__}: {error}"[:500]
        span.set_status(self.api.Status(self.api.StatusCode.ERROR, description))
        span.set_attribute("error.type", type(error).__name__)


class Sending:
    """The span of a `send` or an `emit`. As a context manager it gives `headers`, and ends with its block."""

    def __init__(
        self,
        tracing: _Tracing,
        verb: str,
        transport: str,
        address: str,
        message_id: str | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        kind = tracing.api.SpanKind.PRODUCER if verb == "emit" else tracing.api.SpanKind.CLIENT
        attributes = _attributes(transport, address, verb, "send", message_id)
        self._tracing = tracing
        self._span = tracing.begin(f"{verb} {address}", kind, attributes)
        self.headers = dict(headers or {})
        tracing.w3c.inject(self.headers, tracing.api.set_span_in_context(self._span))

    def __enter__(self) -> dict[str, str]:
        return self.headers

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.end(error)

    def ended(self, answer: asyncio.Future[Any]) -> None:
        """The answer has come, or will not."""
        self.end(asyncio.CancelledError("nobody waits any more") if answer.cancelled() else answer.exception())

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            self._tracing.failed(self._span, error)
        self._span.end()


class Receiving:
    """The span of a delivery: current for what is started inside its block, ended with the work."""

    def __init__(self, tracing: _Tracing, delivery: Delivery, transport: str, packet: Packet) -> None:
        is_request = bool(bytes(packet.id))
        kind = tracing.api.SpanKind.SERVER if is_request else tracing.api.SpanKind.CONSUMER
        headers = delivery.headers or messages.metadata(packet)
        request_id = messages.decode(packet.id)
        identity = delivery.message_id or headers.get(MESSAGE_ID) or request_id or delivery.correlation_id
        address = delivery.address or delivery.route or "(no pattern)"
        attributes = _attributes(transport, address, "process", "process", identity)
        attributes["messaging.message.conversation_id"] = delivery.correlation_id
        attributes["postoffice.attempt"] = delivery.attempt
        self._tracing, self._delivery = tracing, delivery
        self._span = tracing.begin(f"process {address}", kind, attributes, headers)
        tracing.deliveries[id(delivery)] = self._span
        tracing.exporter.force_flush(0)  # the handler may end this process, or hold it
        self._current = tracing.api.use_span(self._span)

    def __enter__(self) -> Receiving:
        self._current.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._current.__exit__(None, None, None)

    def ends_with(self, work: asyncio.Task[None]) -> None:
        """The delivery is done with when this task is."""
        if work.done():
            self._end(work)
        else:
            work.add_done_callback(self._end)

    def _end(self, work: asyncio.Task[Any]) -> None:
        self._tracing.deliveries.pop(id(self._delivery), None)
        if work.cancelled():
            self._tracing.failed(self._span, asyncio.CancelledError("the service was stopped"))
        self._span.end()


class _Untraced:
    """What stands for it while tracing is off."""

    def __enter__(self) -> _Untraced:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ends_with(self, work: asyncio.Task[None]) -> None:
        pass


_OFF = _Untraced()


def _attributes(transport: str, address: str, name: str, kind: str, message_id: object) -> dict[str, Any]:
    """As OpenTelemetry's conventions for messaging name them."""
    return {
        "messaging.system": transport.lower(),
        "messaging.destination.name": address,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.message.id": None if message_id is None else str(message_id),
    }
