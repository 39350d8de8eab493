"""A handler is called: with nothing, with the data, or with the data and the context."""

from __future__ import annotations

from typing import Any

from . import deadlines, messages, points
from .context import Context
from .durable import MESSAGE_ID
from .handlers import Handler
from .messages import Packet
from .transports.base import Call, Delivery

__all__ = ["call", "run"]


async def run(handler: Handler, packet: Packet, delivery: Delivery, transport: str) -> None:
    """Run a handler to its end where nobody wants its values."""
    result = await call(handler, packet, delivery, transport)
    if handler.is_stream:
        async for _ in result:
            pass


async def call(handler: Handler, packet: Packet, delivery: Delivery, transport: str) -> Any:
    """The handler's result, or for a stream its generator."""
    points.reached("before-handler", delivery)
    data = delivery.data if isinstance(delivery, Call) else packet.data
    if not handler.parameters:
        result = handler.function()
    elif not handler.wants_context:
        result = handler.function(handler.decode(data))
    else:
        result = handler.function(handler.decode(data), _context(handler, packet, delivery, transport))
    return result if handler.is_stream else await result


def _context(handler: Handler, packet: Packet, delivery: Delivery, transport: str) -> Context:
    headers = delivery.headers or messages.metadata(packet)
    identity = delivery.correlation_id or (str(messages.decode(packet.id)) if bytes(packet.id) else None)
    return Context(
        pattern=delivery.address or handler.route,
        headers=headers,
        correlation_id=identity,
        attempt=delivery.attempt,
        transport=transport,
        raw=delivery.raw,
        deadline=deadlines.current(),
        message_id=delivery.message_id or headers.get(MESSAGE_ID) or identity,
    )
