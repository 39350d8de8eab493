"""One broken rule of a notebook, and how a message names a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One broken rule: where it is broken, how, and what to do about it."""

    where: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.do}"


def cell_name(index: int, cell: Any) -> str:
    """How a message names a cell: its place, counted from 1, and its id."""
    return f"cell {index + 1} ({cell.id})"
