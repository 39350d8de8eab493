"""Apache Kafka itself, from the jars of Maven Central, run by the Java of this machine. Standard library only.

kafka.lock (written by .ci/kafka-lock) names each jar with its SHA-256 and size; they are fetched once, into the user's
cache. A jar appears under its name only when its checksum is right, and the folder under its name when all are there:
what was interrupted goes on where it ended. A lock lets one process at a time fetch.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from classroom.brokers import debs
from classroom.brokers.errors import BrokerError

CENTRAL = "https://repo1.maven.org/maven2/"
LEAST_JAVA = 17  # Kafka 4 asks for it
SILENCE = 30.0  # seconds without a byte until a download has failed
CHUNK = 1 << 16


@dataclass(frozen=True)
class Jar:
    """One line of kafka.lock."""

    sha256: str
    size: int  # bytes
    path: str  # in Maven Central

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Java:
    """A Java that can run Kafka, or why there is none (`problem`)."""

    program: Path | None = None
    version: str = ""
    problem: str = ""


def _locked() -> tuple[str, list[Jar]]:
    head, *lines = resources.files("classroom.brokers").joinpath("kafka.lock").read_text().splitlines()
    version = re.search(r"Apache Kafka (\S+):", head)
    assert version, "kafka.lock begins with Kafka's version"
    return version[1], [Jar(sha256, int(size), path) for sha256, size, path in map(str.split, lines)]


VERSION, JARS = _locked()
SIZE = f"{sum(jar.size for jar in JARS) / 1e6:.0f} MB"


def find_java(search_path: str) -> Java:
    """The first Java that is new enough: of JAVA_HOME, on the path given, or where Homebrew keeps it."""
    homes = [os.environ.get("JAVA_HOME"), "/opt/homebrew/opt/openjdk", "/usr/local/opt/openjdk"]
    named = [str(Path(home, "bin")) if home else "" for home in homes]
    found = (shutil.which("java", path=folder) for folder in (named[0], search_path, *named[1:]) if folder)
    too_old = []
    for program in dict.fromkeys(filter(None, found)):
        version = _java_version(program)
        if version and int(version.split(".")[0]) >= LEAST_JAVA:
            return Java(Path(program), version)
        too_old.append(f"{program} is {'Java ' + version if version else 'no Java that runs'}")
    why = "; ".join(too_old) or "there is no `java` on PATH, nor in JAVA_HOME"
    return Java(problem=f"Kafka needs Java {LEAST_JAVA} or later: {why}")


def _java_version(program: str) -> str:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r'version "([\d.]+)', done.stderr + done.stdout)
    return found[1].strip(".") if found and done.returncode == 0 else ""


def fetched() -> Path | None:
    """The folder of the jars, when all are there."""
    try:
        return folder if (folder := _folder()).is_dir() else None
    except (OSError, RuntimeError):
        return None


def fetch() -> Path:
    """The folder of the jars, fetched when they are not there; blocks, prints progress.

    Raises BrokerError when there is no network, no room, no place to write, or a jar is not the one that is expected.
    """
    folder = _folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with debs.alone(folder.parent, "Kafka"):
            if not folder.is_dir():
                _fetch_into(folder)
    except urllib.error.URLError as error:  # an OSError, too
        raise BrokerError(
            f"Kafka's jars cannot be fetched from {CENTRAL}: {error.reason}. Is there a network?"
        ) from error
    except TimeoutError as error:
        raise BrokerError(f"Kafka's jars cannot be fetched: {CENTRAL} was silent for {SILENCE:g} s") from error
    except OSError as error:
        raise BrokerError(debs.explained(error, folder.parent)) from error
    return folder


def _fetch_into(folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    missing = [jar for jar in JARS if not (partial / jar.name).is_file()]
    size = sum(jar.size for jar in missing)
    debs.check_room(partial, size)
    print(f"Kafka {VERSION}: fetching {len(missing)} jars, {size / 1e6:.1f} MB, from Maven Central (once)", flush=True)
    told = got = 0
    for jar in missing:
        _fetch_one(jar, partial)
        got += jar.size
        if got * 4 // size > told:  # after each quarter
            told = got * 4 // size
            print(f"Kafka {VERSION}: {got / 1e6:.1f} of {size / 1e6:.1f} MB", flush=True)
    partial.rename(folder)


def _fetch_one(jar: Jar, folder: Path) -> None:
    digest, size = hashlib.sha256(), 0
    unfinished = folder / "unfinished"
    with urllib.request.urlopen(CENTRAL + jar.path, timeout=SILENCE) as answer, unfinished.open("wb") as out:
        while size <= jar.size and (chunk := answer.read(CHUNK)):
            digest.update(chunk)
            out.write(chunk)
            size += len(chunk)
    if (size, digest.hexdigest()) != (jar.size, jar.sha256):
        unfinished.unlink()
        raise BrokerError(
            f"{jar.name} came with {size:,} bytes and SHA-256 {digest.hexdigest()}, and the course expects"
            f" {jar.size:,} bytes and {jar.sha256}: nothing of it was kept. Does something on the way change downloads?"
        )
    unfinished.rename(folder / jar.name)


def _folder() -> Path:
    return debs.cache_home() / f"kafka-{VERSION}"
