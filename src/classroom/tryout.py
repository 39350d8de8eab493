"""`classroom try NOTEBOOK`: run a lab from top to bottom in a fresh kernel, as a grader will, and show each check.

The notebook itself is not changed, and no progress is noted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classroom.checks.result import VERDICTS
from classroom.notebooks import METADATA, Notebook, NotebookError, read

__all__ = ["main"]

CELL_LIMIT = 180  # seconds; the longest check takes well under a minute on a quiet machine


def run(notebook: Notebook, folder: Path) -> Notebook:
    """Execute all cells, also behind one that fails. Raises `NotebookError` where the kernel died or hangs."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    notebook.metadata = METADATA
    client = NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        kernel_name="python3",
        allow_errors=True,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=os.environ | {"CLASSROOM_PROGRESS": os.devnull})
    except CellTimeoutError:
        raise NotebookError(f"a cell did not end within {CELL_LIMIT} s. Which one? Run it in JupyterLab.") from None
    except DeadKernelError:
        raise NotebookError("the kernel died: does a cell end its own process, or take all memory?") from None
    return notebook


def told(notebook: Notebook) -> Iterator[tuple[bool | None, str]]:
    """What became of each task: whether it is passed, and the words of its check. None: no check was seen."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "await check(" in cell.source:
            yield _verdict(cell)


def _verdict(cell: Any) -> tuple[bool | None, str]:
    call = next(line.strip() for line in cell.source.splitlines() if "await check(" in line)
    for output in cell.outputs:
        if output.output_type == "execute_result":
            text = str(output.data.get("text/plain", ""))
            head = text.partition("\n")[0]
            return any(f": {verdict}, " in head for verdict in VERDICTS.values()), text
        if output.output_type == "error":
            return None, f"{call}: {output.ename}: {output.evalue}"
    return None, f"{call}: it was not run, or showed nothing"


def main(argv: list[str]) -> int:
    """The command; 0 when every task is passed."""
    parser = argparse.ArgumentParser(prog="classroom try", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    bad = 0
    for path in parser.parse_args(argv).notebooks:
        print(f"{path}: running from top to bottom, in a kernel of its own", flush=True)
        try:
            verdicts = [*told(run(read(path), path.parent))]
        except NotebookError as error:
            print(f"{path}: {error}", file=sys.stderr)
            bad += 1
            continue
        for _, text in verdicts:
            print(f"\n{text}")
        good = sum(passed is True for passed, _ in verdicts)
        print(
            f"\n{path}: {good} of {len(verdicts)} checks passed. These are the public checks; prose is read by people."
        )
        bad += len(verdicts) - good
    return 1 if bad else 0
