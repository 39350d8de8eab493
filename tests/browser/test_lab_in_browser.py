"""A person's way through the course: JupyterLab in a real browser, a lesson run to its end, the picture kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_help import CHROMIUM_FLAGS, NOTEBOOK, READY, ROOT, RUN_ALL, jupyterlab, wait_for
from playwright.sync_api import Page, sync_playwright

ARTIFACTS = ROOT / ".artifacts"
LESSON = "03-tcp-microservice"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the notebooks."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    with jupyterlab(tmp_path) as address:
        yield address


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A page of the machine's own Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            yield browser.new_page(viewport={"width": 1200, "height": 1600})
        finally:
            browser.close()


def photograph(page: Page, name: str, part: float) -> None:
    """Keep a picture of the notebook at a part of its length: 0 is its first cell, 1 its last."""
    page.evaluate(
        """async (part) => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = Math.round(part * (notebook.widgets.length - 1));
            await notebook.scrollToItem(notebook.activeCellIndex, part ? "end" : "start");
        }""",
        part,
    )
    page.wait_for_timeout(500)  # for the picture only: the notebook draws cells as they come into view
    page.screenshot(path=ARTIFACTS / f"{LESSON}-{name}.png")


def finished(page: Page) -> list[dict[str, Any]]:
    """The notebook's code cells once all have run, or one has failed; [] before."""
    state = page.evaluate(NOTEBOOK)
    code = [cell for cell in state["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    ran = all(cell["execution_count"] for cell in code) and state["status"] == "idle"
    return code if ran or any(map(unexpected, code)) else []


def unexpected(cell: dict[str, Any]) -> list[str]:
    """The errors that a cell shows and did not announce by the tag raises-exception."""
    if "raises-exception" in cell["metadata"].get("tags", []):
        return []
    return ["\n".join(output["traceback"]) for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_lesson_runs_to_its_end_in_the_browser(lab: str, page: Page):
    """JupyterLab opens, every cell of the lesson runs without an error, and closing it leaves nothing running."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.goto(lab.format(f"notebooks/{LESSON}.ipynb"))
    page.wait_for_function(READY, timeout=90_000)
    assert page.locator(".jp-Dialog").count() == 0, "JupyterLab asks a question at its first start"
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")

    page.evaluate(RUN_ALL)
    cells = wait_for(lambda: finished(page), 200, "the end of the lesson")

    for name, part in (("begin", 0), ("middle", 0.5), ("end", 1)):
        photograph(page, name, part)
    assert [error for cell in cells for error in unexpected(cell)] == []
    assert len(cells) >= 10
