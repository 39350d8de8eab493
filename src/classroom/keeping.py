"""A supervisor for one service, as systemd and Kubernetes have them: whoever crashes is started again."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Protocol, Self

from classroom.service_plan import ServiceError

__all__ = ["KeptUp"]

POLL = 0.02  # seconds between two looks


class Service(Protocol):
    """What can crash and be started again."""

    @property
    def state(self) -> str: ...
    async def restart(self) -> None: ...


class KeptUp:
    """`async with stamps.kept_up() as kept:` while the block runs, a crash is answered by a start, at once.

    `kept.crashes` counts them. What was killed or stopped by hand stays down.
    """

    def __init__(self, service: Service) -> None:
        self.service, self.crashes = service, 0

    async def _watch(self) -> None:
        while True:
            if self.service.state == "crashed":
                self.crashes += 1
                with contextlib.suppress(ServiceError):  # it has crashed again already
                    await self.service.restart()
            await asyncio.sleep(POLL)

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching

    def __repr__(self) -> str:
        return f"started again after {self.crashes:,} crash{'es'[: 2 * (self.crashes != 1)]}"
