"""Who owns what: the label of a kernel on its folders and containers, and whether that kernel still lives.

Standard library only: the keeper imports this with nothing else on its path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

FOLDER_PREFIX = "dead-letter-office-"


def place() -> str:
    """This machine and process namespace, as 8 hex digits: a pid means something only here."""
    namespace = ""
    with contextlib.suppress(OSError):  # macOS has none
        namespace = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def label(pid: int) -> str:
    """The owner label of a process: pid, start time (a pid is used again), place."""
    return f"{pid}-{start_time(pid)}-{place()}"


def start_time(pid: int) -> str:
    """When a process started, as text: tells it from an earlier one with its pid. "" if not to be seen."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    if sys.platform == "linux":
        return ""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "".join(character for character in found.stdout if character.isalnum())


def stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped, or it has ended; True where that cannot be seen (not Linux)."""
    try:
        states = [path.read_text(errors="replace").rpartition(")")[2].split()[0] for path in _stat_files(pid)]
    except (OSError, IndexError):
        return True
    return all(state in "TtZX" for state in states)


def _stat_files(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").glob("*/stat"))


def is_dead(owner: str) -> bool:
    """Whether the process with this label has ended; False when in doubt or when it is of another place."""
    try:
        pid, started, where = owner.split("-")[:3]
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return where == place()
    except (ValueError, OSError):
        return False
    return where == place() and start_time(int(pid)) not in (started, "")


def sweep_folders(parent: Path) -> None:
    """Remove the folders in `parent` whose owner is dead (its keeper was killed with it)."""
    for path in parent.glob(FOLDER_PREFIX + "*-*-*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.getuid() and is_dead(path.name.removeprefix(FOLDER_PREFIX)):
                shutil.rmtree(path, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder; a dying process may still write there, so try again for a second."""
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)
