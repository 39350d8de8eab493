"""What a service cell asks for, as data, and the error of what it cannot have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from classroom.keeper_link import Child

__all__ = ["Plan", "Runner", "ServiceError", "queue_options"]

MOST_PREFETCH = 65_535  # AMQP has two bytes for it


class ServiceError(Exception):
    """A service cell cannot be run, or its process is not there. The message says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook: the message alone, since the frames in between are ours, not the reader's."""
        return [f"{type(self).__name__}: {self}"]


def queue_options(
    delivery: str, prefetch: int | None = None, quorum: bool = False, exchange: str | None = None
) -> tuple[str, ...]:
    """What `postoffice run` is told of the queue, word by word. Raises ServiceError for what cannot be."""
    for name, given in (("prefetch", prefetch is not None), ("quorum", quorum)):
        if given and delivery == "at-most-once":
            raise ServiceError(
                f"%%service: {name} is about messages that wait for their acknowledgement, and at most once none does."
                " Add to its cell: --delivery at-least-once"
            )
    if prefetch is not None and not 1 <= prefetch <= MOST_PREFETCH:
        raise ServiceError(f"%%service: prefetch takes 1 to {MOST_PREFETCH:,} messages, not {prefetch:,}")
    words = ["--prefetch", str(prefetch)] if prefetch else []
    words += ["--quorum"] if quorum else []
    words += ["--exchange", exchange] if exchange else []
    return tuple(words)


class Runner(Protocol):
    """Who starts a service's processes in another way than as children of this kernel, such as in a sandbox."""

    def spawn(
        self,
        service: str,
        number: int,
        program: Sequence[str],
        *,
        environment: dict[str, str],
        log: Path,
        shown: Sequence[Path],
        ports: Sequence[int],
    ) -> Child:
        """Start a replica: `program` are the words behind `python`, `shown` what it reads, `ports` where it serves."""

    def crash(
        self,
        name: str,
        replicas: Callable[[], Sequence[Any]],
        bring_back: Callable[[], Awaitable[None]],
        plan: dict[str, Any],
    ) -> Any:
        """A crash at a point of its work, as `ServiceHandle.crash_at` returns it."""


@dataclass(frozen=True)
class Plan:
    """What a cell asks for: its code and its options. `broker_url` gives None for TCP and gRPC, which need none."""

    source: str
    on: str
    broker_url: Callable[[], str | None]
    delivery: str
    group: str | None
    replicas: int
    http: bool
    proto: str | None = None  # the absolute path of the .proto file (gRPC)
    queue: tuple[str, ...] = ()  # options of the queue, as `postoffice run` takes them
    runner: Runner | None = None  # None: processes of this kernel
