"""Lesson 05 as a learner works through it, in a real browser: guess, run, kill the consumer, see its letter again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser_help import CHROMIUM_FLAGS, READY, ROOT, RUN_ALL, jupyterlab, wait_for
from playwright.sync_api import Locator, Page, sync_playwright

from classroom.notebooks import read, write

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.xdist_group("views")]

GALLERY = ROOT / "docs" / "gallery" if os.environ.get("CLASSROOM_GALLERY") else ROOT / ".artifacts" / "gallery"
LAST = "panel"  # the cell with the panel of the service; what follows needs no hand


def shortened(folder: Path) -> None:
    """The lesson up to the cell with the panel, without its stored outputs."""
    notebook = read(ROOT / "notebooks" / "05-rabbitmq.ipynb")
    last = next(number for number, cell in enumerate(notebook.cells) if cell.id == LAST)
    notebook.cells = notebook.cells[: last + 1]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    write(notebook, folder / "lesson.ipynb")


def view(page: Page, text: str) -> Locator:
    """The view that is alive and has this text."""
    return page.locator(".dlo-view").filter(has_text=text).first


def drawn(timeline: Locator) -> str:
    """What a picture says of itself."""
    return timeline.locator("svg").get_attribute("aria-label") or ""


def test_the_consumer_is_killed_by_its_button_and_the_letter_comes_again(chromium: str, tmp_path: Path):
    """Twice received, by two processes, with the kill between them: in the timeline below the buttons."""
    shortened(tmp_path)
    with jupyterlab(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 1400})
        page.goto(address.format("lesson.ipynb"))
        page.wait_for_function(READY, timeout=90_000)
        page.evaluate(RUN_ALL)
        service, timeline = view(page, "Service payments"), view(page, "Message timeline")
        service.get_by_role("button", name="Kill").click(timeout=90_000)
        service.get_by_text("✕ killed; 0 of 1").wait_for(timeout=30_000)
        service.get_by_role("button", name="Restart").click()
        wait_for(lambda: "2 received" in drawn(timeline), 60, "the redelivery")
        assert "1 message" in drawn(timeline)
        assert "1 killed" in drawn(timeline)
        GALLERY.mkdir(parents=True, exist_ok=True)
        timeline.screenshot(path=GALLERY / "lesson-05-killed-by-hand.png")
        browser.close()
