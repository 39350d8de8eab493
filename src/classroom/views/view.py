"""What every view is: a page made from what it sees, shown as text, as HTML and, in a notebook, alive.

A view looks again only while a browser shows it. Looking, and what buttons do, runs on the services' loop, so it goes
on while a cell waits; nothing of it outlives the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace
from typing import Any

from classroom.service_fleet import services_loop
from classroom.views.page import Page

__all__ = ["Press", "View", "called", "shell"]

FIRST_LOOK = 2.0  # seconds that a cell waits for the first look
MOST_LIVE = 40  # views of a notebook that are alive; of more, the oldest stand still
EVERY = 0.2  # seconds between two looks


def shell() -> Any:
    """The notebook's shell; None where no notebook runs."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def called(thing: object, otherwise: str) -> str:
    """What the notebook calls this very object: a variable, or a place in a list; else the second argument."""
    names = getattr(shell(), "user_ns", {})
    mine = {name: value for name, value in [*names.items()] if not name.startswith("_")}
    found = [name for name, value in mine.items() if value is thing]
    lists = ((name, value) for name, value in mine.items() if isinstance(value, list))
    found += [f"{name}[{at}]" for name, value in lists for at, one in enumerate(value) if one is thing]
    return found[0] if found else otherwise


class Press:
    """A control was used: `act` names it, `arg` is its value, `typed` what stands in the text fields."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.act = str(message.get("act"))
        self.arg = str(message.get("arg") or "")
        typed = message.get("values")
        self.typed = {str(key): str(value) for key, value in typed.items()} if isinstance(typed, dict) else {}


class View:
    """A view. Its kinds give `page()`, `look()` and `verbs`."""

    name = "view"
    every = EVERY

    def __init__(self) -> None:
        self.verbs: dict[str, Callable[[Press], Awaitable[None]]] = {}
        self.settings: set[str] = set()  # those verbs that choose a value, rather than do something once
        self._next: Press | None = None
        self.busy = ""  # what is being done
        self._trouble = ("", "")
        self._widget: Any = None
        self._watched = 0
        self._watch: asyncio.Task[None] | None = None
        self._acts: set[asyncio.Task[None]] = set()
        self._eyes = asyncio.Lock()  # of the services' loop

    # each kind's own

    def page(self) -> Page:
        """What was last seen."""
        raise NotImplementedError

    async def look(self) -> None:
        """See what there is now. On the services' loop; what it raises is shown."""

    async def leave(self) -> None:
        """Let go of what looking needs. On the services' loop."""

    # for readers

    def shown(self) -> Page:
        """What was last seen, what is being done, and what went wrong."""
        page, (trouble, trace) = self.page(), self._trouble
        status = f"{page.status} · {self.busy} …" if self.busy else page.status
        return replace(page, status=status, trouble=trouble or page.trouble, traceback=trace or page.traceback)

    def __repr__(self) -> str:
        self._look_first()
        return self.shown().text()

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, Any]:
        self._look_first()
        data: dict[str, Any] = {"text/plain": self.shown().text()}
        data["text/html"] = f"<div>{self.shown().html(live=False)}</div>"
        if hasattr(shell(), "kernel"):
            from classroom.views.widget import ViewWidget

            self.close()
            _take_its_place(self)
            page = self.shown()
            self._widget = ViewWidget(html=page.html(live=True), label=page.title)
            self._widget.ident = self._widget.model_id
            self._widget.on_msg(self._heard)
            bundle = self._widget._repr_mimebundle_() or {}
            widget = bundle[0] if isinstance(bundle, tuple) else bundle
            data |= {kind: value for kind, value in widget.items() if kind not in data}
        return data

    def close(self) -> None:
        """Stand still from now on."""
        if self._widget is not None:
            self._widget.on_msg(self._heard, remove=True)
            self._widget = None
            _post(self._rest)

    def _look_first(self) -> None:
        """Look at once, for a reader who sees the page now; what is slow is seen later, or said."""
        looked: Future[None] = asyncio.run_coroutine_threadsafe(self._look_once(), services_loop())
        with contextlib.suppress(TimeoutError):
            looked.result(FIRST_LOOK)

    # on the services' loop

    def _heard(self, widget: object, content: Any, buffers: object) -> None:
        """From any thread: a cell may be waiting in the notebook's own."""
        _post(lambda: self._obey(widget, content))

    def _obey(self, widget: object, content: Any) -> None:
        if widget is not self._widget or not isinstance(content, dict):
            return
        act = content.get("act")
        if act in ("shown", "hidden"):
            self._watched = max(0, self._watched + (1 if act == "shown" else -1))
            if not self._watched:
                self._rest()
            elif self._watch is None:
                self._watch = asyncio.get_running_loop().create_task(self._keep_looking())
        else:
            task = asyncio.get_running_loop().create_task(self._act(Press(content)))
            self._acts.add(task)
            task.add_done_callback(self._acts.discard)

    def _rest(self) -> None:
        self._watched = 0 if self._widget is None else self._watched
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _keep_looking(self) -> None:
        try:
            while True:
                await self._look()
                self.refresh()
                await asyncio.sleep(self.every)
        finally:
            await self.leave()

    async def _look_once(self) -> None:
        await self._look()
        if self._watch is None:
            await self.leave()

    async def _look(self) -> None:
        try:
            async with self._eyes:
                await self.look()
        except Exception as error:  # a view that cannot see says so
            self._fail("it cannot be seen now", error)

    async def _act(self, press: Press) -> None:
        """One thing at a time; what goes wrong stands in the view, since nobody sees a callback's error."""
        if press.act not in self.verbs:
            return
        if self.busy:  # a button pressed twice means once; of a slider's or a list's values, the last counts
            self._next = press if press.act in self.settings else self._next
            return
        self.busy, self._trouble = press.act, ("", "")
        self.refresh()
        try:
            await self.verbs[press.act](press)
        except Exception as error:
            self._fail(f"{press.act} did not work", error)
        finally:
            self.busy = ""
        await self._look()
        self.refresh()
        after, self._next = self._next, None
        if after is not None:
            await self._act(after)

    def _fail(self, what: str, error: Exception) -> None:
        said = str(error).strip() or "it says no more"
        self._trouble = (f"{what}. {type(error).__name__}: {said}", "".join(traceback.format_exception(error)))

    def refresh(self) -> None:
        """Show what is new, if anything is."""
        if self._widget is not None:
            html = str(self.shown().html(live=True))
            if html != self._widget.html:
                self._widget.html = html


def _post(work: Callable[[], None]) -> None:
    """To the services' loop, in an empty context: this cell's would make it the parent of all later updates."""
    Context().run(services_loop().call_soon_threadsafe, work)


_live: list[tuple[str, View]] = []  # the cell, and its view; oldest first


def _take_its_place(view: View) -> None:
    """A cell that is run again replaces what it showed before."""
    cell = ""
    with contextlib.suppress(AttributeError, LookupError, TypeError):
        cell = f"{shell().get_parent()['metadata']['cellId']} {view.name}"
    for one in [one for one in _live if one[1] is view or (cell and one[0] == cell)] + _live[: -MOST_LIVE + 1]:
        if one in _live:
            _live.remove(one)
            one[1].close()
    _live.append((cell, view))
