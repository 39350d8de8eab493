"""The course's gear: brokers, services in cells, measuring and checks. Importing it in a notebook gives %%service.

from classroom import check, measure, panel, predict, start_broker, start_ledger, timeline
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import classroom.measure as measure
    from classroom.brokers import start_broker
    from classroom.checks import check
    from classroom.ledger import start_ledger
    from classroom.views import dead_letter_browser, panel, start_page, timeline
    from classroom.views.predict import predict

__all__ = [
    "check",
    "dead_letter_browser",
    "measure",
    "panel",
    "predict",
    "start_broker",
    "start_ledger",
    "start_page",
    "timeline",
]

_HOMES = {
    "check": "checks",
    "dead_letter_browser": "views",
    "panel": "views",
    "predict": "views.predict",
    "start_broker": "brokers",
    "start_ledger": "ledger",
    "start_page": "views",
    "timeline": "views",
}


def __getattr__(name: str) -> Any:
    """Load on first use: the import of the package stays quick."""
    if name == "measure":
        return importlib.import_module("classroom.measure")
    if name not in _HOMES:
        raise AttributeError(f"module 'classroom' has no attribute {name!r}")
    return getattr(importlib.import_module(f"classroom.{_HOMES[name]}"), name)


def _register_magic() -> None:
    ipython = sys.modules.get("IPython")  # a notebook has it loaded; nothing else pays for it
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        from classroom import readable_errors, services

        services.register(shell)
        readable_errors.register(shell)


_register_magic()
