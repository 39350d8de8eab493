"""When a failed event is tried again: exponential backoff with jitter, in steps that every broker can keep."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from .errors import PermanentError, UsageError

__all__ = ["Retry"]

STEPS = 4  # how many delays jitter chooses from: RabbitMQ and Kafka need a queue or topic for each


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which delays, an event is tried again whose handler raised.

    The delay before attempt n + 1 is `initial * factor ** (n - 1)` seconds, at most `max`; jitter takes away up to
    that part of it, in one of four even steps, so that messages that failed together do not come back together.
    jitter=1 is what Brooker calls full jitter and 0.5 equal jitter ("Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015). The waiting is the broker's: no handler is held up, and a service may die meanwhile.

    Args:
        attempts: how often the handler is called at most, the first time included. After the last one the event goes
            to the dead-letter queue.
        initial: seconds before the second attempt. factor: by how much each delay is longer. max: seconds at most.
        jitter: 0 (none) to 1.
        on: the errors after which trying again may help. Any other one, a PermanentError and an invalid payload go
            to the dead-letter queue at once.

    Raises:
        UsageError: a number that makes no sense.
    """

    attempts: int = 5
    initial: float = 0.2
    factor: float = 2.0
    max: float = 30.0
    jitter: float = 0.5
    on: tuple[type[Exception], ...] | type[Exception] = (Exception,)

    def __post_init__(self) -> None:
        good = (
            isinstance(self.attempts, int) and 1 <= self.attempts <= 100,
            0 < self.initial <= self.max < math.inf,
            1 <= self.factor < math.inf,
            0 <= self.jitter <= 1,
        )
        if not all(good):
            raise UsageError(
                f"{self!r} makes no sense: attempts is 1 to 100, initial more than 0 and at most max (seconds),"
                " factor at least 1, jitter 0 to 1."
            )

    def covers(self, error: BaseException) -> bool:
        """Whether trying again may help after this error."""
        return isinstance(error, self.on) and not isinstance(error, PermanentError)

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float | None:
        """Seconds to wait after the failed attempt of this number (1 is the first); None when it was the last.

        `draw` gives a number from 0 up to 1.
        """
        if attempt >= self.attempts:
            return None
        choices = self._choices(attempt)
        return choices[min(int(draw() * len(choices)), len(choices) - 1)]

    def delays(self) -> tuple[float, ...]:
        """Every delay that may come up, in seconds, shortest first."""
        return tuple(sorted({one for attempt in range(1, self.attempts) for one in self._choices(attempt)}))

    def _choices(self, attempt: int) -> list[float]:
        try:
            longest = min(self.initial * self.factor ** (attempt - 1), self.max)
        except OverflowError:
            longest = self.max
        steps = range(STEPS if self.jitter else 1)
        parts = (longest * (1 - self.jitter * step / (STEPS - 1)) for step in steps)
        return [max(round(part, 3), 0.001) for part in parts]
