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

ROOT = Path(__file__).resolve().parents[2]
MARK = "CLASSROOM_BROWSER_TEST"

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update"]

# Lab is ready when its own objects say so; what the page shows comes earlier.
READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const session = panel?.sessionContext;
    return panel?.context?.isReady && session?.isReady && session.kernelDisplayStatus === "idle";
}"""
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
