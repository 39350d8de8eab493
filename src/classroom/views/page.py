"""What a view shows, once for all readers: each block is text for a terminal, and HTML for a notebook.

A block that can be used (`live`) has controls; without a kernel it shows the same, and the verbs that do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from classroom.observe.picture import Picture
from classroom.views.markup import Markup, tag

__all__ = ["Block", "Button", "Buttons", "Choice", "Editor", "Log", "Page", "Pictured", "Said", "Slider", "Table"]


class Block(Protocol):
    """A part of a view."""

    def lines(self) -> Iterator[str]: ...
    def html(self, live: bool) -> Markup: ...


@dataclass(frozen=True)
class Said:
    """A sentence or two."""

    text: str

    def lines(self) -> Iterator[str]:
        yield from self.text.splitlines()

    def html(self, live: bool) -> Markup:
        return tag("p", self.text)


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of a row is its name. `wide`: the last column holds long text."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = "nothing"

    def lines(self) -> Iterator[str]:
        yield f"{self.caption}:" if self.rows else f"{self.caption}: {self.empty}"
        if self.rows:
            table = [self.head, *self.rows]
            widths = [max(len(row[column]) for row in table) for column in range(len(self.head))]
            for row in table:
                yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()

    def html(self, live: bool) -> Markup:
        if not self.rows:
            return tag("p", f"{self.caption}: {self.empty}")
        head = tag("tr", [tag("th", name, scope="col", style=LEFT) for name in self.head])
        rows = [
            tag("tr", tag("th", row[0], scope="row", style=LEFT), [tag("td", cell, style=LEFT) for cell in row[1:]])
            for row in self.rows
        ]
        table = tag(
            "table", tag("caption", self.caption, style=LEFT), tag("thead", head), tag("tbody", list[Markup](rows))
        )
        # what can be scrolled must be reachable by keyboard
        return tag("div", table, class_="scrolls", tabindex="0", role="group", aria_label=self.caption)


LEFT = "text-align: left"


@dataclass(frozen=True)
class Log:
    """The last lines that something printed."""

    title: str
    printed: Sequence[str]

    def lines(self) -> Iterator[str]:
        yield f"{self.title}:" if self.printed else f"{self.title}: nothing yet"
        yield from ("    " + line for line in self.printed)

    def html(self, live: bool) -> Markup:
        # aria-live off: read when one asks for it; a voice cannot follow a log
        words = {"role": "log", "aria_live": "off", "aria_label": self.title, "tabindex": "0", "data_tail": True}
        style = None if live else "max-height: 16em; overflow: auto"
        return tag("pre", "\n".join(self.printed) or "nothing printed yet", class_="log", style=style, **words)


@dataclass(frozen=True)
class Button:
    """What can be done, by a press or by `code`. `why_not`: the reason why it cannot be done now."""

    act: str
    label: str
    code: str
    arg: str | None = None
    why_not: str = ""

    def html(self) -> Markup:
        # aria-disabled, since a button that is `disabled` loses the keyboard's focus
        off = "true" if self.why_not else None
        return tag(
            "button", self.label, type="button", id=f"{self.act}-{self.arg or ''}", data_act=self.act,
            data_arg=self.arg, aria_disabled=off, title=f"{self.code}: {self.why_not}" if self.why_not else self.code,
        )  # fmt: skip


@dataclass(frozen=True)
class Buttons:
    """A row of buttons; as text, the code that does the same."""

    label: str
    buttons: Sequence[Button]

    def lines(self) -> Iterator[str]:
        yield f"{self.label}: " + "  ".join(dict.fromkeys(one.code for one in self.buttons))

    def html(self, live: bool) -> Markup:
        if live:
            return tag("div", [one.html() for one in self.buttons], class_="row", role="group", aria_label=self.label)
        codes = dict.fromkeys(one.code for one in self.buttons)
        return tag("p", f"{self.label}: ", [Markup(f"{tag('code', code)} ") for code in codes])


@dataclass(frozen=True)
class Slider:
    """A number that is set by hand; `unit` is read with it."""

    act: str
    label: str
    value: float
    high: float
    step: float
    unit: str
    code: str

    def lines(self) -> Iterator[str]:
        yield f"{self.label}: {self.value:g} {self.unit}  ({self.code})"

    def html(self, live: bool) -> Markup:
        shown = f"{self.value:g} {self.unit}"
        if not live:
            return tag("p", f"{self.label}: {shown} (", tag("code", self.code), ")")
        slide = tag(
            "input", type="range", id=self.act, data_act=self.act, min="0", max=f"{self.high:g}",
            step=f"{self.step:g}", value=f"{self.value:g}", aria_valuetext=shown, data_unit=self.unit, title=self.code,
        )  # fmt: skip
        return tag(
            "div",
            tag("label", self.label, for_=self.act),
            slide,
            tag("span", shown, class_="amount", aria_hidden="true"),
            class_="row",
        )


@dataclass(frozen=True)
class Choice:
    """One of several, as radio buttons: arrow keys choose. `options` maps a value to its text."""

    act: str
    label: str
    options: dict[str, str]
    chosen: str | None = None

    def lines(self) -> Iterator[str]:
        yield self.label
        yield from (f"  ({'x' if one == self.chosen else ' '}) {one}: {text}" for one, text in self.options.items())

    def html(self, live: bool) -> Markup:
        if not live:
            rows = [tag("li", tag("b", f"{one}: "), text, self._chosen(one)) for one, text in self.options.items()]
            return tag("div", tag("p", tag("b", self.label)), tag("ul", rows))
        rows = [self._option(one, text) for one, text in self.options.items()]
        return tag("fieldset", tag("legend", self.label), tag("div", rows, class_="options"))

    def _chosen(self, one: str) -> str:
        return " (chosen)" if one == self.chosen else ""

    def _option(self, one: str, text: str) -> Markup:
        ident = f"{self.act}-{one}"
        radio = tag(
            "input", type="radio", id=ident, name=self.act, value=one, data_act=self.act, checked=one == self.chosen
        )
        return tag("div", radio, tag("label", tag("b", f"{one}: "), text, for_=ident), data_key=ident)


@dataclass(frozen=True)
class Editor:
    """Text that can be changed. `key`: another key is another text; with the same, what was typed stays."""

    name: str
    label: str
    text: str
    key: str

    def lines(self) -> Iterator[str]:
        yield f"{self.label}:"
        yield from ("    " + line for line in self.text.splitlines())

    def html(self, live: bool) -> Markup:
        if not live:
            return tag("div", tag("p", f"{self.label}:"), tag("pre", self.text))
        rows = str(min(16, max(3, self.text.count("\n") + 2)))
        area = tag(
            "textarea", self.text, id=self.name, name=self.name, rows=rows, spellcheck="false", data_key=self.key
        )
        return tag("div", tag("label", self.label, for_=self.name), area, class_="column")


@dataclass(frozen=True)
class Pictured:
    """A picture with its text twin."""

    picture: Picture

    def lines(self) -> Iterator[str]:
        yield from repr(self.picture).splitlines()

    def html(self, live: bool) -> Markup:
        return Markup(self.picture._repr_html_())


@dataclass(frozen=True)
class Page:
    """A whole view. `status` is read out when it changes; `trouble` says what went wrong, with its traceback."""

    title: str
    status: str
    blocks: Sequence[Block] = field(default_factory=list)
    trouble: str = ""
    traceback: str = ""

    def text(self) -> str:
        """The view as text."""
        trouble = [f"PROBLEM: {self.trouble}"] if self.trouble else []
        said = [f"{self.title}: {self.status}" if self.status else self.title]
        return "\n".join([*said, *trouble, *(f"  {line}" for one in self.blocks for line in one.lines())])

    def html(self, live: bool) -> Markup:
        """The view as HTML, with controls where it is `live`."""
        return Markup(
            tag("div", tag("b", self.title), class_="title")
            + tag("div", self.status, role="status" if live else None, class_="status")
            + tag("div", self._problem(), role="alert" if live else None)
            + "".join(one.html(live) for one in self.blocks)
        )

    def _problem(self) -> Markup | None:
        if not self.trouble:
            return None
        folded = tag("details", tag("summary", "Traceback"), tag("pre", self.traceback, tabindex="0"))
        return tag(
            "div",
            tag("b", "✕ Problem: "),
            tag("span", self.trouble),
            folded if self.traceback else None,
            class_="trouble",
        )
