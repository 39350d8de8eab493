"""HTML that is built, not glued: text is escaped unless it is Markup already."""

from __future__ import annotations

import html
from typing import TypeAlias

__all__ = ["Child", "Markup", "tag"]

ALONE = ("br", "input")  # elements without an end


class Markup(str):
    """Text that is HTML; every other text is escaped when it goes into an element."""

    __slots__ = ()


Child: TypeAlias = "str | list[Markup] | list[str] | None"


def tag(element: str, /, *inside: Child, **attributes: object) -> Markup:
    """An element. `class_` and `for_` lose their `_`, others become hyphens; True is a bare attribute, None none."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    given = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in pairs
        if value is not None and value is not False
    )
    if element in ALONE:
        return Markup(f"<{element}{given}>")
    return Markup(f"<{element}{given}>{''.join(map(_escaped, inside))}</{element}>")


def _escaped(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, list):
        return "".join(map(_escaped, child))
    return child if isinstance(child, Markup) else html.escape(child, quote=False)
