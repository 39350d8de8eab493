"""`make lab`: JupyterLab, opened at the first notebook."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST = "notebooks/00-start-here.ipynb"


def has_display() -> bool:
    """Whether a browser opened from here would show on the screen of the person who typed the command."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("CODESPACES"):
        return False
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def options() -> list[str]:
    """JupyterLab's options for this machine and this user."""
    chosen = []
    if not has_display():
        chosen.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        chosen.append("--allow-root")
    return chosen


def main(more: list[str]) -> int:
    """Replace this process by JupyterLab, so that Ctrl-C reaches it alone. The port is a free one.

    `more` are options of JupyterLab's own, passed on as they are; one of them may name another notebook to open.
    """
    if not any(one.startswith("--LabApp.default_url") for one in more):  # JupyterLab takes one value only
        more = [f"--LabApp.default_url=/lab/tree/{FIRST}", *more]
    if not has_display():
        print("There is no screen here: open the address that JupyterLab prints below in your browser.", flush=True)
    os.chdir(ROOT)
    os.environ["JUPYTERLAB_WORKSPACES_DIR"] = str(Path(sys.prefix, "workspaces"))  # not the tabs of another course
    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", *options(), *more])
