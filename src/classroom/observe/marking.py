"""The marks of a timeline: each has a shape and a letter or sign of its own, so colour is never all that tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from classroom.events import Event
from classroom.observe.picture import Canvas

__all__ = ["GLYPHS", "PROCESS_ENDS", "TROUBLE", "drawn", "legend", "mark"]

PROCESS_ENDS = frozenset(["killed", "crashed", "stopped"])
TROUBLE = frozenset(
    ["retried", "dead-lettered", "rejected", "failed", "timed out", "refused", "redelivered", "lost", "duplicated"]
)
CIRCLE, SQUARE, DIAMOND, CROSS, DOT, TICK = "circle", "square", "diamond", "cross", "dot", "tick"

GLYPHS: dict[str, tuple[str, str, str]] = {  # what happened: shape, letter, style
    "emitted": (DOT, "", "tip"),
    "sent": (DOT, "", "tip"),
    "attempted": (DOT, "", "tip"),
    "answered": (TICK, "", "good"),
    "acknowledged": (TICK, "", "good"),
    "handled": (CIRCLE, "H", "work"),
    "retried": (CIRCLE, "R", "warn"),
    "redelivered": (CIRCLE, "2", "warn"),
    "timed out": (DIAMOND, "T", "bad"),
    "refused": (DIAMOND, "E", "bad"),
    "failed": (DIAMOND, "!", "bad"),
    "rejected": (SQUARE, "X", "bad"),
    "dead-lettered": (SQUARE, "D", "bad"),
    "lost": (SQUARE, "L", "bad"),
    "duplicated": (SQUARE, "2", "bad"),
    "killed": (CROSS, "", "badline"),
    "crashed": (CROSS, "", "badline"),
    "stopped": (SQUARE, "S", "warn"),
    "started": (CIRCLE, "▸", "work"),
    "paused": (SQUARE, "‖", "warn"),
    "resumed": (CIRCLE, "▸", "warn"),
    "fault": (DIAMOND, "F", "warn"),
    "cut": (CROSS, "", "badline"),
    "healed": (CIRCLE, "+", "work"),
}
ON_LINE = frozenset([DOT, CROSS])
ARROWS = {
    "message": ("line", "", "message"),
    "reply": ("line", "2 4", "reply"),
    "retry": ("warn", "6 3", "later attempt"),
    "unseen": ("warn", "2 2", "not seen to arrive"),
}


def drawn(events: Sequence[Event]) -> Iterator[Event]:
    """Those that get a mark. That a message was handled is marked where no acknowledgement, or answer, followed."""
    followed = {(one.process, one.message) for one in events if one.what in ("acknowledged", "replied")}
    for one in events:
        if one.what in GLYPHS and not (one.what == "handled" and (one.process, one.message) in followed):
            yield one


def mark(canvas: Canvas, x: float, y: float, event: Event) -> None:
    """Draw an event on the line at `y`."""
    shape, letter, style = GLYPHS[event.what]
    hint = ", ".join(filter(None, [f"{event.process}: {event.what}", event.detail, event.message]))
    glyph(canvas, x, y if shape in ON_LINE else y - 17, shape, letter, style, hint)


def glyph(canvas: Canvas, x: float, y: float, shape: str, letter: str, style: str, hint: str = "") -> None:
    """One mark around a point."""
    forms = {
        CIRCLE: f"M{x - 8:.1f} {y}a8 8 0 1 1 16 0a8 8 0 1 1 -16 0Z",
        SQUARE: f"M{x - 7.5:.1f} {y - 7.5}h15v15h-15Z",
        DIAMOND: f"M{x:.1f} {y - 9.5}l9.5 9.5l-9.5 9.5l-9.5 -9.5Z",
        CROSS: f"M{x - 8:.1f} {y - 8}l16 16M{x - 8:.1f} {y + 8}l16 -16",
        DOT: f"M{x - 3:.1f} {y}a3 3 0 1 1 6 0a3 3 0 1 1 -6 0Z",
        TICK: f"M{x - 5:.1f} {y}l4 5l7 -10",
    }
    canvas.path(forms[shape], style, hint)
    if letter:
        canvas.text(x, y + 4, letter, "", "middle", hint)


def legend(canvas: Canvas, used: Iterable[str], y: float, width: float, arrows: set[str]) -> float:
    """What the marks mean that are in the picture; the last line's y."""
    x = 12.0
    for kind, (style, dash, text) in ARROWS.items():
        if kind in arrows:
            canvas.path(f"M{x:.1f} {y - 4}h26", style, dash=dash)
            canvas.text(x + 32, y, text, "dim")
            x += 50 + 6.5 * len(text)
    for what in used:
        if x > width - 120:
            x, y = 12.0, y + 22
        shape, letter, style = GLYPHS[what]
        glyph(canvas, x + 6, y - 4, shape, letter, style)
        canvas.text(x + 20, y, what, "dim")
        x += 38 + 6.5 * len(what)
    return y
