"""Lesson 01's questionnaire, one program or services: by keyboard and by mouse, its plain twin, axe-core."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_help import CELL, CHROMIUM_FLAGS, FOCUSED, ROOT, Desk, jupyterlab, wait_for
from playwright.sync_api import sync_playwright

from classroom.views.decision_table import CASES, FACTORS, verdict

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("questionnaire")]

VIEW = "One program, or services?"
OPEN = "0 of 6 answered; still open: team, deploys, load, faults, data, operations"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Desk]:
    """Lesson 01 in Lab, and of its cells the questionnaire's only: it needs no other."""
    folder = tmp_path_factory.mktemp("questionnaire")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with jupyterlab(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            desk = Desk(browser.new_page(viewport={"width": 1200, "height": 1000}), address)
            desk.open("notebooks/01-what-is-a-microservice.ipynb")
            desk.run_cell("decide")
            wait_for(lambda: in_sight(desk), 60, "the questionnaire on the page")
            desk.until_says(VIEW, OPEN)
            yield desk
        finally:
            browser.close()


def in_sight(desk: Desk) -> bool:
    """Go to the questionnaire: Lab hides what is out of sight, and cells above may have grown meanwhile."""
    desk.page.evaluate(CELL, "decide")
    return desk.view(VIEW).is_visible()


def option(factor: str, letter: str) -> str:
    """The label of an answer, as it stands on the page."""
    return f"{letter}: {FACTORS[factor].options[letter]}"


def answer(desk: Desk, factor: str, letter: str) -> None:
    """Tab to a question that is open, Space for its first answer, an arrow key for each further one."""
    desk.tab_to(VIEW, option(factor, "a"))
    desk.page.keyboard.press("Space")
    for _ in range("abc".index(letter)):
        desk.page.keyboard.press("ArrowDown")
    assert desk.page.evaluate(FOCUSED)["label"] == option(factor, letter)


def hospital(desk: Desk) -> None:
    """The hospital with all its answers, whatever was done before."""
    desk.view(VIEW).get_by_text("5: The hospital").click()
    desk.until(VIEW, "Thirty developers in four teams")
    for factor, letter in CASES["5"].answers.items():
        desk.view(VIEW).get_by_label(option(factor, letter)).click()
    desk.until_says(VIEW, verdict(dict(CASES["5"].answers)))


def test_the_hospital_is_decided_by_keyboard_and_the_twin_says_the_same(desk: Desk):
    """Six answers, each announced; then ours beside them."""
    desk.choose(VIEW, "5")
    desk.until(VIEW, "Thirty developers in four teams")
    given: dict[str, str] = {}
    for factor, letter in CASES["5"].answers.items():
        answer(desk, factor, letter)
        given[factor] = letter
        desk.until_says(VIEW, verdict(given))
    assert desk.says(VIEW).startswith("not yet: 3 of 5 reasons for services (team, faults, data)")
    assert desk.run("print(decision.verdict())").strip() == desk.says(VIEW)
    assert desk.run("print(repr(decision).splitlines()[0])").strip() == f"{VIEW}: {desk.says(VIEW)}"
    rows = desk.view(VIEW).get_by_role("row").all_inner_texts()[1:]
    assert [row.split() for row in rows] == [[name, letter, letter, "the", "same"] for name, letter in given.items()]
    twin = desk.run("print(decision.reading())")
    assert all(" ".join(row.split()) in " ".join(twin.split()) for row in rows)
    assert desk.complaints == []


def test_by_mouse_one_answer_turns_the_verdict_and_each_case_keeps_its_own(desk: Desk):
    hospital(desk)
    view = desk.view(VIEW)
    view.get_by_label(option("operations", "b")).click()
    desk.until_says(VIEW, "consider services: 3 of 5 reasons for services (team, faults, data)")
    view.get_by_label("own: one that you know").click()
    desk.until_says(VIEW, OPEN)
    assert view.get_by_role("table").count() == 0, "there is no reading of ours for a case that nobody wrote"
    view.get_by_text("5: The hospital").click()
    desk.until_says(VIEW, "consider services")
    assert desk.run("print(decision.case, *decision.answers.values())").split() == ["5", *"baabbb"]
    checked = view.locator("input:checked").evaluate_all("(all) => all.map((one) => one.labels[0].textContent)")
    assert checked == ["5: The hospital", *(option(name, one) for name, one in zip(FACTORS, "baabbb", strict=True))]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_the_questionnaire(desk: Desk, theme: str):
    """With all answered, so that the table is there, too."""
    hospital(desk)
    desk.page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    desk.page.wait_for_function(f"document.body.dataset.jpThemeLight == '{str(theme.endswith('Light')).lower()}'")
    desk.page.wait_for_function("() => !document.querySelector('.jp-Spinner')")
    found = Axe().run(desk.page, context=".dlo-view")
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) > 10, "axe looked at nothing"
