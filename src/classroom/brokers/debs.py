"""Servers from the packages of Debian and Ubuntu, unpacked into the user's cache. Standard library only.

Nothing is installed and root is not needed: `apt-get download` fetches and checks the signatures, `dpkg -x` unpacks.
The packages that this machine lacks (libraries, Erlang) come along. A folder appears under its final name only when
all of it is there, so one that was interrupted never counts; a lock lets one process at a time fetch.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from classroom.brokers.errors import BrokerError

TOOLS = ("apt-get", "dpkg", "setpriv")
LOCK_LIMIT = 900.0  # seconds to wait for another process that fetches
COMMAND_LIMIT = 600.0  # seconds for one command, on a slow network
ROOM = 300_000_000  # bytes needed for a while: apt's lists, packages, what they unpack to (apt hangs on a full disk)
INSTALL = ("install", "--yes", "--no-install-recommends", "--reinstall", "--print-uris")  # prints, installs nothing


def distribution() -> str:
    """ "Debian" or "Ubuntu" (or a relative), "" elsewhere."""
    return _release().get("NAME", "").partition(" ")[0]


def problem() -> str:
    """Why packages cannot be fetched on this machine; "" when they can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return "this is not Debian or Ubuntu" if len(missing) > 1 else f"there is no {missing[0]} on PATH"
    return ""


def unpacked(package: str) -> Path | None:
    """The folder that the package was unpacked into, if it was."""
    with contextlib.suppress(OSError, RuntimeError):
        if (folder := _cache() / package).is_dir():
            return folder
    return None


def fetch(package: str, cancelled: threading.Event | None = None) -> Path:
    """Fetch and unpack a package with what it needs; at once when that was done before. Blocks, prints progress.

    Setting `cancelled` ends it soon. Raises BrokerError then, and when there is no network, no room, or no place to
    write; nothing half-done is left.
    """
    folder = _cache() / package
    cancelled = cancelled or threading.Event()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.parent, package, cancelled):
            if not folder.is_dir():
                _fetch_into(folder, package, functools.partial(_run, cancelled=cancelled))
    except OSError as error:
        raise BrokerError(explained(error, folder.parent)) from error
    return folder


def _fetch_into(folder: Path, package: str, run: Callable[[list[str], Path], str]) -> None:
    for left in folder.parent.glob("partial-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    check_room(folder.parent, ROOM)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent, ignore_cleanup_errors=True) as work:
        downloads, tree = Path(work, "archives"), Path(work, "tree")
        apt = _apt(Path(work))
        _say(f"{package}: reading {distribution()}'s package lists")
        run([*apt, "update"], Path(work))
        names, size = _needed(run([*apt, *INSTALL, package], Path(work)), package)
        _say(f"{package}: fetching {len(names)} packages, {size / 1e6:.1f} MB")
        run([*apt, "download", *names], downloads)
        _say(f"{package}: unpacking into {folder}")
        for archive in sorted(downloads.glob("*.deb")):
            run(["dpkg", "-x", str(archive), str(tree)], Path(work))
        tree.rename(folder)


def _needed(output: str, package: str) -> tuple[list[str], int]:
    """The packages to download (itself and what this machine lacks), and their bytes together."""
    lines = [line.split() for line in output.splitlines() if line.startswith("'")]
    if not lines:
        raise BrokerError(f"{distribution()} has no package {package}: its lists name no file to download")
    return [line[1].partition("_")[0] for line in lines], sum(int(line[2]) for line in lines)


def _apt(work: Path) -> list[str]:
    """apt-get with lists and archives of its own; sources, keys and what is installed are the machine's."""
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "archives" / "partial").mkdir(parents=True)
    options = {
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work,
        "APT::Sandbox::User": "root",  # the cache is the user's: no other user can write there
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 20,
    }
    return ["apt-get", "--quiet", *(f"-o{name}={value}" for name, value in options.items())]


def _run(argv: list[str], folder: Path, cancelled: threading.Event) -> str:
    """The output of a command, which ends with this process. Raises BrokerError with its last lines."""
    guarded = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": str(folder)}
    deadline = time.monotonic() + COMMAND_LIMIT
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(guarded, cwd=folder, env=environment, stdout=output, stderr=output) as process,
    ):
        while process.poll() is None:
            if cancelled.wait(0.02) or time.monotonic() > deadline:
                process.kill()
        output.seek(0)
        text = output.read()
    if cancelled.is_set():
        raise BrokerError("cancelled")
    if process.returncode:
        raise _failure(argv, process.returncode, text)
    return text


def _failure(argv: list[str], code: int, text: str) -> Exception:
    if "No space left" in text:
        return OSError(errno.ENOSPC, "it filled up while packages were fetched")
    last = "\n".join(text.strip().splitlines()[-6:])
    verb = next((word for word in argv[1:] if not word.startswith("-")), "-x")
    why = f"was ended after {COMMAND_LIMIT:g} s (is the network slow?)" if code < 0 else f"failed (exit code {code})"
    return BrokerError(f"`{argv[0]} {verb}` {why}:\n{last}")


def check_room(folder: Path, needed: int) -> None:
    """Raise OSError, with both numbers, when a folder has less room than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"needs {needed / 1e6:.0f} MB and has {free / 1e6:.0f} MB free")


def explained(error: OSError, folder: Path) -> str:
    """Why something could not be written to the cache, and what to do."""
    advice = "Set XDG_CACHE_HOME to a folder with room that you may write to."
    if error.errno == errno.ENOSPC:
        return f"there is no room in {folder}: {error.strerror}. {advice}"
    return f"cannot write to {folder}: {error.strerror or error}. {advice}"


@contextlib.contextmanager
def alone(folder: Path, package: str, cancelled: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock of the cache; waits for another process that fetches, at most LOCK_LIMIT seconds."""
    import fcntl  # not on Windows, where nothing here is used

    deadline, cancelled = time.monotonic() + LOCK_LIMIT, cancelled or threading.Event()
    with open(folder / ".lock", "a") as lock:  # released by the system when this process ends, however it ends
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    _say(f"{package}: waiting for another process that fetches into {folder}")
                    told = True
            if cancelled.wait(0.1) or time.monotonic() > deadline:
                raise BrokerError(f"another process is still fetching into {folder}: try again later")
        yield


def _cache() -> Path:
    """A folder for this release and architecture: a home folder may be shared by several machines."""
    release = f"{_release().get('ID', 'linux')}-{_release().get('VERSION_ID', '')}-{platform.machine()}"
    return cache_home() / "debs" / release


def cache_home() -> Path:
    """The course's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dead-letter-office"


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except (OSError, AttributeError):
        return {}


def _say(line: str) -> None:
    print(line, flush=True)
