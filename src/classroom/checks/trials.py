"""How a check runs code that it does not trust to end, to return, or to raise what it should."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from classroom.checks.result import Condition

T = TypeVar("T")
TRIAL_LIMIT = 10.0  # seconds; every trial takes well under one when the code ends at all


class TooLong(BaseException):
    """Raised inside code that did not end; a BaseException, so that `except Exception` does not stop it."""


class Unanswered(Exception):
    """The learner's code gave no answer: it raised, or did not end."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Answered(Protocol):
    """How a call ended."""

    @property
    def value(self) -> Any: ...
    @property
    def kind(self) -> str: ...
    @property
    def error(self) -> str: ...


def value_of(answer: Answered) -> Any:
    """What a call returned. Raises Unanswered when it did not return."""
    if answer.kind:
        raise Unanswered(answer.kind, answer.error)
    return answer.value


async def attempt(text: str, trial: Callable[..., Awaitable[Condition]], *arguments: Any) -> Condition:
    """Run one trial; what the learner's code raised becomes a failed condition that says what to do.

    Args:
        text: what must hold, for the condition.
        trial: called with `arguments`; it asks the learner's code.
    """
    try:
        return await trial(*arguments)
    except Unanswered as error:
        if error.kind == "TooLong":
            return Condition(text, False, "an answer", f"none within {TRIAL_LIMIT:g} s; it was stopped", LOOPS)
        hint = "write this part first." if error.kind == "NotImplementedError" else BY_HAND
        return Condition(text, False, "an answer", str(error), hint)


BY_HAND = "run the cell, call it by hand, read the error."
LOOPS = "look for a loop that waits for bytes: with an incomplete frame, leave the loop and return."


def told(error: BaseException) -> str:
    """An error in a line, with the line of the learner's code it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ipykernel" in frame.filename]
    place = f" (line {frames[-1].lineno} of your cell: {frames[-1].line})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


async def in_thread(work: Callable[[], T], limit: float | None = None) -> T:
    """Run `work` in a daemon thread, so that even code that cannot be stopped does not hold up the kernel.

    Raises TooLong after `limit` seconds (by default `TRIAL_LIMIT`), and whatever `work` raises.
    """
    future: Future[T] = Future()

    def body() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=body, name="check", daemon=True)
    thread.start()
    waiting = asyncio.wrap_future(future)
    await asyncio.wait({waiting}, timeout=TRIAL_LIMIT if limit is None else limit)
    if not waiting.done():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TooLong))
        await asyncio.wait({waiting}, timeout=1)
    if not waiting.done():
        raise TooLong
    return await waiting
