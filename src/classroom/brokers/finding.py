"""What on this machine can serve a broker: candidates, the best first. Standard library only.

The order: an address in the environment, a container engine, a server program on this machine that is new enough,
one from a Python wheel, one from the packages of Debian and Ubuntu unpacked into the user's cache.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from classroom.brokers import debs, kafka_jars
from classroom.brokers.catalogue import Kind
from classroom.brokers.container_host import Host, find_host
from classroom.brokers.errors import BrokerError

ENGINES = ("auto", "container", "process")


@dataclass(frozen=True)
class Candidate:
    """One way to get a broker. `version` is "" where only the running server can tell."""

    kind: Kind = field(repr=False)
    engine: str  # "external", "container" or "process"
    source: str
    version: str = ""
    to_fetch: str = ""  # what has to be fetched first, "" for nothing
    url: str = ""  # external
    host: Host | None = None  # container
    program: Path | None = None  # process; None: fetch the Debian packages, or Kafka's jars, first
    root: Path | None = None  # process: the tree that the packages were unpacked into, or the folder of the jars


@dataclass(frozen=True)
class PassedOver:
    """Something that is here and cannot serve. `surprising`: its user would expect it to."""

    reason: str
    surprising: bool = True


def chosen_engine(engine: str | None) -> str:
    """The engine asked for: the argument, else CLASSROOM_ENGINE, else "auto". Raises ValueError for an unknown one."""
    chosen = engine or os.environ.get("CLASSROOM_ENGINE") or "auto"
    if chosen not in ENGINES:
        where = "engine=" if engine else "CLASSROOM_ENGINE="
        raise ValueError(f"{where}{chosen!r} is no engine: choose from {', '.join(ENGINES)}")
    return chosen


def find(kind: Kind, engine: str = "auto") -> Iterator[Candidate | PassedOver]:
    """Look at one source after the other; the next one is looked at only when it is asked for."""
    address = os.environ.get(kind.variable)
    if address and engine == "auto":
        yield Candidate(kind, "external", f"the address in {kind.variable}", url=address)
        return
    if engine in ("auto", "container"):
        yield _container(kind)
    if engine in ("auto", "process") and kind.jars:
        yield _java(kind)
    elif engine in ("auto", "process"):
        yield from _programs(kind)
        yield from _wheel(kind)
        yield from _debian(kind)


def _container(kind: Kind) -> Candidate | PassedOver:
    host = find_host()
    if host.problem:
        return PassedOver(host.problem, host.surprising)
    to_fetch = "" if host.has_image(kind.image) else f"image {kind.image}"
    return Candidate(kind, "container", f"image {kind.image}", to_fetch=to_fetch, host=host)


def _programs(kind: Kind) -> Iterator[Candidate | PassedOver]:
    of_wheel = _wheel_program(kind)
    for name in kind.programs:
        found = shutil.which(name, path=search_path())
        if found and Path(found) != of_wheel:
            yield _judged(kind, Path(found), found)


def _wheel(kind: Kind) -> Iterator[Candidate | PassedOver]:
    if program := _wheel_program(kind):
        yield _judged(kind, program, f"Python wheel {kind.wheel}")


def _debian(kind: Kind) -> Iterator[Candidate | PassedOver]:
    source = f"{debs.distribution()} package {kind.debian}"
    root = debs.unpacked(kind.debian)
    program = next(iter(sorted(root.glob(kind.unpacked))), None) if root else None
    if root and program:
        yield _judged(kind, program, source, root)
    elif debs.problem() == "":
        size = "a few MB" if kind.name != "rabbitmq" else "about 40 MB"
        yield Candidate(kind, "process", source, to_fetch=f"{size} of {debs.distribution()} packages")


def _java(kind: Kind) -> Candidate | PassedOver:
    java = kafka_jars.find_java(search_path())
    if java.program is None:
        return PassedOver(java.problem)
    source = f"Apache's own jars, run by Java {java.version}"
    root = kafka_jars.fetched()
    to_fetch = "" if root else f"{kafka_jars.SIZE} of jars"
    return Candidate(
        kind, "process", source, kafka_jars.VERSION, to_fetch, program=java.program if root else None, root=root
    )


def fetch_packages(candidate: Candidate, cancelled: threading.Event | None = None) -> Candidate:
    """Get the Debian packages, or the jars, of a candidate that has no program yet, with progress lines; blocks.

    Returns the candidate to start. Raises BrokerError when they cannot be fetched or are too old.
    """
    kind = candidate.kind
    if kind.jars:
        java = kafka_jars.find_java(search_path())
        return replace(candidate, program=java.program, root=kafka_jars.fetch(), to_fetch="")
    root = debs.fetch(kind.debian, cancelled)
    program = next(iter(sorted(root.glob(kind.unpacked))), None)
    if program is None:
        raise BrokerError(f"the package {kind.debian} in {root} has no {kind.unpacked}")
    judged = _judged(kind, program, candidate.source, root)
    if isinstance(judged, PassedOver):
        raise BrokerError(judged.reason)
    return judged


def _judged(kind: Kind, program: Path, source: str, root: Path | None = None) -> Candidate | PassedOver:
    """The program, if it runs and is new enough."""
    version = version_of(kind, program, root)
    if not version:
        return PassedOver(f"{source}: passed over, since it does not tell its version")
    if tuple(int(part) for part in version.split(".")[:2]) < kind.minimum:
        least = ".".join(map(str, kind.minimum))
        return PassedOver(f"{source}: passed over, since it is {version} and the course needs {least} or later")
    return Candidate(kind, "process", source, version, program=program, root=root)


def version_of(kind: Kind, program: Path, root: Path | None = None) -> str:
    """The version of a server program, such as "7.0.15"; "" when it cannot be told."""
    if not kind.version_option:  # RabbitMQ: its scripts start Erlang to tell; the folder of its plugins knows too
        folder = program.resolve().parents[1] / "plugins"
        text = " ".join(entry.name for entry in folder.glob("rabbit-[0-9]*"))
    else:
        text = _output([str(program), kind.version_option], environment_of(root))
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else ""


def _output(argv: list[str], environment: dict[str, str]) -> str:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout + done.stderr
    return ""


def environment_of(root: Path | None) -> dict[str, str]:
    """This process's environment, in which the programs of an unpacked tree find their libraries."""
    environment = dict(os.environ, PATH=search_path())
    if root is not None:
        folders = [str(path) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for path in root.glob(pattern)]
        environment["LD_LIBRARY_PATH"] = ":".join([*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    return environment


def search_path() -> str:
    """PATH, the folder of this Python (an environment that is not activated), and those where servers are kept."""
    folders = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/sbin"]
    return os.pathsep.join([*folders, "/opt/homebrew/bin", "/opt/homebrew/sbin"])


def _wheel_program(kind: Kind) -> Path | None:
    """The server inside an installed wheel."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        if kind.wheel:
            for file in importlib.metadata.distribution(kind.wheel).files or ():
                if file.name in kind.programs and os.access(path := Path(str(file.locate())).resolve(), os.X_OK):
                    return path
    return None


def command_for(kind: Kind, engine: str = "auto") -> str:
    """The one command that would get this broker on this machine, for this engine."""
    packages = dict(kind.packages)
    commands = {
        "brew": "brew install {}",
        "conda": "conda install --yes --channel conda-forge {}",
        "dnf": "sudo dnf install {}",
        "pacman": "sudo pacman -S {}",
        "apt-get": "sudo apt-get install {}",
    }
    if engine != "container" and kind.jars and kafka_jars.find_java(search_path()).program:
        return f"classroom fetch {kind.name}   (with a network: {kafka_jars.SIZE} of jars from Maven Central)"
    for manager, command in commands.items():
        if engine != "container" and manager in packages and shutil.which(manager):
            return command.format(packages[manager])
    if shutil.which("docker"):
        return "docker info   (it says why the container engine does not answer)"
    if platform.system() == "Linux":
        return "curl -fsSL https://get.docker.com | sh"
    return "install Docker Desktop from https://docs.docker.com/get-started/get-docker/"
