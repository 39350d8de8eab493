"""A browser for a dead-letter queue: why each letter is there, what it says; repair, requeue, drop."""

from __future__ import annotations

import json
from typing import Any

from classroom.brokers import Broker
from classroom.letters import Letters, ago, described, shortened
from classroom.letters import read as read_letters
from classroom.views.gauges import GAUGES, Gauge
from classroom.views.page import Block, Button, Buttons, Choice, Editor, Page, Table
from classroom.views.view import Press, View, called
from postoffice import DeadLetter
from postoffice.errors import UsageError

__all__ = ["LetterBrowser"]

SHOWN = 50  # letters to choose from; the oldest
SLOW = 5.0  # seconds between two looks where a look reads the whole topic


class LetterBrowser(View):
    """`dead_letter_browser(rabbit, "orders.dead")`. Its buttons are the verbs of `await rabbit.dead_letters(...)`."""

    def __init__(self, broker: Broker, queue: str) -> None:
        super().__init__()
        self.broker, self.queue = broker, queue
        self.name = f"letters {broker.name} {queue}"
        self.every = SLOW if broker.kind == "kafka" else 1.0
        self._letters: Letters | None = None
        self._absent = ""
        self._chosen: str | None = None
        self._gauge: Gauge | None = None
        self._count = -1
        self._done = ""
        self.settings = {"choose"}
        self.verbs = {
            "choose": self._choose,
            "requeue": self._requeue,
            "requeue all": self._requeue_all,
            "drop": self._drop,
            "look again": self._look_again,
        }

    # looking

    async def look(self) -> None:
        if self.broker.state != "running":
            self._absent = f"{self.broker.name} is {self.broker.state}, so its letters cannot be read now"
            await self.leave()
            return
        try:
            if await self._changed():
                self._letters, self._absent = await read_letters(self.broker.direct_url, self.queue), ""
        except UsageError as error:  # no such queue, or not yet
            self._letters, self._absent, self._count = None, str(error), -1
        if self._letters is not None and self._chosen not in [one.id for one in self._letters]:
            self._chosen = self._letters[0].id if self._letters else None

    async def _changed(self) -> bool:
        """Whether to read the letters anew. On RabbitMQ that takes them out of everybody's sight for a moment."""
        if self.broker.kind != "rabbitmq":
            return True
        if self._gauge is None:
            gauge = GAUGES["rabbitmq"](self.broker.direct_url)
            await gauge.open()
            self._gauge = gauge
        found = await self._gauge.read([self.queue])
        count = found[0].waiting or 0 if found else -1
        changed, self._count = count != self._count or self._letters is None, count
        return changed

    async def leave(self) -> None:
        gauge, self._gauge = self._gauge, None
        if gauge is not None:
            await gauge.close()

    # what buttons do

    async def _choose(self, press: Press) -> None:
        self._chosen, self._done = press.arg, ""

    async def _requeue(self, press: Press) -> None:
        letters, letter = self._known()
        text = press.typed.get("data", described_for_editing(letter.data))
        if text == described_for_editing(letter.data):
            await letters.requeue(letter)
            self._done = f"{letter.id} was requeued as it was."
        else:
            await letters.requeue(letter, _parsed(text))
            self._done = f"{letter.id} was repaired and requeued."

    async def _requeue_all(self, press: Press) -> None:
        letters, _ = self._known()
        self._done = f"{await letters.requeue_all()} letters were requeued."

    async def _drop(self, press: Press) -> None:
        letters, letter = self._known()
        await letters.drop(letter)
        self._done = f"{letter.id} was dropped."

    async def _look_again(self, press: Press) -> None:
        self._count, self._done = -1, ""

    def _known(self) -> tuple[Letters, DeadLetter]:
        if self._letters is None or (letter := self._letter()) is None:
            raise UsageError(f"there is no letter in {self.queue!r} now")
        return self._letters, letter

    def _letter(self) -> DeadLetter | None:
        return next((one for one in self._letters or [] if one.id == self._chosen), None)

    # showing

    def page(self) -> Page:
        count = len(self._letters or [])
        status = self._absent or f"{count or 'no'} letter{'' if count == 1 else 's'}"
        status += f". {self._done}" if self._done else ""
        blocks: list[Block] = []
        if self._letters and not self._absent:
            blocks = [self._list(self._letters), *self._one()]
        return Page(f"Dead letters in {self.queue}", status, [*blocks, self._buttons()])

    def _list(self, letters: Letters) -> Block:
        shown = {one.id: shortened(f"{one.kind}: {one.reason}") for one in letters[:SHOWN]}
        more = f" (the oldest {SHOWN} of {len(letters):,})" if len(letters) > SHOWN else ""
        return Choice("choose", f"Choose a letter{more}", shown, self._chosen)

    def _one(self) -> list[Block]:
        letter = self._letter()
        if letter is None:
            return []
        rows = [
            ("pattern", letter.pattern),
            ("given up by", letter.service or "-"),
            ("kind", letter.kind),
            ("attempts", str(letter.attempts)),
            ("reason", letter.reason),
            ("failed first", ago(letter.first)),
            ("failed last", ago(letter.last)),
            *((f"header {name}", shortened(str(value))) for name, value in letter.headers.items()),
        ]
        text = described_for_editing(letter.data)
        edit = Editor("data", "Data, as JSON: repair them here, then requeue", text, f"{letter.id} {text}")
        return [Table(f"Letter {letter.id}", ("what", "value"), rows), edit]

    def _buttons(self) -> Block:
        letter, name = self._letter(), called(self.broker, self.broker.name)
        none = "" if letter else "there is no letter"
        which = json.dumps(letter.id) if letter else '"its id"'
        return Buttons(
            f'With letters = await {name}.dead_letters("{self.queue}")',
            [
                Button("requeue", "Requeue this one", f"await letters.requeue({which}, data={{...}})", why_not=none),
                Button("requeue all", "Requeue all", "await letters.requeue_all()", why_not=none),
                Button("drop", "Drop this one", f"await letters.drop({which})", why_not=none),
                Button("look again", "Look again", "await letters.again()"),
            ],
        )


def described_for_editing(data: Any) -> str:
    """JSON over several lines; what is no JSON, on one."""
    try:
        return json.dumps(data, indent=2, ensure_ascii=False)
    except (TypeError, ValueError):
        return described(data)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"what you typed is no JSON: {error}. Nothing was sent; mend the text and try again."
        ) from None
