"""What a reader holds: the spans of all processes since `observe()`, and the pictures of them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from classroom import marks
from classroom.events import Event
from classroom.observe import spacetime
from classroom.observe import waterfall as waterfalls
from classroom.observe.picture import Picture, seconds, shortened
from classroom.observe.receiver import Receiver
from classroom.observe.spans import Span, Store
from classroom.observe.story import Story, of_events, of_spans, processes
from classroom.service_fleet import services_loop
from postoffice import tracing

__all__ = ["Observed", "observe", "timeline"]

T = TypeVar("T")
COMPLETE_LIMIT = 5.0  # seconds
SEEN_LIMIT = 30.0  # seconds
POLL = 0.02  # seconds between two looks
LISTED = 20  # traces
_the_one: Observed | None = None


class Observed:
    """Spans of this kernel and of every service that it started since. Get it by `await observe()`."""

    def __init__(self, store: Store, receiver: Receiver, endpoint: str) -> None:
        self.store, self.endpoint = store, endpoint
        self._receiver = receiver

    def spans(self) -> list[Span]:
        """All that is kept, oldest first; the kernel's marks of its processes among them, without a trace."""
        return self.store.spans()

    def story(self) -> Story:
        """The same as processes, events, pieces of work, and messages between them."""
        return of_spans(self.spans())

    def events(self, message: str | None = None) -> list[Event]:
        """What happened, in the order of time; with a message's id, only what happened to it."""
        return [one for one in self.story().events if message in (None, one.message)]

    def waterfall(self, ident: str | None = None) -> Picture:
        """The waterfall of one trace: the one of this id (or its beginning), or of this message; the last one if None.

        Raises KeyError when there is none.
        """
        traces = self._traces()
        if ident is None and traces:
            return waterfalls.draw(list(traces.values())[-1], processes(self.spans()))
        for trace, spans in traces.items():
            if ident and (trace.startswith(ident) or any(one.message == ident for one in spans)):
                return waterfalls.draw(spans, processes(self.spans()))
        raise KeyError(f"no trace of {ident!r} is among the {len(traces)} that are kept" if ident else self._nothing())

    def timeline(
        self,
        message: str | Iterable[str] | None = None,
        *,
        start: float | None = None,
        end: float | None = None,
        to_scale: bool = False,
    ) -> Picture:
        """The space-time diagram: of all, of a message's or several messages' ids, or of a part of the time.

        Args:
            start, end: unix seconds; negative ones count from now (`start=-10`: the last ten seconds).
            to_scale: as long as it took; otherwise long waits are drawn shorter, so that all events stay apart.
        """
        wanted = {message} if isinstance(message, str) else None if message is None else {*message}
        story = self.story().only(wanted, _moment(start), _moment(end))
        if self.store.dropped:
            story.notes.append(f"the oldest {self.store.dropped:,} spans are gone: only {self.store.limit:,} are kept")
        return spacetime.draw(story, f"message {message}" if isinstance(message, str) else "", to_scale)

    async def complete(self, limit: float = COMPLETE_LIMIT) -> bool:
        """Wait until no span is under way in a process that lives, and every sender is known; `limit` seconds at most.

        Whether it is so. It is not while a message waits for its next attempt to be made: that is no span.
        """
        loop = asyncio.get_running_loop()
        end, before = loop.time() + limit, -1
        while not (settled := self._settled()) or before != self.store.taken:
            if loop.time() >= end:
                return settled
            before = self.store.taken
            await asyncio.sleep(POLL)
        return True

    async def seen(self, messages: str | Iterable[str], what: str, limit: float = SEEN_LIMIT) -> None:
        """Wait until each of these messages has had an event of this kind, such as "acknowledged" or "dead-lettered".

        Raises TimeoutError after `limit` seconds, with what was seen of the first one that is missing.
        """
        wanted, loop = {messages} if isinstance(messages, str) else {*messages}, asyncio.get_running_loop()
        end = loop.time() + limit
        while missing := wanted - {one.message for one in self.events() if one.what == what}:
            if loop.time() >= end:
                first = min(missing)
                so_far = ", ".join(one.what for one in self.events(first)) or "nothing"
                raise TimeoutError(
                    f"{len(missing):,} of {len(wanted):,} messages were not {what} within {limit:g} s."
                    f" Of {first!r} was seen: {so_far}. Is its service up, and was it started after `await observe()`?"
                )
            await asyncio.sleep(POLL)

    def _settled(self) -> bool:
        spans = self.spans()
        known = {(one.trace, one.id) for one in spans}
        ended: dict[tuple[str, str], float] = defaultdict(float)
        for one in spans:
            if not one.trace and one.name in ("killed", "crashed", "stopped"):
                ended[one.service, one.instance] = one.start
        return all(
            (one.end is not None or one.start <= ended[one.service, one.instance])
            and (not one.parent or one.kind == "client" or (one.trace, one.parent) in known)
            for one in spans
            if one.trace
        )

    def _traces(self) -> dict[str, list[Span]]:
        traces: dict[str, list[Span]] = defaultdict(list)
        for one in self.spans():
            if one.trace:
                traces[one.trace].append(one)
        return traces

    def _nothing(self) -> str:
        return (
            "no span has come yet. Services tell what they do if they were started after `await observe()`:"
            " restart those that were up before"
        )

    def clear(self) -> None:
        """Forget all; go on observing."""
        self.store = self._receiver.store = Store(self.store.limit)

    async def stop(self) -> None:
        """Observe no more: the kernel sends no spans, services started from now on neither."""
        global _the_one
        tracing.off()
        marks.endpoint = None
        marks.watchers[:] = [one for one in marks.watchers if one != self._mark]
        await _on_services_loop(self._receiver.stop())
        _the_one = None if _the_one is self else _the_one

    def _mark(self, at: float, process: str, what: str, detail: str) -> None:
        """The kernel saw it: the process itself could not tell."""
        service, _, instance = process.partition(" ")
        self.store.add(
            [Span("", f"mark {self.store.taken}", "", what, "internal", service, instance, at, at, {"detail": detail})]
        )

    def __repr__(self) -> str:
        traces = self._traces()
        names = processes(self.spans())
        dropped = f", the oldest {self.store.dropped:,} dropped" if self.store.dropped else ""
        refused = f", {self.store.refused:,} requests refused" if self.store.refused else ""
        lines = [f"{len(self.store):,} spans of {len(traces):,} traces and {len(names)} processes{dropped}{refused}"]
        for trace, spans in list(traces.items())[-LISTED:]:
            first = min(spans, key=lambda one: one.start)
            length = max((one.end or one.start) for one in spans) - first.start
            failed = f", {count} failed" if (count := sum(bool(one.error) for one in spans)) else ""
            lines.append(
                f"  {trace[:8]}  {shortened(first.name, 40):<40}  {len(spans)} spans, {seconds(length)}{failed}"
            )
        if not traces:
            lines.append(self._nothing())
        return "\n".join(lines)


async def observe(limit: int | None = None) -> Observed:
    """Gather spans from now on: of this kernel's clients, and of every service started from now on.

    Run again, it begins anew with nothing seen, on the same address. It takes at most `limit` spans (100,000 if
    None), then drops the oldest and says how many.
    """
    global _the_one
    if _the_one is not None:
        if limit is not None:
            _the_one.store.limit = limit
        _the_one.clear()
        return _the_one
    store = Store(limit) if limit else Store()
    receiver = Receiver(store)
    endpoint = await _on_services_loop(receiver.start())
    _the_one = Observed(store, receiver, endpoint)
    marks.endpoint = endpoint
    marks.watchers.append(_the_one._mark)
    tracing.on("notebook", endpoint)
    return _the_one


def timeline(events: Iterable[Event]) -> Picture:
    """The timeline of events that did not come from spans, such as a checker's life of one message."""
    return spacetime.draw(of_events([*events]))


def _moment(given: float | None) -> float | None:
    return given if given is None or given >= 0 else time.time() + given


async def _on_services_loop(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, services_loop()))
