"""nbgrader, in an environment of its own: `.venv-nbgrader`, pinned by uv.lock as the rest is.

Not in `.venv`, since its extensions would show in each learner's JupyterLab. The course's packages are in it too:
nbgrader runs notebooks in its own environment.

    python -m classroom.grading.nbgrader_home       what `make nbgrader` does
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classroom.bootstrap import ROOT, TOOLS, SetupError, get_uv, install, prepare_environment, say

__all__ = ["HOME", "NbgraderError", "is_here", "nbgrader", "python"]

HOME = ROOT / ".venv-nbgrader"
STAMP = HOME / "set-up.json"
NOT_THERE = ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
LIMIT = 1200  # seconds for one command of nbgrader


class NbgraderError(Exception):
    """nbgrader is not here, or one of its commands failed. The message has its last lines, and the next step."""


def wanted() -> dict[str, Any]:
    """What a finished set-up is recorded as."""
    inputs = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "uv.lock"))
    lock = hashlib.sha256(inputs).hexdigest()
    return {"lock": lock, "python": [sys.base_prefix, platform.python_version()], "folder": str(ROOT)}


def is_here() -> bool:
    """Whether it was set up, by this uv.lock and this Python."""
    try:
        return bool(json.loads(STAMP.read_text()) == wanted()) and (HOME / "bin" / "nbgrader").exists()
    except (OSError, ValueError):
        return False


def set_up() -> None:
    """Bring it here, where it is not. Raises `SetupError`."""
    prepare_environment()
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_here():
            STAMP.unlink(missing_ok=True)
            say("installing nbgrader, as uv.lock names it, into .venv-nbgrader")
            install(get_uv(), ["--no-dev", "--group", "nbgrader"], HOME)
            STAMP.write_text(json.dumps(wanted(), indent=1))
    say(f"nbgrader is here: {HOME / 'bin' / 'nbgrader'}")


def python(arguments: Sequence[str], folder: Path, given: str = "") -> str:
    """Run its Python in a folder; what was printed. `given` is its standard input. Raises `NbgraderError`."""
    if not is_here():
        raise NbgraderError("nbgrader is not set up here. Do it once (it takes a minute): make nbgrader")
    command = [str(HOME / "bin" / "python"), *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, input=given, capture_output=True, text=True, timeout=LIMIT, env=_environment()
        )
    except subprocess.TimeoutExpired:
        raise NbgraderError(f"nbgrader did not end within {LIMIT} s. Is the machine busy? Try it again.") from None
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise NbgraderError(f"`{' '.join(map(str, arguments))[:200]}` failed (exit code {done.returncode}):\n{last}")
    return done.stdout


def nbgrader(*arguments: str, course: Path) -> str:
    """Run a command of nbgrader in a course's folder; what it printed. Raises `NbgraderError`."""
    return python(["-m", "nbgrader", *arguments], course)


def _environment() -> dict[str, str]:
    """The environment of its processes: its own programs come first, and nobody's progress is written.

    It may keep compiled modules: without them, the import of nbgrader alone takes seconds each time.
    """
    path = f"{HOME / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    own = {"PATH": path, "VIRTUAL_ENV": str(HOME), "CLASSROOM_PROGRESS": os.devnull}
    return {name: value for name, value in os.environ.items() if name not in NOT_THERE} | own


def main() -> int:
    """Set it up; returns the exit code."""
    try:
        set_up()
    except (SetupError, OSError) as error:
        print(f"\nset-up stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
