"""Named points in the life of a delivery, where others may watch: tracing notes them, a fault crashes at one.

    received        it has come in
    before-handler  its handler is about to be called
    after-handler   the handler has finished well; nothing is acknowledged or answered yet
    acked           it is acknowledged
    replied         the last packet of its answer has been handed over (requests only)
    retried         a copy for a later attempt is stored; the original is not acknowledged yet
    dead-lettered   a copy is in the dead-letter queue; the original is not acknowledged yet
    rejected        it failed and was given up (at most once)

Some brokers store the copy and acknowledge the original in one step; there `retried` and `dead-lettered` come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .transports.base import Delivery

__all__ = ["Point", "reached", "watchers"]

Point = Literal[
    "received", "before-handler", "after-handler", "acked", "replied", "retried", "dead-lettered", "rejected"
]

watchers: list[Callable[[Point, Delivery], None]] = []
"""Called in turn, on the event loop, at every point. They must be quick, and must not raise."""


def reached(point: Point, delivery: Delivery) -> None:
    """Tell the watchers."""
    for watch in watchers:
        watch(point, delivery)
