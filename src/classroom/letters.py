"""The letters of a dead-letter queue, as a notebook shows them: `await rabbit.dead_letters("orders.dead")`.

All who look at one queue from this kernel take turns: on RabbitMQ, whoever looks holds the letters meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from html import escape
from typing import Any, TypeVar, overload

from classroom.service_fleet import services_loop
from postoffice import DeadLetter, dead_letters
from postoffice.deadletters import DeadLetters

__all__ = ["Letters", "ago", "described", "read"]

T = TypeVar("T")
SHOWN = 50  # letters that a list shows
UNCHANGED: Any = object()
POLL = 0.1  # seconds between two looks of `wait`
LINE = 100  # characters of a reason or a body in a list

_turns: dict[tuple[str, str], asyncio.Lock] = {}  # on the services' loop


async def read(url: str, queue: str) -> Letters:
    """What lies there now. Raises UsageError: no such queue; UnsupportedError: a broker without; ConnectError."""
    return Letters(url, queue, await _on_services_loop(_list(url, queue)))


class Letters(Sequence[DeadLetter]):
    """What lay in a dead-letter queue when it was asked. The verbs act on the queue, and then look again.

    They raise as those of `postoffice.dead_letters` do.
    """

    def __init__(self, url: str, queue: str, found: Sequence[DeadLetter]) -> None:
        self.url, self.queue, self.found = url, queue, list(found)

    async def requeue(self, which: DeadLetter | str, data: Any = UNCHANGED) -> None:
        """Send a letter back to its service, as it was, or with repaired `data`."""
        await self.act("requeue", which, data)

    async def requeue_all(self) -> int:
        """Send all letters back; how many there were."""
        return int(await self.act("requeue_all"))

    async def drop(self, which: DeadLetter | str) -> None:
        """Throw a letter away."""
        await self.act("drop", which)

    async def again(self) -> Letters:
        """Look again; the same list, as it is now."""
        self.found = await _on_services_loop(_list(self.url, self.queue))
        return self

    async def wait(self, count: int, timeout: float = 30.0) -> Letters:
        """Look again until so many letters lie there; the same list, as it is then.

        Raises TimeoutError after `timeout` seconds, with what lies there.
        """
        end = time.monotonic() + timeout
        while len(await self.again()) < count:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{len(self):,} of {count:,} letters have come to {self.queue!r} within {timeout:g} s. Is the"
                    " service up whose letters these are, and did a handler fail? Its log is below its cell.\n"
                    f"{self!r}"
                )
            await asyncio.sleep(POLL)
        return self

    async def act(self, verb: str, *arguments: Any) -> Any:
        """One verb of the queue by its name, then look again."""
        given = [one for one in arguments if one is not UNCHANGED]
        done, self.found = await _on_services_loop(_do(self.url, self.queue, verb, given))
        return done

    @overload
    def __getitem__(self, index: int) -> DeadLetter: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[DeadLetter]: ...
    def __getitem__(self, index: int | slice) -> DeadLetter | Sequence[DeadLetter]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def __repr__(self) -> str:
        lines = [f"{self._title}{':' if self.found else ''}"]
        for one in self.found[:SHOWN]:
            lines += [f"  {one.id}  {one.kind} after {_times(one.attempts)}: {shortened(one.reason)}"]
            lines += [f"      {one.pattern}  {shortened(described(one.data))}"]
        return "\n".join([*lines, *self._more()])

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in cells) + "</tr>"
            for cells in self._rows()
        )
        head = "".join(f'<th scope="col" style="text-align: left">{name}</th>' for name in HEAD)
        more = "".join(f"<p>{escape(line)}</p>" for line in self._more())
        table = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>" if self.found else ""
        return f'<table><caption style="text-align: left">{escape(self._title)}</caption>{table}</table>{more}'

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for one in self.found[:SHOWN]:
            yield (
                one.id,
                one.pattern,
                one.kind,
                str(one.attempts),
                shortened(one.reason),
                shortened(described(one.data)),
            )

    @property
    def _title(self) -> str:
        return f"{len(self.found) or 'no'} dead letter{'' if len(self.found) == 1 else 's'} in {self.queue}"

    def _more(self) -> list[str]:
        left = len(self.found) - SHOWN
        return [f"and {left:,} more, not shown"] if left > 0 else []


HEAD = ("id", "pattern", "kind", "attempts", "reason", "data")


def described(data: Any) -> str:
    """Data as JSON in one line; what is no JSON, as it is."""
    try:
        return json.dumps(data, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(data)


def shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE else line[: LINE - 1] + "…"


def ago(moment: float) -> str:
    """How long ago a unix time was; "-" for one that nobody noted."""
    if not moment:
        return "-"
    passed = max(0.0, time.time() - moment)
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if passed >= 2 * length:
            return f"{passed / length:.0f} {unit} ago"
    return f"{passed:.0f} s ago"


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"


@asynccontextmanager
async def _office(url: str, queue: str) -> AsyncIterator[DeadLetters]:
    async with _turns.setdefault((url, queue), asyncio.Lock()), dead_letters(url, queue) as office:
        yield office


async def _list(url: str, queue: str) -> list[DeadLetter]:
    async with _office(url, queue) as office:
        return await office.list()


async def _do(url: str, queue: str, verb: str, arguments: list[Any]) -> tuple[Any, list[DeadLetter]]:
    async with _office(url, queue) as office:
        done = await getattr(office, verb)(*arguments)
        return done, await office.list()


async def _on_services_loop(work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, services_loop())
    return await asyncio.shield(asyncio.wrap_future(future))
