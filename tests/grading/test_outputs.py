"""The pages and tables that come out of a grading run: what they say, to whom, and that nothing in them acts."""

from __future__ import annotations

import csv
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from classroom.grading import outputs, report
from classroom.grading.outputs import write_all
from classroom.grading.pages import visible
from classroom.grading.report import GradeRun, ReportError, Submission
from grading.runs_help import ANSWER, HINT, HOSTILE, RUBRIC, small_class

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


class Tags(HTMLParser):
    """The elements of a page, its text, and how each of its tables is labelled."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small class."""
    folder = tmp_path_factory.mktemp("marks")
    write_all(small_class(), folder)
    return folder


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


def test_a_student_reads_each_condition_with_what_was_seen_the_hint_and_the_life(marks: Path):
    """All of a failed one; a passed one needs a line."""
    text = Tags((marks / "feedback/ben.html").read_text()).text
    for words in ("0 of 7 points so far", "3 lost: 17, 18, 21", HINT, "The life of message 17", "it lies in no queue"):
        assert words in text
    assert "✓ holds" in text
    assert "✕ does not hold" in text
    assert ANSWER in text


def test_a_student_reads_no_seed_no_rubric_no_note_and_no_words_of_a_hidden_condition(marks: Path):
    """These are the instructor's."""
    for page in (marks / "feedback").glob("*.html"):
        text = page.read_text()
        for words in ("SECRET", "987654321", "4711", RUBRIC, "Cells were added", "the broker died"):
            assert words not in text, f"{words} is in {page.name}"
    assert "a condition that only the marked runs have" in (marks / "feedback/ben.html").read_text()


def test_a_notebook_that_could_not_be_read_gets_a_page_that_says_what_to_do(marks: Path):
    """And no points, not even zero."""
    text = Tags((marks / "feedback/zoe.html").read_text()).text
    assert "could not be read as a notebook" in text
    assert "0 of" not in text


def test_no_page_has_an_element_that_a_student_wrote(marks: Path):
    """Scripts, styles, links, escapes of a terminal and turned text come out as what they are: text."""
    for page in pages(marks):
        found = Tags(page.read_text())
        names = {name for name, _ in found.tags}
        assert names.isdisjoint({"script", "img", "a", "iframe", "link", "object", "base", "form"}), page.name
        assert [key for _, given in found.tags for key in given if key.startswith("on")] == []
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.read_text()), page.name
    shown = Tags((marks / "feedback/eve.html").read_text()).text
    assert visible(HOSTILE) in shown
    assert "<U+001B>[2J" in shown
    assert "\x1b" not in (marks / "class.txt").read_text()


def test_pages_load_nothing(marks: Path):
    """Each is whole by itself, and its own policy keeps it so."""
    for page in pages(marks):
        text = page.read_text()
        assert "default-src &#x27;none&#x27;" in text
        assert [given for _, given in Tags(text).tags if "src" in given or "href" in given] == []


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 400)])
def test_pages_can_be_read_by_everyone(marks: Path, chromium: str, scheme: str, width: int):
    """axe-core finds nothing, no script of a student runs, and a phone shows each page in its width."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        size = {"width": width, "height": 900}
        context = browser.new_context(color_scheme=scheme, viewport=size, bypass_csp=True)  # axe is a script, too
        seen: list[str] = []
        for page in pages(marks):
            tab = context.new_page()
            tab.on("dialog", lambda dialog: (seen.append("a dialog"), dialog.dismiss()))
            tab.on("request", lambda request: seen.append(request.url))
            tab.goto(page.as_uri())
            for folded in tab.locator("summary").all():
                folded.click()
            assert seen == [page.as_uri()]
            seen.clear()
            found = Axe().run(tab)
            assert found.violations_count == 0, f"{page.name}: {found.generate_report()}"
            assert tab.locator("h1").count() == 1
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, page.name
            tab.close()
        browser.close()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_the_class_report_names_tasks_misconceptions_unknowns_and_who_needs_a_person(marks: Path):
    """As a page and as text."""
    for text in (Tags((marks / "class.html").read_text()).text, (marks / "class.txt").read_text()):
        flat = " ".join(text.split())
        assert "median 2 of 7" in flat
        assert "its service runs at most once" in flat
        assert "the broker died in each try" in flat
        assert "It is not JSON" in flat
        assert "987654321" in flat


def test_prose_stands_beside_its_rubric(marks: Path):
    """In the instructor's page only."""
    text = Tags((marks / "prose.html").read_text()).text
    assert text.count(RUBRIC) == 5
    assert "5 of 5" in text
    assert [row["task"] for row in rows(marks / "prose.csv")].count("05.why") == 5


def fill(folder: Path, student: str, points: str, comment: str = "", task: str = "05.why") -> None:
    """Write points into prose.csv, as an instructor does."""
    table = rows(folder / "prose.csv")
    for row in table:
        if (row["student"], row["task"]) == (student, task):
            row["points"], row["comment"] = points, comment
    with (folder / "prose.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, [*table[0]], delimiter=";")  # as a spreadsheet in many countries saves it
        writer.writeheader()
        writer.writerows(table)


def test_points_by_hand_reach_every_gradebook_and_the_student_and_stay(tmp_path: Path):
    """Also when the class is graded anew; prose.csv may have semicolons, a mark of its encoding and decimal commas."""
    run = small_class()
    write_all(run, tmp_path)
    fill(tmp_path, "ada", "1,5", "Well put. =1+1")
    for _ in range(3):
        said = write_all(run, tmp_path)
    assert next(row for row in rows(tmp_path / "gradebook.csv") if row["student"] == "ada")["points"] == "6.5"
    assert next(row for row in rows(tmp_path / "canvas.csv") if row["Student"] == "ada")["Lab 05"] == "6.5"
    assert next(row for row in rows(tmp_path / "moodle.csv") if row["username"] == "ada")["Lab 05"] == "6.5"
    page = Tags((tmp_path / "feedback/ada.html").read_text()).text
    assert "6.5 of 7 points." in page
    assert "Well put. =1+1" in page
    assert len(said) == 1
    assert said[0].startswith("5 students are left blank for Canvas and Moodle: not all is marked, or could be.")


@pytest.mark.parametrize(
    ("student", "points", "task", "said"),
    [
        ("ada", "3", "05.why", "3 is not between 0 and 2"),
        ("ada", "-1", "05.why", "-1 is not between 0 and 2"),
        ("ada", "nan", "05.why", "nan is not between 0 and 2"),
        ("ada", "good", "05.why", "'good' is no number"),
        ("bob", "1", "05.why", "there is no '05.why' of 'bob'"),
        ("ada", "1", "05.wy", "there is no '05.wy' of 'ada'"),
    ],
)
def test_points_that_cannot_be_right_are_refused_and_nothing_is_lost(
    tmp_path: Path, student: str, points: str, task: str, said: str
):
    """The message names the line; the table stays as it was written."""
    write_all(small_class(), tmp_path)
    fill(tmp_path, "ben", "1")
    with (tmp_path / "prose.csv").open("a", encoding="utf-8", newline="") as file:
        file.write(f"{student};{task};;;;{points};;;\r\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ReportError, match=re.escape(said)) as error:
        write_all(small_class(), tmp_path)
    assert re.search(r"line \d+: ", str(error.value))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_points_for_a_notebook_that_has_changed_are_not_taken(tmp_path: Path):
    """They are for another text; they stay in the table, in a column of their own."""
    run = small_class()
    write_all(run, tmp_path)
    fill(tmp_path, "ada", "2")
    ada = replace(run.submissions[0], sha256="0" * 64)
    said = write_all(replace(run, submissions=(ada, *run.submissions[1:])), tmp_path)
    assert "ada, 05.why: the notebook has changed since it was marked; mark it again." in said
    row = next(row for row in rows(tmp_path / "prose.csv") if row["student"] == "ada")
    assert (row["points"], row["before"]) == ("", "2")


def test_what_could_not_be_judged_can_be_decided_by_hand(tmp_path: Path):
    """Until then it is empty in every table, never 0."""
    write_all(small_class(), tmp_path)
    assert next(row for row in rows(tmp_path / "gradebook.csv") if row["student"] == "eve")["05.prefetch"] == ""
    fill(tmp_path, "eve", "2", task="05.prefetch")
    write_all(small_class(), tmp_path)
    assert next(row for row in rows(tmp_path / "gradebook.csv") if row["student"] == "eve")["05.prefetch"] == "2"


def test_a_name_cannot_lead_out_of_the_folder_and_no_two_share_a_page(tmp_path: Path):
    """Whatever a student is called."""
    names = ("../../x", "..", "a/b", "A", "a", "a\0b", "x" * 300, "ß", ".hidden", "")
    run = small_class()
    some = tuple(Submission(name, f"{n}.ipynb", "", "unreadable") for n, name in enumerate(names))
    write_all(replace(run, submissions=some), tmp_path / "marks")
    made = [path for path in tmp_path.rglob("*.html") if path.parent.name == "feedback"]
    assert len(made) == len(names)
    assert len({path.name.lower() for path in made}) == len(names)
    assert {path.parent for path in made} == {tmp_path / "marks/feedback"}


def test_a_link_at_a_page_s_place_is_replaced_not_followed(tmp_path: Path):
    """Nobody has this tool write elsewhere."""
    (tmp_path / "feedback").mkdir()
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "feedback/ada.html").symlink_to(tmp_path / "outside")
    write_all(small_class(), tmp_path)
    assert (tmp_path / "outside").read_text() == "mine"
    assert "Feedback for ada" in html.unescape((tmp_path / "feedback/ada.html").read_text())


def test_the_command_writes_all_of_it_and_says_what_is_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """From results.json alone; without it the message says where it comes from."""
    assert outputs.main([str(tmp_path)]) == 1
    assert "`classroom grade` writes it" in capsys.readouterr().err
    report.write(tmp_path / "results.json", small_class())
    assert outputs.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "6 students are left blank" in said
    assert "prose.csv" in said
    assert outputs.main([str(tmp_path), "--prose", str(tmp_path / "none.csv")]) == 1
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_an_empty_run_has_its_pages(tmp_path: Path):
    """Nobody handed in anything."""
    write_all(GradeRun("05", 1, {}, 0.0, "0", "bubblewrap"), tmp_path)
    assert "0 submissions" in (tmp_path / "class.txt").read_text()
    assert json.loads((tmp_path / "gradebook.json").read_text())["students"] == []
