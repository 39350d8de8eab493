"""What the kernel itself sees of the processes it starts: their start, their end, a pause. Light: always imported."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["environment", "mark", "watchers"]

endpoint: str | None = None
"""Where services send their spans; None while nobody observes."""

watchers: list[Callable[[float, str, str, str], None]] = []
"""Called with unix time, process, what and detail; from any thread."""


def environment(service: str, instance: object) -> dict[str, str]:
    """What a process needs in its environment to be observed; {} while nobody does."""
    if endpoint is None:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={instance}",
    }


def mark(process: str, what: str, detail: str = "", at: float | None = None) -> None:
    """Note that something happened to a process: "started", "killed", "crashed", "stopped", "paused", "resumed".

    Args:
        process: the service's name, with a space and the replica's number behind it, or a broker's name.
        at: when, in unix seconds; now, if None.
    """
    for watch in watchers:
        watch(time.time() if at is None else at, process, what, detail)
