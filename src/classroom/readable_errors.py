"""Errors as a reader of a notebook needs them: first what happened and what to do, then the line of the cell.

Errors that come out of this course's packages or of a broker's driver are shown without the frames in between, which
are not the reader's; `%tb` shows them all. All other errors look as ever.
"""

from __future__ import annotations

import linecache
import sys
from types import CoroutineType, TracebackType
from typing import Any

__all__ = ["hint", "register"]

LIBRARIES = ("postoffice", "classroom", "aio_pika", "aiormq")
NOT_AWAITED = (
    "`await` is missing before the call that gave this: a coroutine does nothing until it is awaited."
    " For example: client = await Client.connect(...)"
)
HINTS = {
    "AMQPConnectionError": "Nobody answers there. Is the broker up? Ask rabbit.state; await rabbit.restart()",
    "ChannelInvalidStateError": (
        "This channel is closed: RabbitMQ closes a channel at its first error, and all of them when it ends itself."
        " Open another one: channel = await connection.channel()"
    ),
    "ChannelNotFoundEntity": (
        "There is no queue or exchange of that name; is it spelt right, and declared? RabbitMQ has closed the channel"
        " on which you asked. Open another one: channel = await connection.channel()"
    ),
    "ChannelPreconditionFailed": (
        "It exists already with other properties, and a queue keeps those that it was made with. Take another name, or"
        " delete it, with all that is in it. RabbitMQ has closed the channel: channel = await connection.channel()"
    ),
    "QueueEmpty": "No letter waits in this queue. It may be handed out already, or not have come: get(fail=False).",
}


def hint(error: BaseException) -> str:
    """What to do about an error whose own words do not say it; "" for all others."""
    if isinstance(error, (AttributeError, TypeError)) and str(error).startswith("'coroutine' object"):
        return NOT_AWAITED
    return HINTS.get(type(error).__name__, "") if _module(error).startswith(LIBRARIES[2:]) else ""


def register(shell: Any) -> None:
    """Have an IPython shell show errors so, and coroutines that nobody has awaited."""
    shell.set_custom_exc((Exception,), _show)
    shell.display_formatter.formatters["text/plain"].for_type(CoroutineType, _coroutine)


def _show(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: Any = None
) -> None:
    advice = hint(error)
    if hasattr(error, "_render_traceback_") or not (advice or _from_a_library(trace)):
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # what %tb shows
    lines = [f"{kind.__name__}: {error}", *([advice] if advice else []), "", *_cells(shell, trace)]
    shell._showtraceback(kind, error, lines)


def _from_a_library(trace: TracebackType) -> bool:
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in LIBRARIES


def _cells(shell: Any, trace: TracebackType | None) -> list[str]:
    """The lines of cells among the frames."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if trace.tb_frame.f_globals is shell.user_module.__dict__:
            name = " ".join(shell.compile.format_code_name(code.co_filename) or ("", code.co_filename))
            source = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            found.append(f"{name}, line {trace.tb_lineno}:  {source}")
        trace = trace.tb_next
    return [*found, "(%tb shows the way from there through the library.)"]


def _module(error: BaseException) -> str:
    return type(error).__module__


def _coroutine(coroutine: CoroutineType[Any, Any, Any], printer: Any, cycle: bool) -> None:
    name = coroutine.__qualname__
    printer.text(f"{name}(...) has not begun: `await` is missing before it. It does nothing until it is awaited.")
