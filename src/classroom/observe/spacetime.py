"""The message timeline, a space-time diagram: a line for each process, arrows for messages, marks for their fates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

from classroom.events import Event
from classroom.observe.marking import GLYPHS, PROCESS_ENDS, TROUBLE, drawn, legend, mark
from classroom.observe.picture import Canvas, Picture, seconds, shortened
from classroom.observe.story import Arrow, Story

__all__ = ["draw"]

MOST_MESSAGES = 60  # drawn; of more, nobody could follow the arrows
MOST_MARKS = 150  # drawn of what concerns no single message
MOST_LINES = 250  # of the text twin
SHORT = 12  # characters of a message's id that a label has room for
MOST_LABELS = 14  # arrows that are labelled; more would hide each other
MOST_STRETCHED = 150  # different times that get room of their own; more are drawn to scale
BINS = 150
WIDTH, GUTTER, RIGHT, TOP, LINE = 920, 130, 24, 58, 76
KINDS = {"message": ("line", "tip", ""), "reply": ("line", "tip", "2 4"), "retry": ("warn", "warntip", "6 3")}

Scale = Callable[[float], float]


def draw(story: Story, about: str = "", to_scale: bool = False) -> Picture:
    """The whole story; of more than can be drawn, messages in trouble first, and it says what is left out."""
    if not story.events:
        return Picture(str(Canvas(WIDTH, 30, "Timeline", "nothing was seen")), "Timeline: nothing was seen", "Timeline")
    shown = _part(story)
    begin = min(one.at for one in story.events)
    length = max(one.at for one in story.events) - begin
    counts = Counter(one.what for one in story.events)
    title = "Message timeline" + (f" of {about}" if about else "")
    said = (
        f"{_many(len(story.processes), 'process')}, {_many(len(story.events), 'event')} of"
        f" {_many(len(story.messages()), 'message')} in {seconds(length)}: "
    ) + ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
    return Picture(_svg(story, shown, title, said, to_scale), _text(shown, begin, title, said), title)


def _many(count: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{count:,} {what if count == 1 else plural}"


def _part(story: Story) -> Story:
    """What is drawn, with a note of what is not."""
    messages, notes = story.messages(), list(story.notes)
    troubled = {one.message for one in story.events if one.message and one.what in TROUBLE}
    if len(messages) > MOST_MESSAGES:
        kept = set([one for one in messages if one in troubled][:MOST_MESSAGES])
        well, room = [one for one in messages if one not in kept], MOST_MESSAGES - len(kept)
        kept |= {well[number * len(well) // room] for number in range(room)}
        notes.append(
            f"{len(kept)} of {len(messages):,} messages are drawn; {len(troubled):,} had trouble, and these come first,"
            " then some of all times. The grey bars count all events. Give a message's id, or a time, to see others"
        )
    else:
        kept = set(messages)
    alone = [one for one in story.events if not one.message]
    if len(alone) > MOST_MARKS:
        notes.append(f"{MOST_MARKS} of {len(alone):,} starts and ends of processes are drawn")
        alone = alone[:MOST_MARKS]
    events = sorted([*(one for one in story.events if one.message in kept), *alone], key=lambda one: one.at)
    return Story(
        story.processes,
        events,
        [one for one in story.bars if one.message in kept],
        [one for one in story.arrows if one.message in kept],
        notes,
    )


def _scale(story: Story, to_scale: bool) -> tuple[Scale, list[float], bool]:
    """Where a time is drawn, the times at which the axis is labelled, and whether gaps are shortened."""
    times = sorted(
        {one.at for one in story.events}
        | {one.sent for one in story.arrows}
        | {one.arrived for one in story.arrows}
        | {at for one in story.bars for at in (one.start, one.end) if at is not None}
    )
    room, first = WIDTH - GUTTER - RIGHT - 30, times[0]
    whole = max(times[-1] - first, 1e-9)
    if to_scale or len(times) > MOST_STRETCHED or len(times) < 3:
        return lambda at: GUTTER + 15 + (at - first) / whole * room, [first + whole * n / 6 for n in range(7)], False
    gaps = [after - before for before, after in pairwise(times)]
    widths = [0.25 + (gap / max(gaps)) ** 0.4 for gap in gaps]  # all stay apart, and longer ones wider
    places, x = {first: GUTTER + 15.0}, GUTTER + 15.0
    for at, width in zip(times[1:], widths, strict=True):
        x += width / sum(widths) * room
        places[at] = x
    ticks = [first]
    for at in times:
        if places[at] - places[ticks[-1]] >= 76:
            ticks.append(at)
    return lambda at: places[at], ticks, True


def _svg(whole: Story, shown: Story, title: str, said: str, to_scale: bool) -> str:
    lanes = {process: TOP + 34.0 + LINE * number for number, process in enumerate(shown.processes)}
    bottom = TOP + LINE * len(lanes) + 10
    marked = [*drawn(shown.events)]
    used = [what for what in GLYPHS if any(one.what == what for one in marked)]
    notes = [line for note in shown.notes for line in _wrapped(f"Note: {note}", 135)]
    canvas = Canvas(WIDTH, bottom + 44 + 22 * (1 + len(used) // 7) + 16 * len(notes), title, said)
    canvas.text(8, 18, title)
    for number, line in enumerate(_wrapped(said, 145)[:2]):
        canvas.text(8, 34 + 15 * number, line, "dim", hint=said)
    x, ticks, stretched = _scale(shown, to_scale)
    _axis(canvas, x, ticks, bottom, stretched)
    for process, y in lanes.items():
        _lane(canvas, shown, process, y, x)
    if len(whole.events) > len(shown.events):
        _counts(canvas, whole, lanes)
    _bars(canvas, shown, lanes, x)
    _arrows(canvas, shown.arrows, lanes, x)
    for event in marked:
        canvas.message = event.message
        mark(canvas, x(event.at), lanes[event.process], event)
    canvas.message = ""
    y = legend(canvas, used, bottom + 40, WIDTH, {one.kind for one in shown.arrows})
    for number, line in enumerate(notes):
        canvas.text(8, y + 22 + 16 * number, line, "warntext")
    return str(canvas)


def _axis(canvas: Canvas, x: Scale, ticks: list[float], bottom: float, stretched: bool) -> None:
    for at in ticks:
        canvas.path(f"M{x(at):.1f} {TOP}V{bottom}", "axis", dash="1 5")
        passed = at - ticks[0]
        shown = "0" if not passed else f"+{passed:.3f} s" if passed >= 1 else f"+{seconds(passed)}"
        canvas.text(x(at), bottom + 14, shown, "dim", "middle")
    canvas.text(8, bottom + 14, "time, not to scale" if stretched else "time", "dim")


def _lane(canvas: Canvas, story: Story, process: str, y: float, x: Scale) -> None:
    """The line of a process: solid while it lives, as far as its marks tell."""
    canvas.text(8, y + 4, shortened(process, 18), hint=process)
    own = [one for one in story.events if one.process == process and not one.message]
    left, alive = float(GUTTER), not (own and own[0].what == "started")
    for one in own:
        if one.what in PROCESS_ENDS or one.what == "started":
            canvas.path(f"M{left:.1f} {y}H{x(one.at):.1f}", "axis", dash="" if alive else "1 6")
            left, alive = x(one.at), one.what == "started"
    canvas.path(f"M{left:.1f} {y}H{WIDTH - RIGHT}", "axis", dash="" if alive else "1 6")


def _bars(canvas: Canvas, shown: Story, lanes: dict[str, float], x: Scale) -> None:
    """Work on several messages at once is drawn side by side, in up to three rows."""
    taken: dict[tuple[str, int], float] = {}
    for one in sorted(shown.bars, key=lambda one: one.start):
        until = _until(shown, one.process, one.start) if one.end is None else one.end
        left, end = x(one.start), WIDTH - RIGHT if until is None else x(until)
        level = next((level for level in range(2) if taken.get((one.process, level), 0.0) <= left), 2)
        taken[one.process, level] = end = max(left + 3.0, end)
        y = lanes[one.process] - 6 + 10 * level
        canvas.message = one.message
        hint = f"{one.process}: {one.label}, message {one.message}" + (f"; {one.error}" if one.error else "")
        if one.end is None:
            canvas.path(f"M{end:.1f} {y}H{left:.1f}v12H{end:.1f}", "badline", f"{hint}; it never ended", "4 3")
        else:
            canvas.rect(left, y, end - left, 12, "bad" if one.error else "work", hint)


def _until(story: Story, process: str, start: float) -> float | None:
    """When the process ended after that time."""
    ends = (one.at for one in story.events if one.process == process and one.what in PROCESS_ENDS and one.at >= start)
    return next(ends, None)


def _counts(canvas: Canvas, story: Story, lanes: dict[str, float]) -> None:
    """How many events there were, all of them, in each part of the time."""
    begin, end = min(one.at for one in story.events), max(one.at for one in story.events)
    room, whole = WIDTH - GUTTER - RIGHT - 30, max(end - begin, 1e-9)
    bins = Counter((one.process, min(BINS - 1, int((one.at - begin) / whole * BINS))) for one in story.events)
    highest = max(bins.values())
    for (process, number), count in bins.items():
        height, left = max(1.0, count / highest * 16), GUTTER + 15 + number / BINS * room
        hint = f"{process}: {_many(count, 'event')} from +{seconds(number / BINS * whole)}"
        canvas.path(
            f"M{left:.1f} {lanes[process] + 44:.1f}v{-height:.1f}h{room / BINS:.1f}v{height:.1f}Z", "count", hint
        )


def _arrows(canvas: Canvas, arrows: list[Arrow], lanes: dict[str, float], x: Scale) -> None:
    placed: list[tuple[float, float]] = []
    for one in arrows:
        hint = f"{one.kind} {one.label} from {one.source} to {one.target or 'nobody seen'}, message {one.message}"
        style, tip, dash = KINDS.get(one.kind, KINDS["message"])
        canvas.message = one.message
        if one.backwards:
            style, tip, dash, hint = (
                "badline",
                "badline",
                "3 3",
                hint + "; it arrives before it was sent: clocks disagree",
            )
        left, y = x(one.sent), lanes[one.source]
        if one.kind == "unseen":
            canvas.arrow(left, y, left + 14, y + 22, "warn", "warntip", hint, "2 2")
            canvas.text(left + 18, y + 30, "?", "warntext", hint=hint)
            continue
        right, other = x(one.arrived), lanes[one.target]
        if one.source == one.target:
            middle = (left + right) / 2
            canvas.path(f"M{left:.1f} {y + 7}Q{middle:.1f} {y + 34} {right:.1f} {y + 7}", style + " open", hint, dash)
            canvas.path(f"M{right:.1f} {y + 7}l-7 3l5 5Z", tip, hint)
        else:
            down = 6 if other > y else -6
            canvas.arrow(left, y, right, other - down, style, tip, hint, dash)
        place = ((left + right) / 2, (y + other) / 2)
        if len(arrows) <= MOST_LABELS and one.kind == "message" and not _taken(placed, place):
            placed.append(place)
            label = f"{one.label} {one.message}" if len(one.message) <= SHORT else one.label
            canvas.text(place[0] + 5, place[1], shortened(label, 26), "dim", hint=hint)


def _taken(placed: Iterable[tuple[float, float]], place: tuple[float, float]) -> bool:
    return any(abs(place[0] - x) < 110 and abs(place[1] - y) < 14 for x, y in placed)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _text(shown: Story, begin: float, title: str, said: str) -> str:
    lines, events = [f"{title} · {said}"], [replace(one, at=one.at - begin) for one in shown.events]
    widths = [max([len(part(one)) for one in events], default=0) for part in (_who, _what)]
    for one in events[:MOST_LINES]:
        message = f"[{shortened(one.message, 24)}]" if one.message else ""
        who, what = f"{_who(one):<{min(widths[0], 30)}}", f"{_what(one):<{widths[1]}}"
        lines.append(f"  +{one.at:.4f} s  {who}  {what}  {shortened(one.detail, 90)}  {message}".rstrip())
    if len(events) > MOST_LINES:
        lines.append(f"  … and {len(events) - MOST_LINES:,} events more")
    for arrow in shown.arrows:
        if arrow.kind == "unseen":
            lines.append(f"  not seen to arrive: {arrow.label} of {arrow.source}, sent at +{arrow.sent - begin:.4f} s")
        if arrow.backwards:
            lines.append(f"  against the clocks: {arrow.label} from {arrow.source} to {arrow.target}")
    return "\n".join([*lines, *(f"Note: {note}" for note in shown.notes)])


def _who(one: Event) -> str:
    return shortened(one.process, 30)


def _what(one: Event) -> str:
    return shortened(one.what, 20)
