"""`classroom report DIR`: all that comes out of a run of `classroom grade`, made from its results.json.

feedback/STUDENT.html    a page for each student
gradebook.csv, .json     all points; canvas.csv, moodle.csv and moodle-worksheet.csv are for import there
class.html, class.txt    the class: tasks, misconceptions, what is unknown, who needs you
prose.html, prose.csv    what a person marks, and where the points go: fill in prose.csv, run this again
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from classroom.grading import class_report, feedback, prose
from classroom.grading.gradebook import canvas, gradebook, gradebook_json, mark, moodle, moodle_worksheet
from classroom.grading.pages import visible
from classroom.grading.report import GradeRun, ReportError, read

__all__ = ["main", "write_all"]

Given = Mapping[tuple[str, str], prose.ByHand]

PROSE = "prose.csv"


def write_all(run: GradeRun, directory: Path, *, more: Given | None = None, so_far: bool = False) -> list[str]:
    """Write everything that a run gives into a folder.

    Args:
        run: what `classroom grade` found.
        directory: of the run; its prose.csv is read first, so points that people gave stay.
        more: points that people gave elsewhere, (student, task) -> points.
        so_far: whether Canvas and Moodle get the points of students who have open tasks, too.

    Returns:
        sentences that an instructor should read.

    Raises:
        ReportError: prose.csv cannot be right. Nothing was written.
        OSError: something could not be written.
    """
    given = kept(run, directory) | dict(more or {})
    done, said = prose.apply(run, given)
    pages = _feedback_names(done)
    files = {f"feedback/{name}": feedback.page(done, one) for one, name in zip(done.submissions, pages, strict=True)}
    files |= {
        "gradebook.csv": gradebook(done),
        "gradebook.json": gradebook_json(done),
        "canvas.csv": canvas(done, so_far),
        "moodle.csv": moodle(done, so_far),
        "class.html": class_report.page(done),
        "class.txt": class_report.text(done),
        "prose.html": prose.page(done),
        PROSE: prose.form(run, given),
    }
    if worksheet := moodle_worksheet(done, so_far):
        files["moodle-worksheet.csv"] = worksheet
    for name, text in files.items():
        _write(directory / name, text)
    for old in {*(directory / "feedback").glob("*.html")} - {directory / "feedback" / name for name in pages}:
        old.unlink()  # of a submission that is no longer there
    blank = sum(mark(one, so_far) is None for one in done.submissions)
    if blank:
        how = "" if so_far else " --so-far fills in what there is."
        said.append(f"{_students(blank)} blank for Canvas and Moodle: not all is marked, or could be.{how}")
    return said


def kept(run: GradeRun, directory: Path) -> dict[tuple[str, str], prose.ByHand]:
    """The points in the folder's prose.csv. Raises `ReportError`."""
    path = directory / PROSE
    return prose.read_points(path, run) if path.exists() else {}


def _students(count: int) -> str:
    return "1 student is left" if count == 1 else f"{count} students are left"


def _feedback_names(run: GradeRun) -> list[str]:
    """A file name for each submission: its student's id, with nothing in it that a file system minds."""
    names: list[str] = []
    for one in run.submissions:
        name = re.sub(r"[^\w.@-]", "_", one.student, flags=re.ASCII).lstrip(".-")[:100] or "student"
        taken = (f"{name}-{n}.html" for n in range(2, len(run.submissions) + 2))
        first = f"{name}.html"
        lower = {other.lower() for other in names}
        names.append(first if first.lower() not in lower else next(n for n in taken if n.lower() not in lower))
    return names


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all; whatever stood at its place, a link too, is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8", errors="replace", newline="")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _told(directory: Path) -> Iterator[str]:
    for line in (__doc__ or "").splitlines()[2:]:
        if line.strip():
            yield line
    yield f"All of it is in {directory}."


def main(argv: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="classroom report", description=(__doc__ or "").split("\n")[0].partition(": ")[2]
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where `classroom grade --out` wrote")
    parser.add_argument(
        "--prose", type=Path, metavar="CSV", help="points by hand from another table than DIR/prose.csv"
    )
    parser.add_argument("--so-far", action="store_true", help="Canvas and Moodle get points that are not final, too")
    parser.add_argument(
        "--nbgrader",
        type=Path,
        metavar="COURSE",
        help="write the marks into an nbgrader course, and take what persons gave there",
    )
    parser.add_argument("--submissions", type=Path, metavar="DIR", help="with --nbgrader: where the notebooks are")
    options = parser.parse_args(argv)
    try:
        run = read(options.directory)
        more = prose.read_points(options.prose, run) if options.prose else {}
        if options.nbgrader:
            from classroom.grading.nbgrader_marks import exchange

            more = exchange(run, kept(run, options.directory) | more, options.nbgrader, options.submissions)
        said = write_all(run, options.directory, more=more, so_far=options.so_far)
    except (ReportError, OSError) as error:
        print(visible(error), file=sys.stderr)
        return 1
    print("\n".join([*_told(options.directory), *map(visible, said)]))
    return 0
