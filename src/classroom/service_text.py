"""What a service shows: one line of state, its log with the cell's own line numbers, and advice for known mistakes."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from classroom.service_fleet import Fleet

LINE_LIMIT = 300  # characters of one line of a log that are shown
LOGGED = ("ERROR ", "WARNING ")  # what the service says of it besides: that it goes to the dead letters
TRACEBACK = "Traceback (most recent call last):"


def summary(name: str, fleet: Fleet) -> str:
    """A line such as: users: starting → ready (on tcp; handles "user.created"). No pid, port or time: it is stored."""
    many = f"; {fleet.plan.replicas} replicas" if fleet.plan.replicas > 1 else ""
    replicas = [one.state for one in fleet.replicas]
    if len(set(replicas)) > 1:
        many += ": " + ", ".join(replicas)
    handles = f"; handles {', '.join(fleet.handlers)}" if fleet.handlers else ""
    note = f". {fleet.note}" if fleet.note else ""
    states = " → ".join([*(["…"] if fleet.forgotten else []), *fleet.history])
    return f"{name}: {states} (on {fleet.plan.on}{many}{handles}){note}"


def as_html(line: str, log: list[str]) -> str:
    """The same as text and log lines, for a notebook; readable in light and dark, and by a screen reader."""
    name, _, rest = html.escape(line).partition(":")
    printed = html.escape("\n".join(log))
    style = "max-height: 16em; overflow: auto; margin: 0.3em 0 0 1em; word-break: normal; overflow-wrap: anywhere"
    body = f'<pre style="{style}">{printed}</pre>' if log else ""
    return f'<div role="log" aria-label="service {name}"><b>{name}</b>:{rest}{body}</div>'


def cell_lines(lines: Iterable[str], name: str) -> list[str]:
    """Log lines as a reader wants them: frames name the cell, and those outside it are left out."""
    file = rf"/service-{name}-[^/]*/v\d+/{name}\.py"
    frame, place, path = (
        re.compile(form) for form in (rf'File "[^"]*{file}", line', rf"/\S*{file}:(?=\d)", rf"/\S*{file}")
    )
    kept: list[str] = []
    left_out: list[str] | None = None  # frames outside the cell, of the traceback that is being read
    ours = showing = False  # whether it has a frame of the cell; whether the frame being read is one
    for line in lines:
        line = frame.sub(f"Cell {name}, line", line)
        line = path.sub(f"the cell of {name}", place.sub(f"Cell {name}, line ", line))
        if len(line) > LINE_LIMIT:
            line = line[:LINE_LIMIT] + f"… ({len(line)} characters)"
        if left_out is not None and line.startswith(" "):
            if line.startswith(("  File ", "  Cell ")):
                showing = line.startswith(f"  Cell {name},")
                ours |= showing
            (kept if showing else left_out).append(line)
            continue
        kept += left_out or [] if not ours else []  # the traceback has ended
        kept.append(line)
        left_out, ours, showing = ([] if line.endswith(TRACEBACK) else None), False, False
    return kept + (left_out or [] if not ours else [])


def advice(lines: list[str], knows: Callable[[str], bool]) -> list[str]:
    """What to do about an error that readers of a notebook run into; [] for all others."""
    last = next((line for line in reversed(lines) if line.strip() and not line.startswith(LOGGED)), "")
    if (found := re.search(r"NameError: name '(\w+)' is not defined", last)) and knows(found[1]):
        return [
            f"The notebook has a variable {found[1]!r}, but this cell is a process of its own and shares none of them:",
            "import or define it in this cell. Pass an address through os.environ, set before the cell is run.",
        ]
    if "Say delivery='at-least-once'" in last:
        return ["In its cell: %%service NAME --on BROKER --delivery at-least-once"]
    if "address already in use" in last.lower():
        return ["Another program took its port meanwhile. End that program, or restart the kernel for another port."]
    return []
