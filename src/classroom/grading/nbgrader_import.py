"""Marks into nbgrader's gradebook, by its own API. Runs in nbgrader's environment; JSON comes in and goes out.

What a person has given in the formgrader stays; it is answered with, so that it reaches the other gradebooks, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry

__all__ = ["bring_in"]


def bring_in(course: Path, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Write the marks of a run into a course's gradebook; the points that persons have given in it.

    `wanted`: assignment, notebook, and for each student the autograded notebook's text and, by cell, `auto` (points or
    None), `hand` (points or None) and `comment`. A cell whose points are both None is left to a person.
    Raises `MissingEntry` where the assignment was not released into this course.
    """
    assignment, notebook = wanted["assignment"], wanted["notebook"]
    given: list[dict[str, Any]] = []
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "dead-letter-office") as book:
        book.find_notebook(notebook, assignment)
        for student, one in wanted["students"].items():
            book.update_or_create_student(student)
            book.update_or_create_submission(assignment, student)
            path = course / "autograded" / student / assignment / f"{notebook}.ipynb"
            before, now = _sources(path.read_text(encoding="utf-8") if path.exists() else ""), _sources(one["text"])
            for cell, mark in one["cells"].items():
                changed = bool(before) and before.get(mark["answer"]) != now.get(mark["answer"])
                given += _marked(book, mark, changed, cell, notebook, assignment, student)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(one["text"], encoding="utf-8")
        book.db.commit()
    return given


def _sources(notebook: str) -> dict[str, str]:
    """The sources of a notebook's cells, by id; of no notebook, {}."""
    cells = json.loads(notebook)["cells"] if notebook else []
    return {str(cell.get("id")): "".join(cell["source"]) for cell in cells}


def _marked(book: Any, mark: dict[str, Any], changed: bool, cell: str, *place: str) -> list[dict[str, Any]]:
    """Write one mark; what a person has given for that cell, if anything.

    Where the answer has `changed` since, a person is asked to look again, and what was given counts in nbgrader only.
    """
    grade = book.find_grade(cell, *place)
    grade.auto_score = mark["auto"]
    old = changed and grade.manual_score is not None
    if grade.manual_score is None and mark["hand"] is not None:
        grade.manual_score = mark["hand"]
    grade.needs_manual_grade = old or (grade.auto_score is None and grade.manual_score is None)
    comment = ""
    try:
        note = book.find_comment(mark["answer"], *place)
        if note.manual_comment is None and mark["comment"]:
            note.manual_comment = mark["comment"]
        comment = note.manual_comment or ""
    except MissingEntry:
        pass  # the answer's cell is none that comments can be given to
    if grade.manual_score is None or old:
        return []
    return [{"student": place[-1], "cell": cell, "points": grade.manual_score, "comment": comment}]


def main() -> int:
    """Read marks from standard input, write what persons gave to standard output; the course is this folder."""
    try:
        given = bring_in(Path.cwd(), json.load(sys.stdin))
    except MissingEntry as error:
        print(f"{error}. First: classroom release LAB --nbgrader {Path.cwd()}", file=sys.stderr)
        return 1
    print(json.dumps(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
