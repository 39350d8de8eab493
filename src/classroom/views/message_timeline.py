"""The message timeline, followed message by message: choose one, or click it in the picture, and see its life."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from classroom.events import Event
from classroom.letters import shortened
from classroom.observe.marking import TROUBLE
from classroom.observe.observed import Observed
from classroom.observe.observed import timeline as drawn
from classroom.observe.picture import Picture
from classroom.views.page import Block, Choice, Page, Pictured
from classroom.views.view import Press, View

__all__ = ["Timeline"]

ALL = "all"
LISTED = 40  # messages to choose from
SHARE = 10  # looking takes at most one part in so many of the time


class Timeline(View):
    """`timeline(seen)`, of what `await observe()` gave, or of events, such as a checker's life of one message."""

    every = 1.0

    def __init__(self, source: Observed | Iterable[Event], message: str | None = None) -> None:
        super().__init__()
        self.name = f"timeline {id(source)}"
        self.source = source if isinstance(source, Observed) else [*source]
        self.chosen = message or ALL
        self._seen = (-1, "")  # how many spans had come, and which message was chosen
        self._lives: dict[str, str] = {}
        self._picture: Picture | None = None
        self.settings = {"choose"}
        self.verbs = {"choose": self._choose}

    async def look(self) -> None:
        source = self.source
        now = (source.store.taken if isinstance(source, Observed) else 0, self.chosen)
        if now != self._seen:
            begin = time.perf_counter()
            await asyncio.to_thread(self._draw)
            self.every = max(1.0, SHARE * (time.perf_counter() - begin))
            self._seen = now

    def _draw(self) -> None:
        source, chosen = self.source, None if self.chosen == ALL else self.chosen
        events = source.events() if isinstance(source, Observed) else source
        self._lives = _lives(events)
        if isinstance(source, Observed):
            self._picture = source.timeline(chosen)
        else:
            self._picture = drawn([one for one in events if chosen is None or one.message in (chosen, "")])

    async def _choose(self, press: Press) -> None:
        self.chosen = press.arg or ALL

    def page(self) -> Page:
        if not self._lives or self._picture is None:
            return Page("Message timeline", "no message was seen yet")
        lives = [*self._lives.items()]
        lives.sort(key=lambda one: not one[1].startswith("!"))  # those in trouble first
        listed = dict(lives[:LISTED])
        if self.chosen in self._lives:
            listed.setdefault(self.chosen, self._lives[self.chosen])
        what = "all messages" if self.chosen == ALL else f"message {self.chosen}"
        more = f" ({LISTED} of {len(lives):,}; those in trouble first)" if len(lives) > LISTED else ""
        options = {ALL: f"{len(lives):,} message{'' if len(lives) == 1 else 's'}", **listed}
        blocks: list[Block] = [
            Pictured(self._picture),
            Choice("choose", f"Follow a message{more}", options, self.chosen),
        ]
        return Page("Message timeline", f"of {what}", blocks)


def _lives(events: Iterable[Event]) -> dict[str, str]:
    """Each message with what happened to it, in words; "!" first where it was in trouble."""
    steps: dict[str, list[str]] = defaultdict(list)
    for one in events:
        if one.message:
            steps[one.message].append(one.what)
    return {message: shortened(_said(words)) for message, words in steps.items()}


def _said(words: list[str]) -> str:
    times = Counter(words)
    said = ", ".join(word if count == 1 else f"{word} {count} times" for word, count in times.items())
    return f"! {said}" if TROUBLE & times.keys() else said
