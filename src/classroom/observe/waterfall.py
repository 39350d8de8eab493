"""The waterfall of one trace: who called whom, when, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from classroom.observe.clocks import corrections
from classroom.observe.picture import Canvas, Picture, seconds, shortened
from classroom.observe.spans import Span
from classroom.observe.story import processes

__all__ = ["draw"]

MOST_ROWS = 200
WIDTH, ROW, NAMES, RIGHT, TOP = 900, 24, 300, 110, 34
LIST = 40  # characters of the text twin's bars


@dataclass(slots=True)
class Row:
    """A span in its place: how deep below the root, and its corrected times."""

    span: Span
    depth: int
    process: str
    start: float
    end: float | None


def draw(spans: Sequence[Span], names: dict[tuple[str, str], str] | None = None) -> Picture:
    """The waterfall of the spans of one trace; ValueError when there are none."""
    if not spans:
        raise ValueError("a waterfall needs at least one span")
    names = names or processes(spans)
    rows, notes = _rows(spans, names)
    left_out = len(rows) - MOST_ROWS
    if left_out > 0:
        notes.append(f"the first {MOST_ROWS} of {len(rows)} spans are drawn")
    rows = rows[:MOST_ROWS]
    begin = min(row.start for row in rows)
    length = max(max(row.end or row.start for row in rows) - begin, 1e-6)
    failed = sum(bool(row.span.error) for row in rows)
    title = f"Trace {spans[0].trace[:8]}: {rows[0].span.name}"
    said = f"{len(rows)} spans of {len({row.process for row in rows})} processes in {seconds(length)}"
    said += f", {failed} failed" if failed else ""
    said += ", not all ended" if any(row.end is None for row in rows) else ""
    return Picture(_svg(rows, begin, length, title, said, notes), _text(rows, begin, length, title, said, notes), title)


def _rows(spans: Sequence[Span], names: dict[tuple[str, str], str]) -> tuple[list[Row], list[str]]:
    """Depth first, in the order of time; a clock that is off is corrected by what the parents say."""
    byid = {one.id: one for one in spans}
    name = {one.id: names[one.service, one.instance] for one in spans}
    facts = [(name[one.parent], byid[one.parent].start, name[one.id], one.start) for one in spans if one.parent in byid]
    for one in spans:
        parent = byid.get(one.parent)
        if parent and parent.kind == "client" and parent.end and not parent.error:
            facts.append((name[one.id], one.at("after-handler") or one.start, name[parent.id], parent.end))
    first = min(spans, key=lambda one: (one.parent in byid, one.start))
    shift = corrections(facts, name[first.id])
    children: dict[str, list[Span]] = defaultdict(list)
    for one in spans:
        children[one.parent if one.parent in byid and one.parent != one.id else ""].append(one)
    for group in children.values():
        group.sort(key=lambda one: one.start + shift.get(name[one.id], 0.0), reverse=True)
    rows, todo, seen = list[Row](), [(one, 0) for one in children.get("", [])], set[str]()
    todo += [(one, 0) for one in spans] if not todo else []  # a circle of parents has no root
    while todo:
        one, depth = todo.pop()
        if one.id in seen:
            continue
        seen.add(one.id)
        by = shift.get(name[one.id], 0.0)
        rows.append(Row(one, depth, name[one.id], one.start + by, None if one.end is None else one.end + by))
        todo += [(child, depth + 1) for child in children.get(one.id, [])]
    return rows, [f"the clock of {who} is off: what it did is drawn with {by:+.3f} s" for who, by in shift.items()]


def _svg(rows: list[Row], begin: float, length: float, title: str, said: str, notes: list[str]) -> str:
    height = TOP + ROW * len(rows) + 34 + 16 * len(notes)
    canvas = Canvas(WIDTH, height, title, said)
    canvas.text(8, 18, f"{title} · {said}")
    scale = (WIDTH - NAMES - RIGHT) / length
    for step in range(5):
        x = NAMES + step / 4 * (WIDTH - NAMES - RIGHT)
        canvas.path(f"M{x:.1f} {TOP}V{TOP + ROW * len(rows)}", "axis", dash="1 4")
        canvas.text(x, TOP + ROW * len(rows) + 16, seconds(length * step / 4) if step else "0", "dim", "middle")
    for number, row in enumerate(rows):
        _draw_row(canvas, row, TOP + ROW * number, begin, scale)
    for number, note in enumerate(notes):
        canvas.text(8, TOP + ROW * len(rows) + 34 + 16 * number, f"Note: {note}", "warntext")
    return str(canvas)


def _draw_row(canvas: Canvas, row: Row, y: float, begin: float, scale: float) -> None:
    span, hint = row.span, _said(row)
    indent = 8 + 12 * min(row.depth, 10)
    room = (NAMES - indent - 8) // 7
    canvas.text(indent, y + 16, shortened(f"{row.process}: {span.name}", int(room)), hint=hint)
    x = NAMES + (row.start - begin) * scale
    width = max(2.0, ((row.end or row.start) - row.start) * scale)
    style = "bad" if span.error or row.end is None else "work"
    if row.end is None:  # open to the right: it did not end
        width = max(14.0, WIDTH - RIGHT - x)
        canvas.path(f"M{x + width:.1f} {y + 4}H{x:.1f}V{y + 20}H{x + width:.1f}", "badline", hint, "4 3")
    else:
        canvas.rect(x, y + 4, width, 16, style, hint)
    for when, name, _ in span.events:
        if name not in ("received", "before-handler"):
            at = NAMES + (when - span.start + row.start - begin) * scale
            canvas.path(f"M{at:.1f} {y + 2}l3 3l-3 3l-3 -3Z", "warn", f"{name} at +{seconds(when - span.start)}")
    outside = x + width + 6
    words = ("! " if span.error else "") + ("never ended" if row.end is None else seconds(row.end - row.start))
    canvas.text(min(outside, WIDTH - RIGHT + 6), y + 16, words, "badtext" if style == "bad" else "dim", hint=hint)


def _said(row: Row) -> str:
    span = row.span
    parts = [f"{row.process}: {span.name} ({span.kind})"]
    parts.append("it never ended" if row.end is None else f"{seconds(row.end - row.start)} long")
    parts += [f"{name} at +{seconds(when - span.start)}" for when, name, _ in span.events if name != "received"]
    parts += [f"attempt {span.attempt}"] if span.attempt > 1 else []
    parts += [f"failed: {span.error}"] if span.error else []
    return "; ".join(parts)


def _text(rows: list[Row], begin: float, length: float, title: str, said: str, notes: list[str]) -> str:
    lines = [f"{title} · {said}"]
    labels = [f"{'  ' * min(row.depth, 10)}{row.process}: {row.span.name}" for row in rows]
    width = min(60, max(map(len, labels)))
    for row, label in zip(rows, labels, strict=True):
        end = begin + length if row.end is None else row.end
        left = round((row.start - begin) / length * LIST)
        bar = "·" * left + ("=" if row.end is None else "█") * max(1, round((end - row.start) / length * LIST))
        took = "never ended" if row.end is None else seconds(row.end - row.start)
        marks = [name for _, name, _ in row.span.events if name not in ("received", "before-handler")]
        marks += [f"attempt {row.span.attempt}"] if row.span.attempt > 1 else []
        marks += [f"failed: {shortened(row.span.error, 80)}"] if row.span.error else []
        name = f"{shortened(label, width):<{width}}"
        lines.append(f"  {name}  {bar[: LIST + 1]:<{LIST + 1}} {took:>11}  {', '.join(marks)}".rstrip())
    return "\n".join([*lines, *(f"Note: {note}" for note in notes)])
