"""Driving JupyterLab in a real browser: what the tests of this folder share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
MARK = "CLASSROOM_BROWSER_TEST"
# a run of the tests changes no file of the repository; `CLASSROOM_GALLERY=1 make test` makes the gallery anew
GALLERY = ROOT / "docs" / "gallery" if os.environ.get("CLASSROOM_GALLERY") else ROOT / ".artifacts" / "gallery"

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update"]

# Lab is ready when its own objects say so; what the page shows comes earlier.
READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const session = panel?.sessionContext;
    return panel?.context?.isReady && session?.isReady && session.kernelDisplayStatus === "idle";
}"""
SHOWS = "(path) => window.jupyterapp?.shell.currentWidget?.context?.path === path"
RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
NOTEBOOK = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    return {status: panel.sessionContext.kernelDisplayStatus, cells: panel.context.model.toJSON().cells};
}"""


def leftovers() -> list[str]:
    """The processes that descend from the JupyterLab of this test, found by a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={os.getpid()}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if command]


def wait_for(condition: Any, within: float, what: str) -> Any:
    """Poll until `condition()` is true and return it; fail after `within` seconds."""
    end = time.monotonic() + within
    while not (seen := condition()):
        assert time.monotonic() < end, f"{what}: not within {within:g} s"
        time.sleep(0.1)
    return seen


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab as `make lab` opens it, in a folder; {} in it stands for the notebook."""
    runtime = folder / "runtime"
    environment = os.environ | {MARK: str(os.getpid()), "JUPYTER_RUNTIME_DIR": str(runtime), "DISPLAY": ""}
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")  # a theme that a test chooses is not the user's
    environment["CLASSROOM_PROGRESS"] = str(folder / "progress.jsonl")
    command = [sys.executable, "-m", "classroom", "lab", f"--ServerApp.root_dir={folder}", "--no-browser"]
    command += ["--LabApp.expose_app_in_browser=True"]
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        (record,) = wait_for(lambda: list(runtime.glob("jpserver-*.json")), 60, "JupyterLab's address")
        server = wait_for(lambda: record.read_text(), 10, "JupyterLab's address")
        yield "{url}lab/tree/{{}}?token={token}".format(**json.loads(server))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        wait_for(lambda: not leftovers(), 20, "the end of all that the notebook started")


GO_TO = """(id) => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.findIndex((cell) => cell.model.id === id);
    return notebook.activeCellIndex;
}"""
RUN_ABOVE = """() => {
    const commands = window.jupyterapp.commands;
    commands.execute("notebook:run-all-above").then(() => commands.execute("notebook:run-cell"));
}"""
RAN = """(at) => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cell = panel.content.widgets[at].model;
    return cell.executionCount && cell.executionState !== "running";
}"""
RUN = """async (code) => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    let said = "";
    const future = kernel.requestExecute({code});
    future.onIOPub = (message) => {
        const content = message.content;
        said += content.text ?? content.data?.["text/plain"] ?? content.traceback?.join("\\n") ?? "";
    };
    await future.done;
    return said;
}"""
CELL = """(id) => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.findIndex((cell) => cell.model.id === id);
    return notebook.scrollToItem(notebook.activeCellIndex, "center");
}"""
RUN_CELL = """async () => {
    const cell = window.jupyterapp.shell.currentWidget.content.activeCell.model;
    await window.jupyterapp.commands.execute("notebook:run-cell");
    const said = (cell.toJSON().outputs ?? []).map((one) => one.text ?? one.data?.["text/plain"] ?? one.traceback);
    return said.flat().join("\\n");
}"""
HOLDS = "(text) => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source === text"
SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
START = "(code) => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}) && null"
FOCUSED = """() => {
    const at = document.activeElement;
    return {text: at.textContent, id: at.id, view: !!at.closest(".dlo-view"), label: at.labels?.[0]?.textContent ?? ""};
}"""


class Desk:
    """A notebook that is open in Lab, used by keyboard."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, notebook: str) -> None:
        """Wait until Lab and the notebook's kernel are ready."""
        self.page.goto(self.address.format(notebook))
        self.page.wait_for_function(READY, timeout=90_000)

    def open_beside(self, notebook: str) -> None:
        """Open another notebook in a tab of its own, in front."""
        self.page.evaluate("(path) => window.jupyterapp.commands.execute('docmanager:open', {path}) && null", notebook)
        self.page.wait_for_function(SHOWS, arg=notebook, timeout=60_000)
        self.page.wait_for_function(READY, timeout=90_000)

    def run_up_to(self, cell: str, within: float) -> None:
        """Run the cells up to the one with this id, as a reader would who has come so far."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        at = self.page.evaluate(GO_TO, cell)
        self.page.evaluate(RUN_ABOVE)
        self.page.wait_for_function(RAN, arg=at, timeout=within * 1000)

    def view(self, name: str) -> Locator:
        """A view by its name, as a screen reader has it."""
        return self.page.get_by_role("region", name=name).last

    def run(self, code: str) -> str:
        """Run code in the notebook's kernel; what it printed or raised."""
        said: str = self.page.evaluate(RUN, code)
        return said

    def run_cell(self, cell: str, within: float = 60) -> str:
        """Run one cell; the text of what it shows."""
        self.page.set_default_timeout(within * 1000)
        self.page.evaluate(CELL, cell)
        said: str = self.page.evaluate(RUN_CELL)
        return said

    def write(self, cell: str, text: str) -> None:
        """Put a text in the place of what stands in a cell, by keyboard."""
        self.page.evaluate(CELL, cell)
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:enter-edit-mode')")
        self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell.jp-mod-active .cm-content").focus()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)
        self.page.wait_for_function(HOLDS, arg=text, timeout=20_000)
        self.page.keyboard.press("Escape")

    def until_saved(self) -> None:
        """Wait until the notebook's file has what is on the page."""
        self.page.wait_for_function(SAVED, timeout=20_000)

    def photograph(self, cell: str, name: str) -> None:
        """A picture of the notebook around a cell, to look at."""
        pictures = ROOT / ".artifacts"
        pictures.mkdir(exist_ok=True)
        self.page.evaluate(CELL, cell)
        self.page.wait_for_timeout(500)  # for the picture only: cells are drawn as they come into view
        self.page.screenshot(path=pictures / f"{name}.png")

    def tab_to(self, name: str, control: str) -> None:
        """Reach a control of a view by the Tab key alone, from the one before the view."""
        self.view(name).locator("xpath=ancestor::div[contains(@class, 'jp-Cell ')]").locator(".jp-Editor").click()
        self.page.keyboard.press("Escape")
        seen: list[str] = []
        for _ in range(40):
            self.page.keyboard.press("Tab")
            at: dict[str, Any] = self.page.evaluate(FOCUSED)
            seen.append(at["text"][:30] or at["label"])
            if at["view"] and (at["text"] == control or at["label"].startswith(control)):
                return
        raise AssertionError(f"{control!r} of {name} cannot be reached by Tab: {seen}")

    def choose(self, name: str, option: str) -> None:
        """Take an option of the view's list: Tab to the one that is chosen, then arrow keys."""
        chosen = self.view(name).locator("input:checked").evaluate("(radio) => radio.labels[0].textContent")
        self.tab_to(name, chosen)
        for _ in self.view(name).get_by_role("radio").all():
            if self.page.evaluate(FOCUSED)["label"].startswith(f"{option}:"):
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{option!r} is not among the options of {name}")

    def press(self, name: str, control: str, key: str = "Enter") -> None:
        self.tab_to(name, control)
        self.page.keyboard.press(key)

    def until(self, name: str, text: str, within: float = 30) -> None:
        """Wait until a view says something."""
        self.view(name).get_by_text(text).first.wait_for(timeout=within * 1000)

    def says(self, name: str) -> str:
        """What a screen reader is told without being asked."""
        return self.view(name).get_by_role("status").inner_text()

    def until_says(self, name: str, text: str, within: float = 30) -> None:
        wait_for(lambda: text in self.says(name), within, f"{text!r} in the status of {name}: {self.says(name)!r}")

    def keep(self, name: str, picture: str) -> None:
        """A picture of one view, for the gallery."""
        GALLERY.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(0, 0)
        self.view(name).scroll_into_view_if_needed()
        self.view(name).screenshot(path=GALLERY / f"{picture}.png")
