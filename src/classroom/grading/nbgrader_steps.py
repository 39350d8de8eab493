"""Two steps of nbgrader's, for the labs: how answers are taken out, and what a check's outputs are worth.

Named in a course's nbgrader_config.py; loaded in nbgrader's environment only.
"""

from __future__ import annotations

from typing import Any

from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.preprocessors import SaveAutoGrades as TheirSaveAutoGrades

from classroom.notebooks import Notebook, make_lab

__all__ = ["SaveGrades", "TakeOutAnswers"]


class TakeOutAnswers(NbGraderPreprocessor):  # type: ignore[misc]  # nbgrader has no types where this is checked
    """A solution becomes its lab, as `make labs` makes it: nbgrader's own step does not know `### START` lines."""

    def preprocess(self, notebook: Notebook, resources: Any) -> tuple[Notebook, Any]:
        """The lab."""
        return make_lab(notebook), resources


class SaveGrades(TheirSaveAutoGrades):  # type: ignore[misc]
    """nbgrader's points, but for a check that could not judge: that is for a person, and no silent zero."""

    def _add_score(self, cell: Any, resources: Any) -> None:
        super()._add_score(cell, resources)
        if any(one.output_type == "error" and one.ename == "NotJudged" for one in cell.get("outputs", [])):
            name = cell.metadata["nbgrader"]["grade_id"]
            grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
            grade.auto_score, grade.needs_manual_grade = None, True
            self.gradebook.db.commit()
