"""Reads a notebook as it comes back: any version since 3, of any kernel, with outputs of any size, broken or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read"]

MOST_CELLS, LONGEST, MOST_TEXT = 2000, 200_000, 1_500_000  # cells; characters of one, of all


def read(path: str) -> list[dict[str, str]]:
    """Its cells in order: kind ("code", "markdown", ...), id, grade_id and source, each a text.

    Raises ValueError for what is no notebook, with the reason in a line.
    """
    try:
        found = json.loads(Path(path).read_bytes())
    except RecursionError:
        raise ValueError("it is nested too deep to be a notebook") from None
    except UnicodeDecodeError:
        raise ValueError("it is not text, so it is no notebook") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON, so it is no notebook: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("its JSON is no notebook")
    cells = found.get("cells")
    if cells is None and isinstance(found.get("worksheets"), list):  # format 3
        sheets = [one for one in found["worksheets"] if isinstance(one, dict)]
        cells = [cell for one in sheets for cell in one.get("cells") or []]
    if not isinstance(cells, list):
        raise ValueError("its JSON has no cells, so it is no notebook")
    read = [_cell(one) for one in cells[:MOST_CELLS] if isinstance(one, dict)]
    if sum(len(one["source"]) for one in read) > MOST_TEXT:
        raise ValueError(f"its cells have more than {MOST_TEXT:,} characters, which nobody has written for a lab")
    return read


def _cell(cell: dict[str, Any]) -> dict[str, str]:
    metadata = cell.get("metadata")
    grader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = grader.get("grade_id") if isinstance(grader, dict) else None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(one for one in source if isinstance(one, str))
    kind, ident = cell.get("cell_type"), cell.get("id")
    texts = {"kind": kind, "id": ident, "grade_id": grade_id, "source": source}
    return {name: text[:LONGEST] if isinstance(text, str) else "" for name, text in texts.items()}
