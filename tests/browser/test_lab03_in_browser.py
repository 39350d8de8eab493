"""Lab 03 from the student's copy: done wrong, the hint read, done right; the start page and the command move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_help import CHROMIUM_FLAGS, ROOT, Desk, jupyterlab
from playwright.sync_api import sync_playwright

from classroom.notebooks import read

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NAME = "03-tcp-microservice.ipynb"
ANSWERS = {cell.id: cell.source for cell in read(ROOT / "solutions" / NAME).cells}
RIGHT, CODE_POINTS = "len(text.encode('utf-16-le')) // 2", "len(text)"


@pytest.fixture
def desk(tmp_path: Path, chromium: str) -> Iterator[Desk]:
    """Lab on a copy of what a student gets."""
    for folder in ("notebooks", "labs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with jupyterlab(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            yield Desk(browser.new_page(viewport={"width": 1200, "height": 1000}), address)
        finally:
            browser.close()


def progress(folder: Path) -> dict[str, str]:
    """What `classroom progress` says of each task of the lab, and its last line but one, the sums."""
    environment = os.environ | {"CLASSROOM_PROGRESS": str(folder / "progress.jsonl")}
    command = [sys.executable, "-m", "classroom", "progress", "--labs", str(folder / "labs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in done.stdout.splitlines() if " 03." in line]
    return {line.split("03.")[1].split()[0]: line.split(" 03.")[0].strip() for line in lines}


def test_lab_03_done_wrong_then_right_and_the_progress_moves(desk: Desk, tmp_path: Path):
    """Each answer is written over the start by keyboard; what the check says stands under its cell."""
    desk.open(f"labs/{NAME}")
    desk.run_cell("start")
    assert set(progress(tmp_path).values()) == {"open"}

    desk.run_cell("framing")
    assert "NotImplementedError: Your code goes here" in desk.run_cell("framing-check")
    desk.write("framing", ANSWERS["framing"].replace(RIGHT, CODE_POINTS))
    desk.run_cell("framing")
    said = desk.run_cell("framing-check")
    assert "not yet" in said
    assert "hint: your length is len(text): it counts code points" in said
    desk.photograph("framing-check", "lab-03-hint")
    assert progress(tmp_path)["framing"] == "not yet"

    desk.write("framing", ANSWERS["framing"])
    desk.run_cell("framing")
    assert "public checks passed, 7 of 7 conditions hold" in desk.run_cell("framing-check")
    assert progress(tmp_path)["framing"] == "passed"

    desk.write("drain", ANSWERS["drain"].replace("after.add_task", "import asyncio; asyncio.create_task").replace(
        "create_task(deliver, order)", "create_task(deliver(order))"))  # fmt: skip
    desk.run_cell("drain")
    said = desk.run_cell("drain-check", within=120)
    assert "it is thrown away" in said
    assert "SIGTERM" in said, "the life of a lost order"
    desk.photograph("drain-check", "lab-03-counterexample")

    desk.write("why", "**Your answer:**\n\nNo to both.")
    desk.run_cell("why")
    desk.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    desk.until_saved()
    states = progress(tmp_path)
    assert {name for name, state in states.items() if state == "passed"} == {"framing"}
    assert states["drain"] == "not yet"
    assert states["why"] == "written"

    desk.open_beside("notebooks/00-start-here.ipynb")
    desk.run_cell("imports")
    said = desk.run_cell("start-page")
    assert "1 of 6 checks passed, about 70 minutes left" in said  # prose is read from the course's own folder
    desk.photograph("start-page", "lab-03-start-page")
    assert desk.complaints == []
