"""Clocks that are off. What caused what is known from the spans' parents, so a clock that says otherwise is wrong."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable

__all__ = ["TOLERANCE", "corrections"]

TOLERANCE = 0.001  # seconds; below, nobody sees it

Before = tuple[str, float, str, float]
"""One process at its time, and another at its own: the first came before the second."""


def corrections(facts: Iterable[Before], reference: str) -> dict[str, float]:
    """Seconds to add to each process's times so that every cause comes before its effect, as near to 0 as possible.

    A message bounds the difference of two clocks from one side, its answer from the other. Only processes that have to
    be corrected are named; the clock of `reference` counts as right. Where the facts contradict each other (a clock
    was set meanwhile), an effect may still come before its cause.
    """
    least: dict[tuple[str, str], float] = defaultdict(lambda: -math.inf)  # of the second's correction minus the first's
    near: dict[str, set[str]] = defaultdict(set)
    for first, cause, second, effect in facts:
        if first != second:
            least[first, second] = max(least[first, second], cause - effect)
            near[first].add(second)
            near[second].add(first)
    found = {reference: 0.0}
    for root in [reference, *sorted(near)]:
        found.setdefault(root, 0.0)
        _spread(root, near, least, found)
    return {process: seconds for process, seconds in found.items() if abs(seconds) > TOLERANCE}


def _spread(root: str, near: dict[str, set[str]], least: dict[tuple[str, str], float], found: dict[str, float]) -> None:
    """From one process to all that it is connected with; by those first whose clocks agree."""
    todo = deque([root])
    while todo:
        here = todo.popleft()
        for there in sorted(near[here] - found.keys()):
            low, high = least[here, there], -least[there, here]
            apart = 0.0 if low <= TOLERANCE and high >= -TOLERANCE else low if low > 0 else high
            found[there] = found[here] + apart
            if apart:
                todo.append(there)
            else:
                todo.appendleft(there)
