"""How a check asks a learner's function: plain data goes in, and plain data comes back, wherever the code runs.

In a notebook the function runs in a thread of the kernel. A grader hands a check an `Elsewhere` in the function's
place, and the code runs in a process that the grader does not trust. So a check never calls what it judges, never
hands it an object, and never uses an object that came from it.

Where plain data is not enough, as for a class, or a function that wants a connection, an *adapter* stands beside the
learner's code and makes plain data of it:

    def fed(decoder, pieces):
        instance = decoder()
        return [instance.feed(piece) for piece in pieces]

    answer = await ask(Decoder, [b"2#", b"{}"], via=fed)

A grader sends an adapter's source to the other process. So it is a function of its own, which imports in its body all
that it uses, and holds no expected value: the learner's code can read it.
"""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from classroom.checks.trials import TooLong, in_thread, told

__all__ = ["LIMIT", "Answer", "Elsewhere", "ask", "is_function", "not_plain"]

LIMIT = 10.0  # seconds; whoever is asked takes well under one
DEEPEST, LARGEST = 20, 1_000_000  # levels of nesting; values and characters, all together
SINGLE: tuple[type, ...] = (type(None), bool, int, float, str, bytes)


@dataclass(frozen=True)
class Answer:
    """What came of one call: a value, or the error that it raised ("ValueError", and the whole of it in a line)."""

    value: Any = None
    kind: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return self.error or repr(self.value)


class Elsewhere(ABC):
    """A function whose code runs in another process, which is not trusted."""

    @abstractmethod
    async def ask(self, *arguments: Any, limit: float, via: Callable[..., Any] | None = None) -> Answer:
        """As `ask`: the answer is plain data, whatever the other side sent."""


async def ask(function: Any, *arguments: Any, limit: float = LIMIT, via: Callable[..., Any] | None = None) -> Answer:
    """Call a learner's function, an async one too, and tell how it ended.

    Args:
        function: the function, or an `Elsewhere`. An async one gets an event loop of its own.
        arguments: plain data: None, bool, int, float, str, bytes, and lists and dicts of these. An address, not a
            connection.
        limit: seconds after which it is stopped.
        via: an adapter, called in the function's place with the function before the arguments.
    """
    if isinstance(function, Elsewhere):
        return await function.ask(*arguments, limit=limit, via=via)
    called, given = (via, (function, *arguments)) if via else (function, arguments)
    try:
        value = await in_thread(lambda: _call(called, given), limit)
    except TooLong:
        return Answer(None, "TooLong", f"no answer within {limit:g} s; it was stopped")
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit, too: it is the learner's code that raises here
        return Answer(None, type(error).__name__, told(error))
    if wrong := not_plain(value):
        return Answer(None, "TypeError", f"TypeError: it returned {wrong}, and plain data is expected")
    return Answer(value)


def is_function(thing: Any) -> bool:
    """Whether `ask` can call it."""
    return isinstance(thing, Elsewhere) or callable(thing)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    value = function(*arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value


def not_plain(value: Any) -> str:
    """What about a value is no plain data, in a few words; "" where all of it is."""
    left, stack = LARGEST, [(value, 0)]
    while stack:
        one, level = stack.pop()
        left -= len(one) if type(one) in (str, bytes) else 1
        if left < 0 or level > DEEPEST:
            return "too much"
        if type(one) in (list, tuple):
            stack += [(item, level + 1) for item in one]
        elif type(one) is dict:
            stack += [(item, level + 1) for pair in one.items() for item in pair]
        elif type(one) not in SINGLE:
            return f"a {type(one).__name__}"
    return ""
