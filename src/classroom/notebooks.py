"""Keep the course's notebooks true: make the labs, execute the lessons, refuse what is stale.

    python -m classroom.notebooks labs              solutions/*.ipynb -> labs/*.ipynb, answers taken out
    python -m classroom.notebooks run [NB ...]      execute in a real kernel and store the outputs
    python -m classroom.notebooks check [NB ...]    fail when something is stale, unnamed or over its budget
    python -m classroom.notebooks text NB           print a notebook as text (py:percent), ids included
    python -m classroom.notebooks update TEXT NB    write such a text back; outputs of unchanged cells stay

Run them in the course's folder, the one that holds notebooks/, solutions/ and labs/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4
import nbformat.validator

from classroom.notebook_cost import measured
from classroom.stored import hide_guess, keep_what_stays

Notebook = Any  # nbformat has no types of its own

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
INSTEAD = "### START "  # what stands behind it is in the lab in the place of an answer
START_TEXT = "*Your answer goes here.*"
START = 'raise NotImplementedError("Your code goes here: see the text above.")'
CELL_TIMEOUT = 120  # seconds; the longest cell, a check, needs about fifteen on a quiet machine
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class NotebookError(Exception):
    """A notebook cannot be read, generated or executed. The message names the cell and the next step."""


def read(path: Path) -> Notebook:
    """Read a notebook of format 4.5 or later (cells have ids). Raises `NotebookError` for anything else."""
    try:
        notebook = nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))
        broken = next(iter(nbformat.validator.iter_validate(notebook)), None)
    except (OSError, ValueError, LookupError, AttributeError) as error:
        raise NotebookError(f"{path}: is not a notebook that can be read: {error}") from error
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        raise NotebookError(f"{path}: has no cell ids (it is older than format 4.5). Save it in JupyterLab 4.")
    if broken is not None:
        raise NotebookError(f"{path}: is not a valid notebook: {broken.message}. Open it in JupyterLab to see.")
    return nbformat.v4.rwbase.rejoin_lines(notebook)


def write(notebook: Notebook, path: Path) -> None:
    """Write a notebook whole or not at all; equal notebooks give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(nbformat.v4.writes(notebook) + "\n", encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def code_cells(notebook: Notebook) -> list[Any]:
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def fingerprint(notebook: Notebook) -> str:
    """A hash over everything that outputs depend on: the code cells' sources and their order."""
    sources = json.dumps([cell.source for cell in code_cells(notebook)])
    return hashlib.sha256(sources.encode()).hexdigest()


def stored_fingerprint(notebook: Notebook) -> str | None:
    """The fingerprint at the time the stored outputs were made; None if the notebook was never run."""
    value = notebook.metadata.get("classroom", {}).get("sources")
    return value if isinstance(value, str) else None


# ---- solutions -> labs


def take_out_answers(source: str, start: str = START) -> str:
    """Replace each answer between the two markers by a start that fails for a clear reason, or runs and is wrong.

    Lines of the answer that begin with `### START` are its start, where it has one of its own; below a line outside,
    such as that of %%service, one stands for the start of that line.
    Raises `NotebookError` when the markers do not come in pairs.
    """
    kept: list[str] = []
    own: list[str] | None = None  # the starts of the answer that is being read
    for line in source.splitlines():
        mark = line.strip()
        if mark in (BEGIN, END) and (own is None) != (mark == BEGIN):
            raise NotebookError(f"{mark!r} has no partner. Each answer needs {BEGIN!r} and then {END!r}.")
        if mark == BEGIN:
            own, stub = [], line[: len(line) - len(line.lstrip())] + start
        elif mark == END:
            kept += own or [stub]
            own = None
        elif mark.startswith(INSTEAD) and own is None:
            kept[-1:] = [line.replace(INSTEAD, "", 1)]
        elif mark.startswith(INSTEAD):
            own = [*(own or []), line.replace(INSTEAD, "", 1)]
        elif own is None:
            kept.append(line)
    if own is not None:
        raise NotebookError(f"{BEGIN!r} is never closed. Put {END!r} after the answer.")
    return "\n".join(kept)


def make_lab(solution: Notebook) -> Notebook:
    """The lab that belongs to a solution: same cells and ids, no answers, no outputs."""
    cells = []
    for cell in solution.cells:
        code = cell.cell_type == "code"
        try:
            source = take_out_answers(cell.source, START if code else START_TEXT)
        except NotebookError as error:
            raise NotebookError(f"cell {cell.id!r}: {error}") from None
        fields = {"id": cell.id, "metadata": cell.metadata}
        if code:
            cells.append(nbformat.v4.new_code_cell(source, **fields))
        else:
            cells.append(nbformat.v4.new_markdown_cell(source, **fields))
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA, nbformat_minor=5)


def make_labs(root: Path) -> list[Path]:
    """Generate labs/ from solutions/ under `root`; return the labs written. A lab without a solution goes."""
    made = []
    for path in sorted((root / "solutions").glob("*.ipynb")):
        try:
            lab = make_lab(read(path))
        except NotebookError as error:
            raise NotebookError(f"{path.relative_to(root)}, {error}") from None
        made.append(root / "labs" / path.name)
        write(lab, made[-1])
    for path in set((root / "labs").glob("*.ipynb")) - set(made):
        path.unlink()
    return made


# ---- executing


def execute(notebook: Notebook, folder: Path) -> Notebook:
    """Execute every cell in a fresh kernel started in `folder`; return the notebook with its outputs.

    Raises `NotebookError` at the first cell that fails and is not tagged `raises-exception`. Nothing of
    the kernel is left when this returns.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # not a word on a kernel that nobody else can reach
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=os.environ | {"CLASSROOM_PROGRESS": os.devnull})  # nobody's progress
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(f"did not run to its end, so nothing was stored.\n{error}") from None
    for cell in code_cells(notebook):
        hide_guess(cell)
        for output in cell.outputs:
            keep_what_stays(output.get("data", {}))
    notebook.metadata = nbformat.from_dict(METADATA | {"classroom": {"sources": fingerprint(notebook)}})
    return notebook


def run(paths: Iterable[Path]) -> int:
    """Execute notebooks one after the other, store their outputs, say what each took; return how many failed."""
    failed = 0
    for path in paths:
        print(f"{path}: running", flush=True)
        try:
            with measured() as cost:
                done = execute(read(path), path.parent)
            write(done, path)
            print(f"{path}: {cost}", flush=True)
        except NotebookError as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
    return failed


# ---- notebooks as text


def to_text(notebook: Notebook) -> str:
    """A notebook as py:percent text; every cell's id stands in its header."""
    import jupytext

    for cell in notebook.cells:
        cell.metadata["id"] = cell.id
    notebook.metadata = {}
    return str(jupytext.writes(notebook, fmt={"extension": ".py", "format_name": "percent"}))


def derived_id(source: str, taken: set[str]) -> str:
    """An id for a cell that has none: its first words and, if need be, a number. Always the same."""
    words = re.findall(r"[a-z0-9]+", source.lower())[:5]
    base = "-".join(words)[:50] or "cell"
    return next(name for n in range(1, 10_000) if (name := base if n == 1 else f"{base}-{n}") not in taken)


def from_text(text: str, before: Notebook | None = None) -> Notebook:
    """The notebook that a py:percent text describes.

    Ids come from the cell headers (`# %% id="..."`), or else from the cell's first words. A cell that
    `before` has with the same id and source keeps its outputs, and the fingerprint of `before` stays:
    so `check` sees whether the notebook must run again.
    """
    import jupytext

    notebook = jupytext.reads(text, fmt={"extension": ".py", "format_name": "percent"})
    named = {cell.metadata["id"] for cell in notebook.cells if "id" in cell.metadata}
    old = {cell.id: cell for cell in before.cells} if before else {}
    for cell in notebook.cells:
        cell.id = cell.metadata.pop("id", None) or derived_id(cell.source, named)
        cell.metadata.pop("lines_to_next_cell", None)
        hide_guess(cell)
        named.add(cell.id)
        kept = old.get(cell.id)
        if cell.cell_type == "code" and kept is not None and kept.source == cell.source:
            cell.outputs, cell.execution_count = kept.outputs, kept.execution_count
    metadata = METADATA | ({"classroom": before.metadata.get("classroom", {})} if before else {})
    return nbformat.v4.new_notebook(cells=notebook.cells, metadata=metadata, nbformat_minor=5)


# ---- the command line


def lessons_and_solutions(root: Path) -> list[Path]:
    """Every notebook whose outputs are stored. Raises `NotebookError` outside the course's folder."""
    found = [path for name in ("notebooks", "solutions") for path in sorted((root / name).glob("*.ipynb"))]
    if not found:
        raise NotebookError(f"no notebooks in {root.absolute()}. Run this in the course's folder.")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command line described at the top of this module; return the exit code."""
    parser = argparse.ArgumentParser(prog="classroom notebooks", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("labs", help="generate labs/ from solutions/")
    for name, text in (("run", "execute and store outputs"), ("check", "fail when something is stale")):
        commands.add_parser(name, help=text).add_argument("notebooks", nargs="*", type=Path)
    commands.add_parser("text", help="print a notebook as text").add_argument("notebook", type=Path)
    update = commands.add_parser("update", help="write an edited text back")
    update.add_argument("text", type=Path)
    update.add_argument("notebook", type=Path)
    try:
        return _command(parser.parse_args(argv), Path())
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1


def _command(options: argparse.Namespace, root: Path) -> int:
    if options.command == "labs":
        for path in make_labs(root):
            print(f"{path.relative_to(root)}: made from solutions/{path.name}")
        return 0
    if options.command == "text":
        print(to_text(read(options.notebook)), end="")
        return 0
    if options.command == "update":
        before = read(options.notebook) if options.notebook.exists() else None
        write(from_text(options.text.read_text(encoding="utf-8"), before), options.notebook)
        return 0
    paths = options.notebooks or lessons_and_solutions(root)
    if options.command == "run":
        return 1 if run(paths) else 0
    from classroom.notebook_rules import check

    return 1 if check(paths, root) else 0


if __name__ == "__main__":
    sys.exit(main())
