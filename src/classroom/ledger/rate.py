"""How many calls came when: a picture of the ledger's rows over time, one row of bars for each group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from html import escape

from classroom.ledger.rows import Row
from classroom.observe.picture import Canvas, Picture, shortened

__all__ = ["draw"]

WIDTH, LEFT, TOP, HEIGHT, GAP = 760.0, 130.0, 20.0, 70.0, 34.0  # of the picture, in pixels
MOST_BINS = 400  # narrower bars could not be told apart


class Rate(Picture):
    """The picture, with a table of each group's figures beside it and all of its numbers beneath, folded."""

    def __init__(self, svg: str, text: str, title: str, table: list[tuple[str, ...]]) -> None:
        super().__init__(svg, text, title)
        self.table = table

    def _repr_html_(self) -> str:
        head, *body = (
            "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in row)
            for tag, row in zip(["th", *["td"] * len(self.table)], self.table, strict=False)
        )
        rows = "".join(f"<tr>{row}</tr>" for row in body)
        return f"{super()._repr_html_()}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def draw(rows: Iterable[Row], by: Callable[[Row], str], every: float) -> Rate:
    """Bars for every `every` seconds since the first call. Raises ValueError when that makes too many, or none."""
    counts = _counted(rows, by, every)
    bins = 1 + max((one for group in counts.values() for one in group), default=0)
    if not counts or bins > MOST_BINS:
        raise ValueError(f"{len(counts)} groups over {bins:,} bars of {every:g} s: at most {MOST_BINS} can be drawn")
    peak = max(max(group.values()) for group in counts.values())
    title = f"Calls to the ledger in each {every:g} s"
    table: list[tuple[str, ...]] = [("", "calls", f"most in {every:g} s", "bars")]
    table += [
        (name, *(f"{n:,}" for n in (group.total(), max(group.values()), len(group)))) for name, group in counts.items()
    ]
    said = "; ".join(f"{name}: {row[0]} calls, at most {row[1]} in {every:g} s" for name, *row in table[1:])
    canvas = Canvas(WIDTH, TOP + len(counts) * (HEIGHT + GAP), title, said)
    for number, (name, group) in enumerate(counts.items()):
        _bars(canvas, TOP + number * (HEIGHT + GAP) + HEIGHT, name, group, bins, peak, every)
    return Rate(str(canvas), _as_text(title, table, counts, every), title, table)


def _counted(rows: Iterable[Row], by: Callable[[Row], str], every: float) -> dict[str, Counter[int]]:
    rows = list(rows)
    began = min((row.at for row in rows), default=0.0)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for row in rows:
        counts[by(row)][int((row.at - began) / every)] += 1
    return dict(counts)


def _bars(canvas: Canvas, base: float, name: str, group: Counter[int], bins: int, peak: int, every: float) -> None:
    step = (WIDTH - LEFT - 20) / bins
    canvas.text(10, base - HEIGHT / 2, shortened(name, 18))
    canvas.text(LEFT - 8, base - HEIGHT + 10, f"{peak:,}", "dim", "end")
    canvas.text(LEFT - 8, base, "0", "dim", "end")
    canvas.path(f"M{LEFT:.1f} {base:.1f}H{WIDTH - 20:.1f}", "axis")
    for one, count in sorted(group.items()):
        height = HEIGHT * count / peak
        hint = f"{name}: {count:,} calls from {one * every:.3g} s"
        canvas.rect(LEFT + one * step, base - height, max(step - 1, 1), height, "work", hint)
    for second in range(int(bins * every) + 1):
        canvas.text(LEFT + second / every * step, base + 14, f"{second} s", "dim")


def _as_text(title: str, table: list[tuple[str, ...]], counts: dict[str, Counter[int]], every: float) -> str:
    names = list(counts)
    bins = sorted({one for group in counts.values() for one in group})
    numbers = [("from", *names)]
    numbers += [(f"{one * every:.2f} s", *(f"{counts[name][one]:,}" for name in names)) for one in bins]
    return "\n".join([title, *_columns(table), "", *_columns(numbers)])


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
