"""The report of a measurement: numbers, a table, and a plot that says in words what it shows."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = (50, 95, 99)  # percentiles


def percentile(ordered: Sequence[float], p: float) -> float:
    """The smallest value that at least `p` % of the values do not exceed; NaN when there are none.

    `ordered` is sorted; 0 < p <= 100. This is definition 1 of Hyndman and Fan, "Sample Quantiles in Statistical
    Packages", The American Statistician 50 (1996), also called nearest rank: every result is a value that was measured.
    """
    if not 0 < p <= 100:
        raise ValueError(f"a percentile is more than 0 and at most 100, not {p!r}")
    return ordered[max(1, math.ceil(len(ordered) * p / 100)) - 1] if ordered else math.nan


@dataclass(frozen=True, repr=False)
class Report:
    """What `measure.send` found. Times are in ms and of answered requests only; `throughput` is in messages/s."""

    pattern: str
    transport: str
    n: int
    concurrency: int
    warmup: int
    payload_bytes: int
    seconds: float
    latencies: tuple[float, ...] = field(repr=False)  # sorted
    errors: dict[str, int]  # by kind: the request was answered with an error, or was never sent
    unknown: dict[str, int]  # by kind: no answer came, and the work may have been done

    @property
    def answered(self) -> int:
        """Requests that got their answer."""
        return len(self.latencies)

    @property
    def sent(self) -> int:
        """Requests that were tried; fewer than `n` when the time limit came first."""
        return self.answered + sum(self.errors.values()) + sum(self.unknown.values())

    @property
    def p50(self) -> float:
        """Half of the answers took at most this long, in ms."""
        return percentile(self.latencies, 50)

    @property
    def p95(self) -> float:
        """95 % of the answers took at most this long, in ms."""
        return percentile(self.latencies, 95)

    @property
    def p99(self) -> float:
        """99 % of the answers took at most this long, in ms."""
        return percentile(self.latencies, 99)

    @property
    def max(self) -> float:
        """The slowest answer, in ms."""
        return percentile(self.latencies, 100)

    @property
    def throughput(self) -> float:
        """Answers per second of the measured time, all callers together."""
        return self.answered / self.seconds if self.seconds else math.nan

    def rows(self) -> list[tuple[str, str]]:
        """The figures as (name, value with its unit)."""
        times = [(f"p{p}", _ms(percentile(self.latencies, p))) for p in SHOWN]
        rows = [("answered", f"{self.answered:,} of {self.sent:,}"), *times, ("max", _ms(self.max))]
        rows.append(("throughput", f"{self.throughput:,.0f} messages/s"))
        rows += [(f"error: {kind}", f"{count:,}") for kind, count in self.errors.items()]
        rows += [(f"unknown outcome: {kind}", f"{count:,}") for kind, count in self.unknown.items()]
        return rows

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        late = "" if self.sent == self.n else f" (of {self.n:,}: the time limit came first)"
        size = "1 byte" if self.payload_bytes == 1 else f"{self.payload_bytes:,} bytes"
        return (
            f"{self.sent:,} requests{late} to {self.pattern} over {self.transport}, {self.concurrency} at a time, "
            f"payload of {size}, after {self.warmup:,} to warm up"
        )

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join([self.title, *(f"  {name:<{width}}  {value}" for name, value in rows)])

    def _repr_html_(self) -> str:
        return _table(html.escape(self.title), self.rows())

    def plot(self) -> Plot:
        """Latency by percentile: how slow are the slowest? With alt text, and a table beside it."""
        return Plot(self)


class Plot:
    """A percentile plot; its text is its twin for readers who cannot see it."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __repr__(self) -> str:
        return f"{self.alt}\n{self.report!r}"

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        report = self.report
        times = ", ".join(f"{_ms(percentile(report.latencies, p))} at p{p}" for p in SHOWN)
        return f"Line: latency rises with the percentile, from {times}, to {_ms(report.max)} at the most."

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.png()).decode()
        image = f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{picture}">'
        return f'<div style="display: flex; flex-wrap: wrap; gap: 1em">{image}{self.report._repr_html_()}</div>'

    def png(self) -> bytes:
        """The picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 3.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        self._draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()

    def _draw(self, axes: Any) -> None:
        """The x axis gives each further nine of a percentile the same width: 90, 99, 99.9 ..."""
        values = self.report.latencies
        count = len(values)
        axes.plot([count / (count - rank) for rank in range(count)], values, drawstyle="steps-pre")
        axes.set_xscale("log")
        ticks = [(1 / (1 - p / 100), f"p{p:g}") for p in (50, 90, 99, 99.9, 99.99, 99.999)]
        shown = [(x, name) for x, name in ticks if x <= max(count, 2)]
        axes.set_xticks([x for x, _ in shown], [name for _, name in shown], minor=False)
        axes.minorticks_off()
        axes.set(xlabel="percentile", ylabel="latency in ms", ylim=(0, None))
        axes.grid(alpha=0.3)


def _ms(value: float) -> str:
    """Three significant digits: a timer's noise is larger."""
    if math.isnan(value):
        return "-"
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 2
    return f"{value:,.{digits}f} ms"


def _table(caption: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table><caption style="text-align: left">{caption}</caption><tbody>{body}</tbody></table>'
