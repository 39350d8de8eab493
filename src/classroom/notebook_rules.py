"""What a notebook of the course must keep to, and what to do where it does not.

Three kinds of rule: stored things agree with their sources (outputs, labs, ids); a lesson reads like one (its
budgets of cells, lines and text; `lesson_rules` has the rest); everyone can follow it (headings in order, figures
with words beside them).
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import nbformat.v4

from classroom.lesson_rules import Size, closing, is_hidden, opening, predictions, size_of
from classroom.notebook_problem import Problem, cell_name
from classroom.notebooks import (
    BEGIN,
    INSTEAD,
    Notebook,
    NotebookError,
    code_cells,
    fingerprint,
    make_lab,
    read,
    stored_fingerprint,
)

LINES_MEDIAN, LINES_P90, LINES_MOST = 4, 12, 25
TEXT_PER_CODE = (1.0, 1.4)  # text cells for each code cell
CODE_IN_A_ROW = 2


def lines(cell: Any) -> int:
    """How many lines of a code cell a reader reads: blank ones do not count."""
    return sum(1 for line in cell.source.splitlines() if line.strip())


def ids(notebook: Notebook) -> Iterator[Problem]:
    """Every id is used once, and none is a random one, which would change with each rewrite."""
    seen: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        if cell.id in seen:
            yield Problem(cell_name(index, cell), "has an id that another cell has.", "Give it its own.")
        elif re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,4}[0-9a-f-]*", cell.id):
            yield Problem(cell_name(index, cell), "has a random id.", "Give it a name that means something.")
        seen.add(cell.id)


def outputs(notebook: Notebook) -> Iterator[Problem]:
    """The stored outputs belong to the code as it stands, and show no failure that was not meant."""
    if stored_fingerprint(notebook) != fingerprint(notebook):
        yield Problem("outputs", "are older than the code.", "Run `make notebooks` and commit the result.")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and "raises-exception" not in cell.metadata.get("tags", []):
            yield Problem(cell_name(index, cell), "shows an error.", "Mend it, or tag it raises-exception.")


def headings(notebook: Notebook) -> Iterator[Problem]:
    """One H1, in the first cell, and no level left out on the way down."""
    found = [
        (index, len(match[1]))
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown"
        for match in re.finditer(r"^(#{1,6}) ", re.sub(r"(?ms)^```.*?^```", "", cell.source), re.MULTILINE)
    ]
    tops = [index for index, level in found if level == 1]
    if tops != [0]:
        yield Problem("headings", f"there are {len(tops)} of level 1.", "Put one, in the first cell.")
    for (_, above), (index, level) in pairwise(found):
        if level > above + 1:
            where = cell_name(index, notebook.cells[index])
            yield Problem(where, f"goes from level {above} to {level}.", f"Make it level {above + 1}.")


def figures(notebook: Notebook) -> Iterator[Problem]:
    """A figure says in words what it shows, and its numbers stand in a table with it."""
    for index, cell in enumerate(notebook.cells):
        where = cell_name(index, cell)
        texts = [cell.source] if cell.cell_type == "markdown" else []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            html = "".join(data.get("text/html", ""))
            texts.append(html)
            if any(kind.startswith("image/") for kind in data) and "<img" not in html:
                yield Problem(where, "shows an image without alt text.", "Show it as HTML, with alt=.")
            if re.search(r"<(img|svg)\b", html) and not re.search(r"<(table|pre)\b", html):
                yield Problem(where, "shows a figure without its numbers.", "Put a table beside it.")
        for tag in re.findall(r"<(?:img|svg)\b[^>]*>|!\[\]\(", " ".join(texts)):
            if not re.search(r'\b(alt|aria-label)="[^"]+"|aria-hidden="true"', tag):
                yield Problem(where, "has an image without alt text.", "Say in words what it shows.")


def rhythm(notebook: Notebook) -> Iterator[Problem]:
    """Prose comes between: never three code cells in a row."""
    numbered = enumerate(notebook.cells)
    for kind, run in groupby(numbered, key=lambda pair: pair[1].cell_type):
        cells = list(run)
        if kind == "code" and len(cells) > CODE_IN_A_ROW:
            where = cell_name(*cells[CODE_IN_A_ROW])
            yield Problem(where, f"is code cell {len(cells)} in a row.", "Put a sentence before it.")


def budgets(notebook: Notebook, size: Size) -> Iterator[Problem]:
    """A notebook has the length of its kind, the code that is read is short, and text and code keep a balance."""
    count, code = len(notebook.cells), code_cells(notebook)
    if count not in size.cells:
        what = f"a {size.kind} of {count} cells, not {size.cells[0]} to {size.cells[-1]}."
        yield Problem("length", what, "Split or join ideas.")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and lines(cell) > LINES_MOST:
            what = f"has {lines(cell)} lines, more than {LINES_MOST}."
            yield Problem(cell_name(index, cell), what, "Split it, or move a helper to the package.")
    lengths = [lines(cell) for cell in code if not is_hidden(cell)]
    if len(lengths) < 2:
        return
    for name, got, most in (
        ("median", statistics.median(lengths), LINES_MEDIAN),
        ("90th percentile", statistics.quantiles(lengths, n=10, method="inclusive")[8], LINES_P90),
    ):
        if got > most:
            yield Problem("code", f"the {name} of lines a cell is {got:g}, over {most}.", "Shorten cells.")
    ratio = (count - len(code)) / len(code)
    if not TEXT_PER_CODE[0] <= ratio <= TEXT_PER_CODE[1]:
        low, high = TEXT_PER_CODE
        yield Problem("text", f"{ratio:.2f} text cells a code cell, not {low} to {high}.", "Balance them.")


def answers(notebook: Notebook) -> Iterator[Problem]:
    """Every cell that nbgrader calls a solution has an answer to take out, and every other has none."""
    for index, cell in enumerate(notebook.cells):
        marked = BEGIN in cell.source or INSTEAD in cell.source
        if marked != bool(cell.metadata.get("nbgrader", {}).get("solution")):
            what = "has an answer and no nbgrader metadata." if marked else "is a solution without markers."
            yield Problem(cell_name(index, cell), what, "Give it both, or neither.")


def lab(notebook: Notebook, path: Path) -> Iterator[Problem]:
    """The lab in labs/ is the one that this solution gives."""
    lab_path = path.parent.parent / "labs" / path.name
    wanted = nbformat.v4.writes(make_lab(notebook)) + "\n"
    if not lab_path.exists() or lab_path.read_text(encoding="utf-8") != wanted:
        yield Problem(f"labs/{path.name}", "is not what the solution gives.", "Run `make labs`.")


def problems(path: Path) -> list[Problem]:
    """All broken rules of one notebook; those of a lesson or of a solution, by the folder it is in."""
    notebook = read(path)
    found = [*ids(notebook), *outputs(notebook), *headings(notebook), *figures(notebook), *rhythm(notebook)]
    if path.absolute().parent.name == "solutions":
        found += [*answers(notebook), *lab(notebook, path.absolute())]
    else:
        found += budgets(notebook, size_of(path.name))
        found += [*opening(notebook, path.name), *predictions(notebook, path.name), *closing(notebook)]
    return found


def check(paths: Iterable[Path], root: Path) -> int:
    """Print every broken rule of these notebooks to stderr; return how many there are."""
    total = 0
    for path in paths:
        try:
            found: list[Problem | NotebookError] = list(problems(path))
        except NotebookError as error:
            found = [error]
        total += len(found)
        for problem in found:
            print(f"{path}, {problem}", file=sys.stderr)
    orphans = {p.name for p in (root / "labs").glob("*.ipynb")} - {p.name for p in (root / "solutions").glob("*")}
    for name in sorted(orphans):
        print(f"labs/{name} has no solution. Run `make labs`.", file=sys.stderr)
    return total + len(orphans)
