"""Two lessons as a learner uses them: by the buttons of their views, with the keyboard alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_help import CHROMIUM_FLAGS, ROOT, Desk, jupyterlab, wait_for
from playwright.sync_api import sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def desk(tmp_path: Path, chromium: str) -> Iterator[Desk]:
    """Lab on a copy of the notebooks."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    with jupyterlab(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            yield Desk(browser.new_page(viewport={"width": 1200, "height": 1000}), address)
        finally:
            browser.close()


def test_lesson_05_the_consumer_is_killed_by_its_button_and_the_letter_comes_again(desk: Desk):
    desk.open("notebooks/05-rabbitmq.ipynb")
    desk.run_up_to("panel", within=150)
    desk.press("Service payments", "Kill")
    desk.until_says("Service payments", "✕ killed")
    desk.press("Service payments", "Restart")
    desk.until_says("Service payments", "● ready")
    desk.until("Message timeline", "received 2 times")
    desk.keep("Message timeline", "lesson-05-redelivered")


def test_lesson_09a_the_dead_letter_queue_is_filled_repaired_and_drained(desk: Desk):
    letters = "Dead letters in orders.dead"
    desk.open("notebooks/09a-errors-retries-dead-letters.ipynb")
    desk.run_up_to("letters", within=150)
    desk.until_says(letters, "3 letters")
    desk.keep(letters, "lesson-09a-three-letters")
    for ident, data in (("order-3", '{"id": 3, "total": 10}'), ("order-4", '{"id": 4, "total": 10, "code": "SPRING"}')):
        desk.choose(letters, ident)
        desk.until(letters, f"Letter {ident}")
        desk.tab_to(letters, "Data, as JSON: repair them here, then requeue")
        desk.page.keyboard.press("ControlOrMeta+a")
        desk.page.keyboard.type(data)
        desk.press(letters, "Requeue this one")
        desk.until_says(letters, f"{ident} was repaired and requeued")
    desk.choose(letters, "order-2")
    desk.until(letters, "Letter order-2")
    desk.press(letters, "Drop this one")
    desk.until_says(letters, "no letters")
    charged = "print(sorted((row.id, row.amount) for row in (await book.wait(5)).effects))"
    expected = "[(1, 10.0), (3, 10.0), (4, 9.0)]\n"
    wait_for(lambda: desk.run(charged) == expected, 20, f"three charges, not {desk.run(charged)}")
    desk.keep(letters, "lesson-09a-drained")
