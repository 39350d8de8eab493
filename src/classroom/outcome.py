"""How a call ended: with an answer, or with an error that says whether the work may have happened."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from postoffice.errors import PostOfficeError, RpcError


@dataclass(frozen=True)
class Outcome:
    """The end of one call: its answer or its error, and how long that took in milliseconds."""

    answer: Any
    error: PostOfficeError | None
    ms: float

    def __repr__(self) -> str:
        if self.error is None:
            return f"answered {self.answer!r} after {self.ms:.1f} ms"
        if isinstance(self.error, RpcError):
            return f"RpcError after {self.ms:.1f} ms: {self.error}"
        may = "it MAY have happened" if self.error.may_have_happened else "it did not happen"
        return f"{type(self.error).__name__} after {self.ms:.1f} ms; {may}"


async def outcome(call: Awaitable[Any]) -> Outcome:
    """Await a call and tell how it ended; errors of `postoffice` are part of the answer, all others are raised."""
    began = time.perf_counter()
    answer, failure = None, None
    try:
        answer = await call
    except PostOfficeError as error:
        failure = error
    return Outcome(answer, failure, (time.perf_counter() - began) * 1000)
