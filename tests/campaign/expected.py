"""What each cell is expected to show: expected.toml, read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .breaks import Break
from .configs import Config

__all__ = ["Expectation", "expectation", "reasons"]


@dataclass(frozen=True)
class Expectation:
    """`lost` and `duplicates` are "none" (or bounded by the crashes), or "may": that many as the run shows.

    `dead` is "exact" (the dead letters are what can never be handled), or "may" (others may lie among them).
    """

    lost: str
    duplicates: str
    dead: str = "exact"
    why: str = ""

    def __str__(self) -> str:
        return f"lost: {self.lost}, again: {self.duplicates}"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("expected.toml").read_text(encoding="utf-8"))


def expectation(config: Config, fault: Break) -> Expectation:
    """The cell's own line, else its configuration's, else its delivery's."""
    table = _table()
    own = table.get(config.name, {})
    found = {**table[config.delivery], **own.get("all", {}), **own.get(fault.name, {})}
    if fault.name in table[config.delivery]:
        found |= table[config.delivery][fault.name]
    return Expectation(found["lost"], found["duplicates"], found.get("dead", "exact"), found.get("why", ""))


def reasons() -> list[str]:
    """Why some cells may lose or repeat, a line each."""
    return [
        f"{config}, {fault}: {cell['why']}"
        for config, cells in _table().items()
        for fault, cell in cells.items()
        if isinstance(cell, dict) and "why" in cell
    ]
