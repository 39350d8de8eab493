"""What a stored notebook shows: of a view, what is there without its kernel, and before a reader trusts the notebook.

JupyterLab shows a notebook that somebody else has run without its SVG and its scripts. A picture in an <img> stays.
"""

from __future__ import annotations

import base64
import re
from typing import Any

__all__ = ["hide_guess", "keep_what_stays"]

LIVE_ONLY = "application/vnd.jupyter.widget-view+json"  # a widget: without its kernel there is none
DRAWN = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
LABEL = re.compile(r'aria-label="([^"]*)"')


def hide_guess(cell: Any) -> None:
    """Collapse a cell that asks by `predict(...)`, in place: its code tells the answer. JupyterLab shows its output."""
    if re.search(r"^\w+ = predict\(", cell.source, re.MULTILINE):
        cell.metadata["jupyter"] = {"source_hidden": True}


def keep_what_stays(data: dict[str, Any]) -> None:
    """Change an output's data, in place: no widget, and its SVG as images with the same text for who cannot see."""
    data.pop(LIVE_ONLY, None)
    if "text/html" in data:
        data["text/html"] = DRAWN.sub(_as_image, data["text/html"])


def _as_image(drawn: re.Match[str]) -> str:
    label = LABEL.search(drawn[0])
    source = base64.b64encode(drawn[0].encode()).decode()
    return f'<img alt="{label[1] if label else ""}" src="data:image/svg+xml;base64,{source}">'
