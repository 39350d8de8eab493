"""What happened, as it can be told: processes, their work, and messages between them. Made from spans, or Events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from classroom.events import Event
from classroom.observe.clocks import TOLERANCE, corrections
from classroom.observe.spans import Span

__all__ = ["Arrow", "Bar", "Story", "of_events", "of_spans", "processes"]

NOTEBOOK = "notebook"
ENDS = ("killed", "crashed")
NOTICED = 0.05  # seconds that a broker may be quicker than the kernel to notice that a process has ended
SENT = ("sent", "emitted", "attempted")
ARRIVED = ("received", "handled", "charged", "shipped", "mailed")
SAID = {"after-handler": "handled", "acked": "acknowledged", "before-handler": ""}


@dataclass(slots=True)
class Bar:
    """A process at work on a message. `end` is None when it never ended."""

    process: str
    start: float
    end: float | None
    label: str
    message: str
    error: str = ""


@dataclass(slots=True)
class Arrow:
    """From one process to another; `backwards` against all clocks.

    Its kind is "message", "reply", "retry" (a later attempt), or "unseen": no arrival was seen, and `target` is "".
    """

    source: str
    sent: float
    target: str
    arrived: float
    kind: str
    label: str
    message: str
    backwards: bool = False


@dataclass
class Story:
    """All times in unix seconds, corrected where a clock is off; `notes` say so, and whatever else is to be known."""

    processes: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def messages(self) -> list[str]:
        """The ids of all messages, each once, in order."""
        return [*dict.fromkeys(one.message for one in self.events if one.message)]

    def only(self, messages: set[str] | None, start: float | None, end: float | None) -> Story:
        """The part with these messages, between these times; what concerns no message, such as a crash, stays."""
        low, high = start if start is not None else float("-inf"), end if end is not None else float("inf")

        def wanted(message: str) -> bool:
            return messages is None or not message or message in messages

        events = [one for one in self.events if wanted(one.message) and low <= one.at <= high]
        bars = [one for one in self.bars if wanted(one.message) and one.start <= high and (one.end or one.start) >= low]
        arrows = [one for one in self.arrows if wanted(one.message) and low <= one.sent and one.arrived <= high]
        if messages is not None and events:  # a crash long before or after says nothing of them
            first = min((one.at for one in events if one.message), default=low)
            used = {one.process for one in events if one.message}
            events = [one for one in events if one.message or (one.process in used and one.at >= first)]
        seen = {one.process for one in events} | {one.source for one in arrows} | {one.target for one in arrows}
        seen |= {one.process for one in bars}
        notes = [one for one in self.notes if not one.endswith(BACK_IN_TIME)] + back_in_time(arrows)
        return Story([one for one in self.processes if one in seen], events, bars, arrows, notes)


BACK_IN_TIME = "back in time: a clock was set while this was running"


def back_in_time(arrows: Iterable[Arrow]) -> list[str]:
    """A note on arrows that arrive before they left, if there are any."""
    wrong = sum(one.backwards for one in arrows)
    return [f"{wrong} arrow{'s go' if wrong > 1 else ' goes'} {BACK_IN_TIME}"] if wrong else []


def processes(spans: Iterable[Span]) -> dict[tuple[str, str], str]:
    """A name for each process: its service's, with the instance where there are several."""
    keys = dict.fromkeys((one.service, one.instance) for one in spans)
    several: dict[str, int] = defaultdict(int)
    for service, _ in keys:
        several[service] += 1
    names = {key: key[0] if several[key[0]] == 1 else f"{key[0]} {key[1]}" for key in keys}
    return dict(sorted(names.items(), key=lambda item: item[0][0] != NOTEBOOK))


def of_events(events: Sequence[Event]) -> Story:
    """From events alone: a message's arrow goes from where it was sent to where it arrived next."""
    ordered = sorted(events, key=lambda one: one.at)
    story = Story([*dict.fromkeys(one.process for one in ordered)], list(ordered))
    last: dict[str, Event] = {}
    for one in ordered:
        if one.what in ARRIVED and (before := last.get(one.message)) and before.process != one.process:
            kind = "message" if before.what in SENT else "retry"
            story.arrows.append(Arrow(before.process, before.at, one.process, one.at, kind, before.detail, one.message))
        if one.message:
            last[one.message] = one
    return story


def of_spans(spans: Sequence[Span]) -> Story:
    """From spans, and from the kernel's marks among them (they have no trace)."""
    names = processes(spans)
    return _Telling(spans, names).story


class _Telling:
    """The making of one story."""

    def __init__(self, spans: Sequence[Span], names: dict[tuple[str, str], str]) -> None:
        self.names = names
        self.byid = {(one.trace, one.id): one for one in spans if one.trace}
        self.marks = [one for one in spans if not one.trace]
        self.work = [one for one in self.byid.values() if one.kind in ("server", "consumer")]
        self.sends = [one for one in self.byid.values() if one.kind in ("client", "producer")]
        reference = next(iter(names.values()), "")
        self.shift = corrections(self._facts(), reference)
        self.replaced: dict[str, float] = {}  # when a message went elsewhere that a process never finished
        self.story = Story([*names.values()])
        self._tell()

    def name(self, span: Span) -> str:
        return self.names[span.service, span.instance]

    def at(self, span: Span, when: float) -> float:
        """A time of the span's process, corrected."""
        return when + self.shift.get(self.name(span), 0.0)

    def sender(self, span: Span) -> Span | None:
        return self.byid.get((span.trace, span.parent))

    def message(self, span: Span) -> str:
        """The id of its message; without one, that of the span that sent it stands for it."""
        if span.message:
            return span.message
        sender = self.sender(span) if span.kind in ("server", "consumer") else span
        return (sender.message or sender.id) if sender else span.parent or span.id

    def _facts(self) -> list[tuple[str, float, str, float]]:
        facts = []
        for one in self.work:
            if sender := self.sender(one):
                facts.append((self.name(sender), sender.start, self.name(one), one.start))
                if sender.kind == "client" and sender.end and not sender.error:
                    facts.append((self.name(one), one.at("after-handler") or one.start, self.name(sender), sender.end))
        return facts

    def _tell(self) -> None:
        handled = {(one.trace, one.parent) for one in self.work}
        for one in self.sends:
            self._send(one, (one.trace, one.id) in handled)
        for one in self.work:
            self._work(one)
        self._attempts()
        for one in self.marks:
            detail, at = str(one.attributes.get("detail", "")), one.start
            if one.name in ENDS and at - NOTICED < (before := self.replaced.get(self.name(one), at)) < at:
                at = before
            self.story.events.append(Event(at, self.name(one), one.name, "", detail))
        self.story.events.sort(key=lambda one: one.at)
        for process, seconds in self.shift.items():
            way = "behind" if seconds > 0 else "ahead"
            self.story.notes.append(
                f"the clock of {process} is at least {abs(seconds):.3f} s {way}: what it did is drawn with"
                f" {seconds:+.3f} s, since no message arrives before it is sent"
            )
        self.story.notes += back_in_time(self.story.arrows)

    def _send(self, one: Span, handled: bool) -> None:
        message, process, target = self.message(one), self.name(one), _target(one)
        self._event(one, one.start, "emitted" if one.kind == "producer" else "sent", target)
        if one.kind == "client" and one.end is not None:
            self._event(one, one.end, _outcome(one) if one.error else "answered", one.error or target)
        elif one.error:
            self._event(one, one.end or one.start, _outcome(one), one.error)
        if not handled and not one.error:
            at = self.at(one, one.start)
            self.story.arrows.append(Arrow(process, at, "", at, "unseen", target, message))

    def _work(self, one: Span) -> None:
        message, process, sender = self.message(one), self.name(one), self.sender(one)
        start, end = self.at(one, one.start), None if one.end is None else self.at(one, one.end)
        attempt = f"attempt {one.attempt}" if one.attempt > 1 else ""
        self._event(one, one.start, "received", ", ".join(filter(None, [_target(one), attempt])))
        self.story.bars.append(Bar(process, start, end, one.name, message, one.error))
        for when, name, _ in one.events:
            if name != "received" and (said := SAID.get(name, name)):
                self._event(one, when, said, one.error if name in ("retried", "dead-lettered", "rejected") else "")
        if one.error and not {name for _, name, _ in one.events} & {"retried", "dead-lettered", "rejected"}:
            self._event(one, one.end or one.start, "failed", one.error)
        if sender is None:
            return
        if sender.attempt == 1 and one.attempt == 1:
            self._arrow(sender, sender.start, one, one.start, "message", message)
        if sender.kind == "client" and sender.end is not None and _outcome(sender) == "refused":
            arrived = self.at(sender, sender.end) - self.at(one, 0.0)  # by the service's clock
            answered = one.at("after-handler") or max(one.start, min(one.end or one.start, arrived))
            self._arrow(one, answered, sender, sender.end, "reply", message)

    def _attempts(self) -> None:
        """A later attempt follows the one before it, wherever that was."""
        groups: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for one in self.work:
            if one.kind == "consumer":
                groups[self.message(one), one.service].append(one)
        for (message, _), spans in groups.items():
            spans.sort(key=lambda one: self.at(one, one.start))
            for before, after in pairwise(spans):
                if after.attempt > 1:
                    last = before.events[-1][0] if before.events else before.start
                    left = before.at("retried") or before.end or last
                    self._arrow(before, left, after, after.start, "retry", message)
                    if before.end is None:
                        self.replaced[self.name(before)] = self.at(after, after.start)

    def _event(self, span: Span, when: float, what: str, detail: str) -> None:
        self.story.events.append(Event(self.at(span, when), self.name(span), what, self.message(span), detail))

    def _arrow(self, one: Span, left: float, other: Span, arrived: float, kind: str, message: str) -> None:
        sent, there = self.at(one, left), self.at(other, arrived)
        backwards = there < sent - TOLERANCE
        there = there if backwards else max(sent, there)
        self.story.arrows.append(
            Arrow(self.name(one), sent, self.name(other), there, kind, _target(other), message, backwards)
        )


def _target(span: Span) -> str:
    return str(span.attributes.get("messaging.destination.name") or span.name)


def _outcome(span: Span) -> str:
    """What became of a send, for its sender."""
    if span.error.startswith("RequestTimeout"):
        return "timed out"
    return "refused" if span.error.startswith("RpcError") or not span.error else "failed"
