"""The course's gear: brokers, services in cells, measuring and checks. Importing it in a notebook gives %%service.

from classroom import check, measure, start_broker, start_ledger
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

__all__ = ["check", "measure", "start_broker", "start_ledger"]


def __getattr__(name: str) -> Any:
    """Load on first use: the import of the package stays quick."""
    if name == "measure":
        return importlib.import_module("classroom.measure")
    homes = {"start_broker": "classroom.brokers", "check": "classroom.checks", "start_ledger": "classroom.ledger"}
    if name not in homes:
        raise AttributeError(f"module 'classroom' has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)


def _register_magic() -> None:
    ipython = sys.modules.get("IPython")  # a notebook has it loaded; nothing else pays for it
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        from classroom.services import register

        register(shell)


_register_magic()
