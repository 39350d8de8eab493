"""The submissions of a folder: a notebook a student, or a folder a student, and nothing from outside of it."""

from __future__ import annotations

import hashlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Incoming", "incoming"]

LARGEST = 512 << 20  # bytes of a notebook that is looked at
DEEPEST = 3  # folders below a student's
LONGEST = 80  # characters of a student's id


@dataclass(frozen=True)
class Incoming:
    """One submission. `problem` says why it is not read ("" when it is); `note` is for the instructor."""

    student: str
    path: Path
    file: str
    sha256: str = ""
    problem: str = ""
    note: str = ""


def incoming(folder: Path, lab_file: str) -> list[Incoming]:
    """All submissions, in the order of the students' ids, which are made of the names of files and folders.

    Args:
        folder: where they are. lab_file: the name that the lab's notebook has when it is handed out.
    Raises OSError when the folder cannot be read.
    """
    found: dict[str, Incoming] = {}
    folder = folder.absolute()
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        notebook = entry.suffix == ".ipynb"
        if not notebook and (entry.name.startswith(".") or not (entry.is_dir() or entry.is_symlink())):
            continue  # such as .DS_Store, .ipynb_checkpoints, a list of names
        one = _submission(folder, entry, lab_file)
        student, number = one.student, 2
        while one.student in found:
            one = Incoming(f"{student}-{number}", one.path, one.file, one.sha256, one.problem, TWINS)
            number += 1
        found[one.student] = one
    return [found[student] for student in sorted(found)]


TWINS = "another submission has a name that gives the same id: a number was put behind this one"


def _submission(folder: Path, entry: Path, lab_file: str) -> Incoming:
    student = identity(entry.name if entry.is_dir() and not entry.is_symlink() else entry.stem)
    path, note = entry, ""
    if not entry.is_symlink() and entry.is_dir():
        candidates = sorted(_notebooks(entry, DEEPEST), key=lambda one: (one.name != lab_file, str(one)))
        if not candidates:
            return Incoming(student, entry, _shown(entry.relative_to(folder)), problem="there is no notebook in it")
        path = candidates[0]
        note = f"of {len(candidates)} notebooks, {_shown(path.relative_to(folder))} was taken" if candidates[1:] else ""
    file = _shown(path.relative_to(folder))
    if problem := _refusal(path):
        return Incoming(student, path, file, problem=problem, note=note)
    with path.open("rb") as bytes_of:
        return Incoming(student, path, file, hashlib.file_digest(bytes_of, "sha256").hexdigest(), note=note)


def _refusal(path: Path) -> str:
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            return "it is a symbolic link, which may lead to a file that is not the student's"
        if not stat.S_ISREG(about.st_mode):
            return "it is no regular file"
        if about.st_size > LARGEST:
            return f"it has {about.st_size / 1e6:,.0f} MB, and {LARGEST / 1e6:,.0f} MB at most are read"
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"it cannot be opened: {error.strerror}"


def _notebooks(folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return found
    for entry in entries:
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir() and depth:
            found += _notebooks(entry, depth - 1)
        elif entry.suffix == ".ipynb":
            found.append(entry)
    return found


def identity(name: str) -> str:
    """A student's id of a name: what is no letter, digit or one of ._-@ becomes _; never empty, never a path."""
    clean = re.sub(r"[^\w.@-]+", "_", name.encode("utf-8", "replace").decode()).strip("._")[:LONGEST]
    return clean or "nameless"


def _shown(path: Path) -> str:
    """A path as text that can be printed and stored."""
    text = str(path).encode("utf-8", "replace").decode()
    return "".join(one if one.isprintable() else "?" for one in text)
