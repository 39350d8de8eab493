"""Submissions made from code: the lab as it is handed out, with some cells replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classroom.notebooks import START, START_TEXT, read, take_out_answers

ROOT = Path(__file__).parents[2]
Notebook = dict[str, Any]


def path_of(lab: str) -> Path:
    """The solution of a lab."""
    (path,) = (ROOT / "solutions").glob(f"{lab}-*.ipynb")
    return path


def reference(lab: str, cell: str) -> str:
    """The source of a solution's cell."""
    return str(next(one.source for one in read(path_of(lab)).cells if one.id == cell))


def notebook(lab: str, cells: dict[str, str], solved: bool = False) -> Notebook:
    """The lab as handed out (or solved), with the cells of some ids replaced, as JSON's values."""
    found = json.loads(path_of(lab).read_text(encoding="utf-8"))
    for cell in found["cells"]:
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        start = START if cell["cell_type"] == "code" else START_TEXT
        cell["source"] = cells.get(cell["id"], source if solved else take_out_answers(source, start))
        if "outputs" in cell:
            cell["outputs"] = []
    return found


Change = Callable[[Notebook], Any]


@dataclass(frozen=True)
class Case:
    """One submission and the task of it that matters.

    Attributes:
        name: what it does, in a few words. task: "05.ack". cells: id of a cell -> its source.
        change: what is done to the notebook besides; it may return bytes to be written in its place.
        file: its name. solved: whether the other cells have the answers in. short: tried in `make test`, too.
        unread: whether it is not even read, so that no task is failed.
    """

    name: str
    task: str
    cells: dict[str, str] = field(default_factory=dict)
    change: Change | None = None
    file: str = "student.ipynb"
    solved: bool = False
    short: bool = False
    unread: bool = False

    def write(self, folder: Path, fill: dict[str, str]) -> Path:
        """Write it; `fill` says what stands for @SECRET@ and the like in its cells."""
        cells = dict(self.cells)
        for name, source in cells.items():
            for word, value in fill.items():
                source = source.replace(word, value)
            cells[name] = source
        made = notebook(self.task.partition(".")[0], cells, self.solved)
        other = self.change(made) if self.change else None
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(other if isinstance(other, bytes) else json.dumps(made).encode())
        return path
