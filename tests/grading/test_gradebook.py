"""Marks as tables: the columns that Canvas and Moodle ask for, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from classroom.grading.gradebook import canvas, defused, gradebook, moodle, moodle_worksheet
from classroom.grading.report import GradeRun
from grading.runs_help import small_class


def read(text: str | None) -> list[list[str]]:
    assert text is not None
    return [*csv.reader(io.StringIO(text))]


def marked() -> GradeRun:
    """The small class with its prose marked: 1 point each."""
    run = small_class()
    done = [
        replace(one, tasks=tuple(replace(task, earned=1.0) if task.earned is None else task for task in one.tasks))
        if one.status == "graded"
        else one
        for one in run.submissions
    ]
    return replace(run, submissions=tuple(done))


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\n=1", " =1", "＝1+1", "\r=1", "-a"])
def test_what_looks_like_a_formula_is_text(text: str):
    """The apostrophe is what spreadsheets take as: this is text."""
    assert defused(text).startswith(("'", "<U+"))


@pytest.mark.parametrize("text", ["ada", "1.5", "-1.5", "-", "0", "", "a=b", "Müller"])
def test_what_is_none_stays(text: str):
    """Numbers too, negative ones as well."""
    assert defused(text) == text


def test_the_gradebook_has_a_column_a_task_and_nothing_where_nobody_has_decided():
    """A dash or a zero would be read as a mark."""
    head, *rows = read(gradebook(small_class()))
    assert head == [
        "student",
        "file",
        "status",
        "05.ack",
        "05.prefetch",
        "05.why",
        "points",
        "possible",
        "open",
        "sandbox",
    ]
    by = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert (by["eve"]["05.ack"], by["eve"]["05.prefetch"], by["eve"]["open"]) == ("0", "", "05.prefetch 05.why")
    assert (by["zoe"]["points"], by["zoe"]["status"]) == ("", "unreadable")


def test_canvas_gets_its_five_columns_its_row_of_points_and_its_ids():
    """As its importer reads them: Student, ID, SIS User ID, SIS Login ID, Section, then the assignment."""
    run = marked()
    download = replace(run.submissions[0], file="lovelaceada_LATE_1815_99_05-rabbitmq.ipynb")
    head, possible, *rows = read(canvas(replace(run, submissions=(download, *run.submissions[1:]))))
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lab 05"]
    assert possible == ["    Points Possible", "", "", "", "", "7"]
    assert rows[0] == ["ada", "1815", "", "", "", "6"]
    assert rows[1] == ["ben", "", "", "ben", "", "1"]
    assert rows[-1][0] == "zoe"
    assert rows[-1][-1] == "", "what could not be read is blank there: an import changes nothing"


def test_what_is_not_final_is_blank_unless_asked_for():
    """A part of the points would look like the mark."""
    assert {row[1] for row in read(moodle(small_class()))[1:]} == {""}
    assert read(moodle(small_class(), so_far=True))[1] == ["ada", "5"]


def test_moodle_s_worksheet_has_the_columns_that_its_importer_needs():
    """Identifier, Grade and Last modified (grade); participants are known by the folders of Moodle's download."""
    head, row = read(moodle_worksheet(marked()))
    assert {"Identifier", "Grade", "Last modified (grade)", "Feedback comments"} <= {*head}
    assert dict(zip(head, row, strict=True))["Identifier"] == "Participant 44"
    assert dict(zip(head, row, strict=True))["Grade"] == "3"
    run = marked()
    assert moodle_worksheet(replace(run, submissions=run.submissions[:2])) is None
