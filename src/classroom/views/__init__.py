"""Views: panels, browsers and pictures that are alive in a notebook, and say the same as text everywhere else.

from classroom import dead_letter_browser, panel, predict, timeline
"""

from __future__ import annotations

from typing import Any

__all__ = ["panel"]


def panel(subject: Any) -> Any:
    """A panel for a service: its state, its log, and buttons that break and mend it."""
    from classroom.service_handle import ServiceHandle
    from classroom.views.service_panel import ServicePanel

    if isinstance(subject, ServiceHandle):
        return ServicePanel(subject)
    raise TypeError(f"a panel is for a service, not for a {type(subject).__name__}: panel(payments)")
