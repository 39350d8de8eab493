"""The sandbox of one process of a submission: bubblewrap's arguments, and the limits.

What a process in it has: the interpreter and the course's packages to read, 64 MB of memory as /tmp, a loopback
interface of its own, and one unix socket, the gate (gate.py), behind which the grader decides about each connection.
What it has not: a network, the files of this machine (the solutions, other submissions, the gradebook, the checks),
an environment, capabilities, a way to see or signal a process outside, a way to gain rights (no_new_privs).

Run by an ordinary user, it is a user namespace of bubblewrap's. Run by root it is none: the entry (inside/entry.py)
becomes a user that exists nowhere else on the machine before the submission's first line runs, because the kernel
does not hold root to a limit on processes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import classroom
import postoffice

__all__ = ["LIMITS", "Limits", "NoSandbox", "bubblewrap", "command"]

INSIDE = Path(__file__).parent / "inside"  # what of the grader is in a sandbox, at its own path
GATE = "/gate/socket"
FIRST_USER, LAST_USER = 1_600_000_000, 1_700_000_000  # user ids, used as root: none of them is anybody's
CHECK_FILES = ("asking.py", "trials.py", "result.py")  # of the checks, what a driver needs; no judge, no answer
SYSTEM = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")


class NoSandbox(Exception):
    """There is no sandbox on this machine. The message says how to get one."""


@dataclass(frozen=True)
class Limits:
    """What one process of a submission and its children may use.

    Attributes:
        memory: bytes of address space, each process; resident: bytes of memory, all of a sandbox together.
        processes: threads count. cpu: seconds, each process. file: bytes of one file. files: open at once.
        room: bytes of /tmp. sent: bytes that it may send through the gate, all together.
    """

    memory: int = 2 << 30
    resident: int = 768 << 20
    processes: int = 96
    cpu: int = 120
    file: int = 32 << 20
    files: int = 512
    room: int = 64 << 20
    sent: int = 64 << 20


LIMITS = Limits()


@dataclass(frozen=True)
class Box:
    """One sandbox to be: its gate's socket on this machine, files to show in it, its environment, ports at the gate."""

    gate: Path
    shown: dict[str, str] = field(default_factory=dict)  # path inside -> path on this machine
    environment: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()  # of its loopback, each led to the gate
    limits: Limits = LIMITS


@cache
def bubblewrap() -> str:
    """The program, once it was seen to work. Raises NoSandbox."""
    program = shutil.which("bwrap")
    if program is None:
        raise NoSandbox(
            "there is no sandbox here: submissions are run by bubblewrap, and `bwrap` is not on PATH. Install it"
            " (Debian and Ubuntu: apt-get install bubblewrap), or say --unsafe if you trust every submission as you"
            " trust your own code."
        )
    argv = [program, *_namespaces(), "--ro-bind", "/", "/", "/bin/true"]
    tried = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode:
        raise NoSandbox(
            f"bubblewrap does not work here: {tried.stderr.strip()[:300]}. On Ubuntu 24.04 an AppArmor profile must"
            " allow it user namespaces; in a container, the container must. Or say --unsafe if you trust every"
            " submission as you trust your own code."
        )
    return program


def _namespaces() -> list[str]:
    shared = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid():
        shared = ["--unshare-all"]
    rights = ["--cap-drop", "ALL"]
    if not os.geteuid():  # what it takes to become nobody; gone from then on
        rights += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*shared, "--die-with-parent", "--new-session", "--clearenv", *rights]


def command(box: Box, program: list[str]) -> list[str]:
    """The whole command line that runs a program in a sandbox. Raises NoSandbox."""
    limits = box.limits
    files = [*_readable(), *_course(), (str(INSIDE), str(INSIDE)), (str(box.gate), GATE)]
    files += [(outside, inside) for inside, outside in box.shown.items()]
    folders = [f"/{'/'.join(parts)}" for parts in _ancestors([path for _, path in files])]
    argv = [bubblewrap(), *_namespaces(), "--proc", "/proc", "--dev", "/dev"]
    argv += ["--size", str(1 << 20), "--perms", "1777", "--tmpfs", "/dev/shm"]
    argv += ["--size", str(limits.room), "--perms", "1777", "--tmpfs", "/tmp"]
    for folder in folders:
        argv += ["--perms", "0755", "--dir", folder]
    for source, path in files:
        argv += ["--symlink", source[1:], path] if source.startswith("@") else _mount(source, path)
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in (_environment() | box.environment).items():
        argv += ["--setenv", name, value]
    user = 0 if os.geteuid() else FIRST_USER + secrets.randbelow(LAST_USER - FIRST_USER)
    words = [user, limits.memory, limits.processes, limits.cpu, limits.file, limits.files]
    python = [sys.executable, "-I", "-S", str(INSIDE / "entry.py")]
    return [*argv, "--", *python, ",".join(map(str, words)), ",".join(map(str, box.ports)), *program]


def _mount(source: str, path: str) -> list[str]:
    return ["--perms", "0755", "--tmpfs", path] if source == "" else ["--ro-bind", source, path]


def _environment() -> dict[str, str]:
    """All that a process has of an environment."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@cache
def _readable() -> list[tuple[str, str]]:
    """The system's programs and libraries, and the interpreter with its packages, wherever they really are."""
    found: list[tuple[str, str]] = [("/usr", "/usr")]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            found.append(("@" + str(path.resolve()), str(path)))
        elif path.is_dir():
            found.append((str(path), str(path)))
    found += [(name, name) for name in SYSTEM if Path(name).exists()]
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    prefixes += [str(Path(sys.executable).resolve().parents[1])]
    for prefix in dict.fromkeys(one for name in prefixes for one in (name, os.path.realpath(name))):
        if not any(prefix == known or prefix.startswith(f"{known}/") for _, known in found):
            found.append((prefix, prefix))
    return found


@cache
def _course() -> list[tuple[str, str]]:
    """The two packages, without the grader and without the judges: their references are nobody's to import."""
    files: list[tuple[str, str]] = []
    for package in (classroom, postoffice):
        folder = str(Path(str(package.__file__)).parent)
        files.append((folder, folder))
    home = Path(str(classroom.__file__)).parent
    files += [("", str(home / "grading")), ("", str(home / "checks"))]
    return files + [(str(home / "checks" / name), str(home / "checks" / name)) for name in CHECK_FILES]


def _ancestors(paths: list[str]) -> list[tuple[str, ...]]:
    """The folders above some paths, outermost first: bubblewrap would make them for itself alone."""
    found = {parts[:n] for parts in (Path(path).parts[1:] for path in paths) for n in range(1, len(parts))}
    return sorted(found, key=lambda parts: (len(parts), parts))
