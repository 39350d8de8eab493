"""Set-up: from a bare Python to a full .venv, then (if asked) one command run in it.

    python3 src/classroom/bootstrap.py [--dev] [ARGUMENTS OF .venv/bin/python ...]

Needs Python 3.11 and nothing else: no pip, no venv module, no root. Writes only into this course's folder
(.venv, .tools) and the user's cache. What is installed is exactly what uv.lock names, each file checked
against its sha256. The second time nothing is fetched and nothing is asked of the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
STAMP = VENV / "set-up.json"
PYPI = "https://pypi.org/simple"
OLDEST_UV = (0, 8, 0)  # the oldest that reads this lock file (tried)

# What the tools print when something outside them is wrong, and what that means to the person who reads it.
CAUSES = [
    (
        r"No space left|os error 28\b|Errno 28\b",
        "The disk is full: set-up needs about 1,500 MB. Free: {free}.\n"
        "Make room, then run the same command again: what is here already is kept.",
    ),
    (
        r"dns error|lookup address|resolve host|error sending request|[Cc]onnection refused|timed out|"
        r"unreachable|NewConnectionError|urlopen error|Name or service not known",
        "The package index cannot be reached. The first set-up needs the network (later ones do not).\n"
        "Behind a proxy set HTTPS_PROXY; with an index of your own set PIP_INDEX_URL. Then run the same\n"
        "command again.",
    ),
    (
        r"Permission denied|Read-only file system|os error 13\b|os error 30\b|Errno 13\b|Errno 30\b",
        "Something could not be written. Set-up writes into {root} and into your cache folder:\n"
        "both must be yours. (After an earlier `sudo make`, give them back: sudo chown -R $USER {root})",
    ),
]


class SetupError(Exception):
    """Set-up cannot go on. The text says what happened, what it means and what to do next."""


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def free_space() -> str:
    """The room left where set-up writes: in the course's folder and in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folders = [ROOT, cache if cache.exists() else Path.home()]
    return ", ".join(f"{shutil.disk_usage(folder).free // 1_000_000:,} MB in {folder}" for folder in folders)


def explain(output: str) -> str:
    """The likely cause of a failed step, in plain words, from what the step printed ("" if unknown)."""
    for pattern, meaning in CAUSES:
        if re.search(pattern, output):
            return meaning.format(free=free_space(), root=ROOT)
    return ""


def run(command: list[str], what: str) -> None:
    """Run `command`, passing what it says on line by line; raises SetupError with the cause if it fails."""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if not line.lstrip().startswith(("+ ", "Downloaded ")):  # 160 names that uv.lock holds anyway
                print(f"  {line}", end="", flush=True)
    if process.returncode:
        raise SetupError(f"{what} failed (exit code {process.returncode}).\n{explain(''.join(lines[-40:]))}".rstrip())


def writable(folder: Path) -> bool:
    """Whether `folder` can be written, or be made where it does not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def prepare_environment() -> None:
    """Make this process's environment fit for set-up and for what runs after it."""
    if not writable(ROOT):
        raise SetupError(f"{ROOT} cannot be written. Make a copy that is yours: git clone '{ROOT}' ~/course")
    TOOLS.mkdir(exist_ok=True)
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if not writable(home):
        os.environ["HOME"] = str(TOOLS / "home")
        (TOOLS / "home").mkdir(exist_ok=True)
        say(f"the home folder {home} cannot be written; .tools/home is used in its place")
    # A venv that is active in the shell is not the one set up here.
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT"):
        os.environ.pop(name, None)
    os.environ["UV_PYTHON_DOWNLOADS"] = "never"


def base_python() -> str:
    """This interpreter, or the one under it when a venv is active."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def wanted(dev: bool) -> dict[str, Any]:
    """What a finished set-up is recorded as: the same inputs mean that there is nothing to do."""
    inputs = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "uv.lock"))
    return {
        "lock": hashlib.sha256(inputs).hexdigest(),
        "python": [sys.base_prefix, platform.python_version()],
        "folder": str(ROOT),
        "dev": dev,
    }


def recorded() -> dict[str, Any]:
    """The record of the last set-up that finished ({} where none did)."""
    try:
        record: dict[str, Any] = json.loads(STAMP.read_text())
        return record if (VENV / "bin" / "python").exists() else {}
    except (OSError, ValueError):
        return {}


def is_done(record: dict[str, Any], dev: bool) -> bool:
    """Whether `record` covers what is asked: a set-up with the development tools covers one without."""
    return any(record.items() >= wanted(d).items() for d in {dev, True})


def uv_version(uv: str) -> tuple[int, ...]:
    """The version of the program `uv`, () if it does not run."""
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer)
    return tuple(map(int, found.groups())) if found else ()


def pinned_uv() -> tuple[str, dict[str, Any]]:
    """The uv that uv.lock pins: its version, and the wheel for this machine (url, hash)."""
    import tomllib  # Python 3.11; imported here so that an older Python still gets its clear message

    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    entry = next(package for package in packages if package["name"] == "uv")
    system = {"Linux": "manylinux", "Darwin": "macosx"}.get(platform.system(), "?")
    machine = platform.machine()
    for wheel in entry["wheels"]:
        if re.search(rf"-{system}\w*.*{machine}", wheel["url"].rsplit("/", 1)[1]):
            return entry["version"], wheel
    raise SetupError(
        f"There is no ready-made uv for {platform.system()} on {machine}.\n"
        "Install uv (https://docs.astral.sh/uv/), then run the same command again."
    )


def get_uv() -> str:
    """The path of a uv that is new enough: on PATH, fetched before, by pip, or straight from the index."""
    for name in [shutil.which("uv"), str(TOOLS / "uv" / "bin" / "uv")]:
        if name and uv_version(name) >= OLDEST_UV:
            return name
    version, wheel = pinned_uv()
    new = TOOLS / f"uv-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        if not uv_by_pip(version, wheel["hash"], new):
            uv_by_wheel(wheel, new)
        shutil.rmtree(TOOLS / "uv", ignore_errors=True)
        new.rename(TOOLS / "uv")
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return str(TOOLS / "uv" / "bin" / "uv")


def uv_by_pip(version: str, digest: str, target: Path) -> bool:
    """Let this Python's pip, if it has one, fetch uv into `target`. pip knows the proxy and index."""
    requirement = TOOLS / "uv.txt"
    requirement.write_text(f"uv=={version} --hash={digest}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--target", str(target), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    requirement.unlink()
    if done.returncode == 0 and uv_version(str(target / "bin" / "uv")):
        say(f"fetched uv {version} by pip, into .tools/uv")
        return True
    shutil.rmtree(target, ignore_errors=True)
    return False


def uv_by_wheel(wheel: dict[str, Any], target: Path) -> None:
    """Fetch the wheel of uv itself, check its sha256 against uv.lock, and unpack its one program."""
    url = wheel["url"]
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
        (target / "bin").mkdir(parents=True)
        (target / "uv.whl").write_bytes(content)
    except OSError as error:
        raise SetupError(f"uv could not be fetched ({error}).\n{explain(str(error))}".rstrip()) from error
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if digest != wheel["hash"]:
        raise SetupError(f"{url} has {digest}, and uv.lock says {wheel['hash']}: not used. Is a proxy in the way?")
    with zipfile.ZipFile(target / "uv.whl") as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        (target / "bin" / "uv").write_bytes(archive.read(name))
    (target / "bin" / "uv").chmod(0o755)
    (target / "uv.whl").unlink()
    say(f"fetched {url.rsplit('/', 1)[1]} ({len(content) / 1e6:.0f} MB), into .tools/uv")


def own_index() -> str:
    """The package index that this machine is told to use in place of PyPI ("" if none)."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def install(uv: str, groups: list[str], other: Path | None = None) -> None:
    """Bring .venv, or an `other` one, to what uv.lock names: from the addresses in it, or from this machine's index."""
    index, venv = own_index(), other or VENV
    if index.rstrip("/") in ("", PYPI):
        os.environ.update({"UV_PROJECT_ENVIRONMENT": str(other)} if other else {})
        run([uv, "sync", "--frozen", "--python", base_python(), *groups], "uv sync")
        return
    os.environ["UV_DEFAULT_INDEX"] = index
    names = str(TOOLS / "requirements.txt")
    export = [uv, "export", "--quiet", "--frozen", "--no-emit-project", *groups, "--output-file", names]
    run([uv, "venv", "--allow-existing", "--python", base_python(), str(venv)], "uv venv")
    run(export, "uv export")
    run([uv, "pip", "install", "--python", str(venv), "--require-hashes", "-r", names], "uv pip install")
    run([uv, "pip", "install", "--python", str(venv), "--no-deps", "--editable", str(ROOT)], "uv pip install")


def set_up(dev: bool) -> None:
    """Do what is missing, and record it once all is done; a set-up that was interrupted is done again."""
    record = recorded()
    if not is_done(record, dev):
        begun = time.monotonic()
        STAMP.unlink(missing_ok=True)
        uv = get_uv()
        version = ".".join(map(str, uv_version(uv)))
        say(f"Python {platform.python_version()} ({base_python()}), uv {version} ({uv})")
        say("installing the packages that uv.lock names into .venv")
        install(uv, [] if dev else ["--no-dev"])
        record = wanted(dev) | {"brokers": False}
        say(f"the packages are here ({time.monotonic() - begun:.0f} s)")
    if not record.get("brokers"):
        python = str(VENV / "bin" / "python")
        record["brokers"] = subprocess.run([python, "-m", "classroom", "fetch"], cwd=ROOT, check=False).returncode == 0
        STAMP.write_text(json.dumps(record, indent=1))


def main(arguments: list[str]) -> int:
    """Set up, then replace this process by .venv's Python with the arguments that are left."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the one place where an older Python may arrive
        print(f"The course needs Python 3.11 or newer; this is {platform.python_version()}.", file=sys.stderr)
        return 1
    dev = arguments[:1] == ["--dev"]
    try:
        prepare_environment()
        with (TOOLS / "lock").open("w") as lock:  # a second set-up of this folder waits for the first
            fcntl.flock(lock, fcntl.LOCK_EX)
            set_up(dev)
    except (SetupError, OSError) as error:
        cause = explain(str(error)) if isinstance(error, OSError) else ""
        print(f"\nset-up stopped: {error}\n{cause}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up was interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    if arguments[dev:]:
        python = str(VENV / "bin" / "python")  # the whole path: by it, Python finds its own .venv
        os.execv(python, [python, *arguments[dev:]])
    say("all is here")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
