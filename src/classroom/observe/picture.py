"""Pictures with a text twin: SVG that is legible on light and dark pages, to eyes, screen readers and plain text."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree as ET

__all__ = ["DARK", "LIGHT", "Canvas", "Picture", "seconds", "shortened"]

# each on its theme's "paper": text has a contrast of 4.5 at least, lines of 3 (WCAG 2.2 AA); a test computes them
LIGHT = {
    "paper": "#ffffff", "ink": "#1f2328", "dim": "#57606a", "work": "#0b5cad", "fill": "#dbeafe",
    "bad": "#b42318", "badfill": "#fde8e6", "good": "#1a6b2f", "warn": "#8a4b00",
}  # fmt: skip
DARK = {
    "paper": "#1b1d21", "ink": "#e8eaed", "dim": "#a8b0ba", "work": "#7db7ff", "fill": "#1d3a5c",
    "bad": "#ff9a8f", "badfill": "#4a1d19", "good": "#7ddc93", "warn": "#ffc069",
}  # fmt: skip
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _variables(theme: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in theme.items())


STYLE = f"""
.dlo{{{_variables(LIGHT)};font:12px system-ui,sans-serif;background:var(--paper)}}
@media (prefers-color-scheme:dark){{.dlo{{{_variables(DARK)}}}}}
[data-jp-theme-light="true"] .dlo{{{_variables(LIGHT)}}}
[data-jp-theme-light="false"] .dlo{{{_variables(DARK)}}}
.dlo text{{fill:var(--ink);stroke:none}}.dlo .dim{{fill:var(--dim)}}
.dlo .paper{{fill:var(--paper)}}.dlo .axis{{stroke:var(--dim);fill:none}}
.dlo .work{{stroke:var(--work);fill:var(--fill)}}.dlo .line{{stroke:var(--work);fill:none}}
.dlo .bad{{stroke:var(--bad);fill:var(--badfill)}}.dlo .badline{{stroke:var(--bad);fill:none;stroke-width:2}}
.dlo .good{{stroke:var(--good);fill:none;stroke-width:2}}
.dlo .warn{{stroke:var(--warn);fill:var(--paper);stroke-width:1.5}}
.dlo .open{{fill:none}}
.dlo .tip{{fill:var(--work);stroke:none}}.dlo .warntip{{fill:var(--warn);stroke:none}}
.dlo .count{{fill:var(--dim);stroke:none}}
.dlo text.badtext{{fill:var(--bad)}}.dlo text.warntext{{fill:var(--warn)}}
"""


def seconds(value: float) -> str:
    """A span of time with the unit that suits it: 12 µs, 3.4 ms, 1.25 s."""
    size = abs(value)
    if size >= 1:
        return f"{value:.3g} s" if size < 100 else f"{value:,.0f} s"
    return f"{value * 1e3:.3g} ms" if size >= 0.001 else f"{value * 1e6:.0f} µs"


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


class Picture:
    """What a cell shows: the SVG with its text beneath, folded. `str()` is the text; `svg` the file."""

    def __init__(self, svg: str, text: str, title: str) -> None:
        self.svg, self.text, self.title = svg, text, title

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        folded = f"<details><summary>the same as text</summary><pre>{html.escape(self.text)}</pre></details>"
        return f'<div><div style="overflow-x:auto" tabindex="0">{self.svg}</div>{folded}</div>'

    def save(self, path: str) -> None:
        """Write the SVG to a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.svg)


class Canvas:
    """An SVG under construction. Whatever text it is given, it stays well-formed, and text stays text."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        size = {"width": f"{width:g}", "height": f"{height:g}", "viewBox": f"0 0 {width:g} {height:g}"}
        self.message = ""  # which one the next elements show, for a view in which they can be clicked
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "dlo", "role": "img", **size})
        self.root.set("aria-label", _clean(f"{title}. {description}"))
        ET.SubElement(self.root, "title").text = _clean(title)
        ET.SubElement(self.root, "desc").text = _clean(description)
        ET.SubElement(self.root, "style").text = STYLE
        self._add("rect", "paper", width=width, height=height)

    def __str__(self) -> str:
        return ET.tostring(self.root, encoding="unicode")

    def _add(self, tag: str, style: str, hint: str = "", **numbers: float | str) -> ET.Element:
        values = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in numbers.items()}
        element = ET.SubElement(self.root, tag, {"class": style, **values})
        if self.message:
            element.set("data-message", _clean(self.message))
        if hint:
            ET.SubElement(element, "title").text = _clean(hint)
        return element

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start", hint: str = "") -> None:
        self._add("text", style, x=x, y=y).set("text-anchor", anchor)
        self.root[-1].text = _clean(text)
        if hint:
            ET.SubElement(self.root[-1], "title").text = _clean(hint)

    def rect(self, x: float, y: float, width: float, height: float, style: str, hint: str = "") -> None:
        self._add("rect", style, hint, x=x, y=y, width=width, height=height, rx=2)

    def path(self, d: str, style: str, hint: str = "", dash: str = "") -> None:
        element = self._add("path", style, hint, d=d)
        if dash:
            element.set("stroke-dasharray", dash)

    def arrow(self, x: float, y: float, to_x: float, to_y: float, style: str, tip: str, hint: str, dash: str) -> None:
        """A line with a triangle at its end."""
        self.path(f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}", style, hint, dash)
        length = max(((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5, 0.001)
        along, across = ((to_x - x) / length * 8, (to_y - y) / length * 8), 0.45
        back_x, back_y = to_x - along[0], to_y - along[1]
        side_x, side_y = -along[1] * across, along[0] * across
        corners = [(to_x, to_y), (back_x + side_x, back_y + side_y), (back_x - side_x, back_y - side_y)]
        self.path("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in corners) + "Z", tip, hint)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return NOT_IN_XML.sub("�", text)
