"""The parts that all pages for students and instructors are made of: escaped, self-contained, readable by all.

A page loads nothing and runs nothing (its own policy forbids it). It names each verdict in words; colour comes on top.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

from classroom.observe.picture import DARK, LIGHT
from classroom.views.markup import Child, Markup, tag

__all__ = ["MARKS", "STATES", "cells", "document", "joined", "noted", "points", "said", "table", "visible"]

MARKS = {True: "✓ holds", False: "✕ does not hold", None: "? could not be judged"}
STATES = {
    "passed": "✓ passed",
    "failed": "✕ not passed",
    "unknown": "? could not be judged",
    "missing": "– no answer found",
    "manual": "… to be read by your instructor",
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
KEPT = "\n\t"  # control characters that are shown as what they are
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # kinds of characters that change how the others look
JOINERS = "\u200c\u200d\ufe0f"  # within words and emoji, where they belong


def visible(text: object) -> str:
    """Text in which nothing acts on a terminal or turns the reading direction: such characters are named instead."""
    return "".join(
        one if one in KEPT or one in JOINERS or unicodedata.category(one) not in HIDDEN else f"<U+{ord(one):04X}>"
        for one in str(text)
    )


def points(number: float | None) -> str:
    """Points as people write them; a dash where there are none yet."""
    return "–" if number is None else f"{number:.2f}".rstrip("0").rstrip(".")


def joined(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return Markup("".join(parts))


def said(text: str) -> Markup:
    """A text of several lines, as it was written."""
    return tag("div", visible(text), class_="text")


def noted(notes: Iterable[str]) -> list[Markup]:
    """Sentences that must not be passed over, such as that there was no sandbox."""
    return [tag("p", visible(note), class_="note") for note in notes]


def cells(row: Sequence[Child], heads: int = 1) -> Markup:
    """A row of a table; its first cells are its name."""
    names = [tag("th", _shown(one), scope="row") for one in row[:heads]]
    return tag("tr", names, [tag("td", _shown(one)) for one in row[heads:]])


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    """A table with its caption, in a frame that can be scrolled by keyboard where it is too wide."""
    names = tag("tr", [tag("th", name, scope="col") for name in head])
    body = tag("tbody", [cells(row) for row in rows])
    inside = tag("table", tag("caption", visible(caption)), tag("thead", names), body)
    return tag("div", inside, class_="scrolls", tabindex="0", role="group", aria_label=visible(caption))


def _shown(child: Child) -> Child:
    return child if isinstance(child, (Markup, list)) or child is None else visible(child)


def document(title: str, *body: Child) -> str:
    """A whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{tag('title', visible(title))}\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{tag('main', *body)}\n</body>\n</html>\n"
    )


def _theme(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in colours.items())


STYLE = f"""
:root{{{_theme(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{{_theme(DARK)}}}}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}}
main{{max-width:60rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}}
h1{{font-size:1.7rem;line-height:1.25;margin:0 0 .25rem}}
h2{{font-size:1.25rem;margin:2.4rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--dim)}}
h3{{font-size:1.05rem;margin:1.5rem 0 .4rem}}
p{{margin:.5rem 0}}p,h1,h2,h3{{overflow-wrap:anywhere}}.dim{{color:var(--dim)}}.total{{font-size:1.15rem}}
.scrolls{{overflow-x:auto;margin:.75rem 0}}
table{{border-collapse:collapse}}
caption{{text-align:left;color:var(--dim);padding-bottom:.25rem}}
th,td{{text-align:left;vertical-align:top;padding:.3rem 1.1rem .3rem 0;border-bottom:1px solid var(--dim)}}
th{{font-weight:600}}tbody th{{font-weight:500}}
h2+.scrolls caption{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
.bad{{color:var(--bad);font-weight:600}}.good{{color:var(--good)}}.open{{color:var(--warn);font-weight:600}}
.box{{border-left:4px solid var(--bad);padding:.1rem 0 .1rem 1rem;margin:1.25rem 0}}.box h3{{margin-top:.2rem}}
.note{{border-left:4px solid var(--warn);padding:.1rem 0 .1rem 1rem;margin:1rem 0}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.4rem 0}}
dt{{color:var(--dim)}}dd{{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}}
.text{{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--dim);border-radius:4px;padding:.6rem .8rem}}
.sides{{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:1rem}}
summary{{cursor:pointer}}:focus-visible{{outline:3px solid var(--work);outline-offset:2px}}
code{{font:.9em ui-monospace,monospace}}
@media (max-width:34rem){{
main{{padding:1rem .8rem 3rem}}table{{font-size:.86rem;line-height:1.4}}
th,td{{padding-right:.55rem}}.text{{padding:.5rem}}}}
@media print{{.scrolls{{overflow:visible}}}}
"""
