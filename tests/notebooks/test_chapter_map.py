"""docs/chapter-map.md: every cell that it names is there, and every section of the chapter that is written has rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from classroom.notebooks import read

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs/chapter-map.md"
SECTIONS = ("8.1", "8.2", "8.3", "8.4", "8.5", "8.6", "8.9")
LINK = re.compile(r"\[[^]]*\]\(\.\./((?:notebooks|solutions|labs)/[^)#]+\.ipynb)\)((?:,? *(?:cells? )?`[^`]+`)*)")


def sections() -> dict[str, list[str]]:
    """The rows of the page's tables, by the number of the section above them."""
    found: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in MAP.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## (8\.\d+)", line):
            rows = found.setdefault(heading[1], [])
        elif line.startswith("|") and not re.match(r"\|[-| :]+$", line):
            rows.append(line)
    return {name: rows[1:] for name, rows in found.items()}  # without the head of the table


ROWS = [row for rows in sections().values() for row in rows] if MAP.exists() else []


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_rows(section: str):
    """None is forgotten."""
    assert sections().get(section)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_leads_to_cells_that_are_there(row: str):
    """The notebook is there, and so is each cell by its id."""
    links = LINK.findall(row)
    assert links, "a row names a notebook and the ids of its cells"
    for path, cells in links:
        there = {cell.id for cell in read(ROOT / path).cells}
        named = re.findall(r"`([^`]+)`", cells)
        assert named, f"{path}: which cells?"
        assert set(named) <= there, f"{path} has no such cell"
