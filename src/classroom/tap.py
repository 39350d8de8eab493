"""Listening in on NATS: every letter that goes through the broker, by a subscription to all subjects.

async with listen_in(post.url) as wire:
    await client.send("price", 2)
wire                                    # a table: subject, where the answer goes, what it says
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape

import nats
from nats.aio.msg import Msg

from postoffice.transports.nats import flushed

__all__ = ["Wire", "listen_in"]

QUIET = 0.3  # seconds without a letter, and the listening ends
LIMIT = 5.0  # seconds, if it is never quiet
MOST = 200  # letters that are kept
LONGEST = 110  # characters of a letter that are shown
HEAD = ("subject", "answer to", "letter")


@dataclass
class Wire:
    """The letters, in the order in which the broker handed them to us: (subject, reply subject or "", body)."""

    letters: list[tuple[str, str, str]] = field(default_factory=list)
    _inboxes: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.letters)

    def take(self, letter: Msg) -> None:
        """Keep one; the broker's own are left out."""
        if not letter.subject.startswith("$") and len(self.letters) < MOST:
            body = letter.data.decode(errors="replace")
            self.letters.append((self._named(letter.subject), self._named(letter.reply), body))

    def _named(self, subject: str) -> str:
        """Inboxes have long random names; here they are numbered."""
        if not subject.startswith("_INBOX"):
            return subject
        return self._inboxes.setdefault(subject, f"inbox {len(self._inboxes) + 1}")

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(subject, reply, shortened(body)) for subject, reply, body in self.letters]

    def __repr__(self) -> str:
        rows = [HEAD, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}".rstrip() for row in rows]
        return "\n".join(lines) if self.letters else "no letter went through the broker"

    def _repr_html_(self) -> str:
        if not self.letters:
            return f"<p>{self!r}</p>"
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        caption = "<caption style='text-align:left'>What went through the broker</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def shortened(body: str) -> str:
    """A letter's body in a line; what is too long is cut."""
    return body if len(body) <= LONGEST else body[: LONGEST - 1] + "…"


@asynccontextmanager
async def listen_in(url: str) -> AsyncIterator[Wire]:
    """Listen in while the block runs, and until nothing has come for a moment.

    Args:
        url: of a NATS broker, nats://host:port. Raises what nats-py raises where none answers.
    """
    wire = Wire()

    async def take(letter: Msg) -> None:
        wire.take(letter)

    connection = await nats.connect(url, allow_reconnect=False)
    try:
        await connection.subscribe(">", cb=take)
        await flushed(connection)
        yield wire
        end, before = asyncio.get_running_loop().time() + LIMIT, -1
        while before != len(wire) and asyncio.get_running_loop().time() < end:
            before = len(wire)
            await asyncio.sleep(QUIET)
            await connection.flush()
    finally:
        await connection.close()
