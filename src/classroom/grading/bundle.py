"""What a student gets of one lab: the lab, its lesson, and what both need to run. No answer, no hidden check, no test.

The bundle is a course of its own: `make lab`, `make test` and `make setup` work in it. Equal courses give equal bytes.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from classroom.notebooks import BEGIN, INSTEAD, Notebook, make_lab, read

__all__ = ["ReleaseError", "contents", "leaks", "notebooks_of", "write"]

NEEDED = ("pyproject.toml", "uv.lock", "environment.yml", "LICENSE")
NOT_FOR_STUDENTS = ("src/classroom/grading",)
SHOWN = ("src/classroom/checks/lab03/decoders.py",)  # broken decoders, which lab 03 shows: parts of them are right
RUN = 3  # lines of an answer, one after the other, that no other text has by chance
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # in a zip file: equal contents are equal files


class ReleaseError(Exception):
    """A lab cannot be released. The message says why, and what to do."""


def notebooks_of(root: Path, lab: str) -> tuple[Path, Path]:
    """The solution and the lab of that number ("05"). Raises `ReleaseError`, which lists those there are."""
    found = sorted((root / "solutions").glob(f"{lab}-*.ipynb"))
    if len(found) != 1:
        known = ", ".join(path.name.partition("-")[0] for path in sorted((root / "solutions").glob("*.ipynb")))
        raise ReleaseError(f"there is no lab {lab!r} in {root / 'solutions'}. There are: {known or 'none'}.")
    return found[0], root / "labs" / found[0].name


def contents(root: Path, lab: str) -> dict[str, bytes]:
    """The files of a bundle, by path. Raises `ReleaseError` where the lab is stale, or an answer is in a file."""
    solution, handed_out = notebooks_of(root, lab)
    if not handed_out.exists() or read(handed_out).cells != make_lab(read(solution)).cells:
        raise ReleaseError(f"labs/{handed_out.name} is not what solutions/{solution.name} gives. Run `make labs`.")
    lessons = sorted((root / "notebooks").glob("00-*.ipynb")) + sorted((root / "notebooks").glob(f"{lab}-*.ipynb"))
    files = {f"labs/{handed_out.name}": handed_out.read_bytes()}
    files |= {f"notebooks/{path.name}": path.read_bytes() for path in lessons}
    files |= {name: (root / name).read_bytes() for name in NEEDED}
    files |= {path: (root / path).read_bytes() for path in _sources(root)}
    title = read(handed_out).cells[0].source.partition("\n")[0].lstrip("# ")
    files["README.md"] = README.format(title=title, notebook=f"labs/{handed_out.name}").encode()
    files["Makefile"] = _makefile((root / "Makefile").read_text(encoding="utf-8"), handed_out.name).encode()
    if found := [*leaks(files, read(solution), read(handed_out))]:
        raise ReleaseError(f"an answer of {solution.name} is in the bundle:\n" + "\n".join(found))
    return dict(sorted(files.items()))


def _sources(root: Path) -> Iterator[str]:
    """The course's two packages, as far as students get them."""
    for path in sorted((root / "src").rglob("*")):
        name = path.relative_to(root).as_posix()
        kept = path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
        if kept and not name.startswith(NOT_FOR_STUDENTS):
            yield name


def leaks(files: Mapping[str, bytes], solution: Notebook, lab: Notebook) -> Iterator[str]:
    """Where the answers of a solution are to be found in some files: a sentence each.

    Looked for are `RUN` lines of an answer in a row, every line of a model answer in prose, and the answers' markers.
    """
    known = {line.strip() for cell in lab.cells for line in cell.source.splitlines()}
    runs, lines = set(), {BEGIN, INSTEAD.strip()}
    for cell in solution.cells:
        answer = [line for raw in cell.source.splitlines() if (line := raw.strip()) and not line.startswith("### ")]
        if cell.cell_type == "markdown":
            lines |= {line for line in answer if line not in known}
        else:
            runs |= {part for part in zip(*(answer[n:] for n in range(RUN)), strict=False) if known.isdisjoint(part)}
    for name, data in files.items():
        text = [line for raw in _text(name, data) if (line := raw.strip())]
        if name not in SHOWN and (lines & {*text} or runs & {*zip(*(text[n:] for n in range(RUN)), strict=False)}):
            yield f"    {name}"


def _text(name: str, data: bytes) -> list[str]:
    """The lines of a file; of a notebook, those of its cells."""
    if not name.endswith(".ipynb"):
        return data.decode("utf-8", "replace").splitlines()
    import json

    cells = json.loads(data)["cells"]
    return [line for cell in cells for line in "".join(cell["source"]).splitlines()]


def _makefile(course: str, notebook: str) -> str:
    """The students' Makefile: the course's own way to find Python, and the commands that a student needs."""
    head, _, _ = course.partition("IN_DEV =")
    return head.replace("Needs git, make and", "Needs make and") + TARGETS.format(notebook=notebook)


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write a bundle as `folder`, and beside it as a zip file: its path. Raises `ReleaseError` where it exists."""
    archive = folder.with_name(f"{folder.name}.zip")
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} is there already, and is not empty. Remove it, or choose another by --out.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", LONG_AGO)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            zipped.writestr(entry, data, zipfile.ZIP_DEFLATED)
    archive.write_bytes(packed.getvalue())
    return archive


README = """\
# {title}

You need make and Python 3.11 or newer, on Linux or macOS. Nothing else: no Docker, no root, no broker.

    make lab        # sets up all, then opens JupyterLab at the lab
    make test       # runs your lab from top to bottom, as a grader will, and shows every check

The first time, `make lab` fetches about 100 MB of packages, and says what it fetches. After that it needs no network.
The lesson that belongs to the lab is in notebooks/. `make doctor` shows what would serve each broker on your machine.

**Hand in** `{notebook}`, this file alone, saved. Keep its cells: a task is found by them. Cells that you add are fine,
but a task's own cells must work without them: what a %%service cell needs stands in that cell.
The checks here are the public ones. Your work is marked with others, too: other numbers, other moments of a crash.
"""

TARGETS = """
.PHONY: help lab test setup doctor clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {{printf "  make %-10s %s\\n", $$1, $$2}}' Makefile

lab: ## set up all, then open JupyterLab at the lab
	$(IN_VENV) -m classroom lab --LabApp.default_url=/lab/tree/labs/{notebook}

test: ## run the lab from top to bottom in a fresh kernel, and show each check
	$(IN_VENV) -m classroom try labs/{notebook}

setup: ## set up all, open nothing
	$(IN_VENV)

doctor: ## show what would serve each broker on this machine (works before any set-up)
	@exec "$(or $(PYTHON),python3)" src/classroom/doctor.py

clean: ## remove what set-up put into this folder
	rm -rf .venv .tools
"""
