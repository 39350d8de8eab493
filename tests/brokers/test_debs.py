"""Packages of Debian and Ubuntu in the user's cache: real ones, a small one, from this machine's own sources."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from classroom_help import MARK, eventually, marked

from classroom.brokers import BrokerError, debs
from classroom.brokers.catalogue import MOSQUITTO
from classroom.brokers.finding import Candidate, fetch_packages, version_of

PACKAGE = MOSQUITTO.debian
FETCH = f"from classroom.brokers import debs; print(debs.fetch({PACKAGE!r}))"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory):
    """A cache with the package; skips where there are no packages to be had."""
    if problem := debs.problem():
        pytest.skip(problem)
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        try:
            debs.fetch(PACKAGE)
        except BrokerError as error:
            pytest.skip(f"no packages can be fetched: {error}")
    return cache


@pytest.fixture
def cache(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_the_server_runs_from_the_cache(fetched: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(fetched))
    root = debs.unpacked(PACKAGE)
    assert root
    assert version_of(MOSQUITTO, root / MOSQUITTO.unpacked, root) >= "2.0"


def test_the_second_time_needs_no_network(fetched: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(fetched))
    monkeypatch.setattr(debs, "_run", None)
    assert debs.fetch(PACKAGE) == debs.unpacked(PACKAGE)


def test_only_the_package_is_left(fetched: Path):
    """No lists, no archives, no half-done folder: the package and the lock."""
    (release,) = (fetched / "dead-letter-office" / "debs").iterdir()
    assert sorted(path.name for path in release.iterdir()) == [".lock", PACKAGE]


@pytest.mark.parametrize("seed", range(3))
def test_a_fetch_that_is_killed_never_counts(cache: Path, seed: int):
    """Its commands end with it; the next fetch clears up and does all of it."""
    mark = f"debs-{os.getpid()}-{seed}"
    killed = subprocess.Popen([sys.executable, "-c", FETCH], env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.2, 3.0))
    killed.send_signal(signal.SIGKILL)
    if killed.wait() == 0:
        pytest.skip("this machine fetches faster than the moment of the kill")
    eventually(lambda: not marked(mark), what="the end of apt-get")
    assert debs.unpacked(PACKAGE) is None
    root = debs.fetch(PACKAGE)
    assert os.access(root / MOSQUITTO.unpacked, os.X_OK)
    assert not list(root.parent.glob("partial-*"))


def test_two_at_once(cache: Path):
    """One fetches, the other waits and finds it done."""
    both = [subprocess.Popen([sys.executable, "-c", FETCH], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("unpacking" in output for output in outputs) == [False, True]
    assert any("waiting for another process" in output for output in outputs)
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]


def test_a_fetch_that_is_cancelled(cache: Path):
    """An interrupted cell: it ends soon, and nothing is left."""
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    begin = time.monotonic()
    with pytest.raises(BrokerError, match="cancelled"):
        debs.fetch(PACKAGE, cancelled)
    assert time.monotonic() - begin < 3
    assert not files(cache)


def test_a_package_that_is_not_there(cache: Path):
    """The package manager's own words; nothing is left."""
    with pytest.raises(BrokerError, match="Unable to locate package no-such-broker"):
        debs.fetch("no-such-broker")
    assert not files(cache)


def test_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Sources that cannot be reached: an error, and nothing is left."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(BrokerError, match="apt-get"):
        debs.fetch(PACKAGE)
    assert not files(cache)


def test_no_room(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Both numbers, and what to do."""
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(BrokerError, match=r"no room in .*: needs 300 MB and has 1 MB free. Set XDG_CACHE_HOME"):
        debs.fetch(PACKAGE)
    assert not files(cache)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file stands where the folder should be: refused to root, too."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BrokerError, match=r"cannot write to .*Set XDG_CACHE_HOME"):
        debs.fetch(PACKAGE)


def test_a_package_that_is_too_old(fetched: Path, monkeypatch: pytest.MonkeyPatch):
    """Both versions."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(fetched))
    kind = type(MOSQUITTO)(**{**MOSQUITTO.__dict__, "minimum": (99, 1)})
    with pytest.raises(BrokerError, match=r"the course needs 99.1 or later"):
        fetch_packages(Candidate(kind, "process", "a package"))
