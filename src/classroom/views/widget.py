"""The one widget of all views: it shows HTML, and says what was pressed. Imported when a view is first displayed."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

from classroom.observe.picture import DARK, LIGHT

__all__ = ["ViewWidget"]

HERE = Path(__file__).parent


def _variables(theme: dict[str, str]) -> str:
    return ";".join(f"--dlo-{name}:{colour}" for name, colour in theme.items())


THEMES = f"""
.dlo-view{{{_variables(LIGHT)}}}
@media (prefers-color-scheme:dark){{.dlo-view{{{_variables(DARK)}}}}}
[data-jp-theme-light="true"] .dlo-view{{{_variables(LIGHT)}}}
[data-jp-theme-light="false"] .dlo-view{{{_variables(DARK)}}}
"""


class ViewWidget(anywidget.AnyWidget):
    """`html` is what it shows, `label` what a screen reader calls it, `ident` what its browser knows it by."""

    _esm = (HERE / "view.js").read_text(encoding="utf-8")
    _css = THEMES + (HERE / "view.css").read_text(encoding="utf-8")
    html = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    ident = traitlets.Unicode("").tag(sync=True)
