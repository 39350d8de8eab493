"""Set-up and the two commands: what they choose, what they refuse, and what they say when something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from classroom import bootstrap

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)(\S*)\?token=(\w+)")


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course folder that set-up may change, in place of this one."""
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    for name, path in (("ROOT", "."), ("VENV", ".venv"), ("TOOLS", ".tools"), ("STAMP", ".venv/set-up.json")):
        monkeypatch.setattr(bootstrap, name, tmp_path / path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def wheel_of_uv(folder: Path, version: str = "99.0.0") -> dict[str, Any]:
    """A wheel laid out as uv's is, with a small script as its program."""
    path = folder / "uv-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("uv-99.data/scripts/uv", f"#!/bin/sh\necho uv {version}\n")
    return {"url": path.as_uri(), "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_lock_file_pins_a_uv_for_this_machine():
    """Where there is no uv, this one is fetched."""
    version, wheel = bootstrap.pinned_uv()
    assert f"/uv-{version}-" in wheel["url"]
    assert len(wheel["hash"]) == len("sha256:") + 64


def test_a_wheel_is_used_only_with_the_right_sha256(course: Path):
    """Neither a proxy's error page nor a changed file becomes a program."""
    wheel = wheel_of_uv(course)
    bootstrap.uv_by_wheel(wheel, course / "good")
    assert bootstrap.uv_version(str(course / "good/bin/uv")) == (99, 0, 0)
    with pytest.raises(bootstrap.SetupError, match=r"uv\.lock says sha256:0"):
        bootstrap.uv_by_wheel(wheel | {"hash": "sha256:0"}, course / "bad")
    assert not (course / "bad/bin/uv").exists()


def test_an_old_uv_on_path_is_passed_over(course: Path, monkeypatch: pytest.MonkeyPatch):
    """It could not read the lock file."""
    bootstrap.uv_by_wheel(wheel_of_uv(course, "0.1.0"), course / "old")
    bootstrap.uv_by_wheel(wheel_of_uv(course), course / ".tools/uv")
    monkeypatch.setenv("PATH", f"{course / 'old/bin'}:/usr/bin:/bin")
    assert bootstrap.get_uv() == str(course / ".tools/uv/bin/uv")


def test_a_finished_set_up_is_not_done_again(course: Path):
    """With the development tools it covers one without them, and not the other way round."""
    for dev in (False, True):
        bootstrap.STAMP.write_text(json.dumps(bootstrap.wanted(dev) | {"brokers": True}))
        assert bootstrap.is_done(bootstrap.recorded(), dev=False)
        assert bootstrap.is_done(bootstrap.recorded(), dev=True) is dev


@pytest.mark.parametrize("change", ["the lock file", "the record", "the environment"])
def test_a_change_means_a_new_set_up(course: Path, change: str):
    """Also one that was interrupted (its record is missing or cut off) or that somebody deleted."""
    bootstrap.STAMP.write_text(json.dumps(bootstrap.wanted(True)))
    if change == "the lock file":
        (course / "uv.lock").write_text("# other\n")
    elif change == "the record":
        bootstrap.STAMP.write_text('{"lock": ')
    else:
        (course / ".venv/bin/python").unlink()
    assert not bootstrap.is_done(bootstrap.recorded(), dev=False)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("cause: failed to write: No space left on device (os error 28)", r"disk is full.*Free: [\d,]+ MB in"),
        ("cause: dns error: failed to lookup address information", r"index cannot be reached.*HTTPS_PROXY"),
        ("error: Permission denied (os error 13)", r"could not be written.*chown"),
    ],
)
def test_a_failed_step_says_what_it_means(capfd: pytest.CaptureFixture[str], printed: str, said: str):
    """The tool's own words are passed on, then the meaning and the next step."""
    code = f"import sys; print({printed!r}); sys.exit(2)"
    with pytest.raises(bootstrap.SetupError, match=f"(?s)uv sync failed .exit code 2.*{said}"):
        bootstrap.run([sys.executable, "-c", code], "uv sync")
    assert printed in capfd.readouterr().out


@pytest.mark.unprivileged
def test_a_home_that_cannot_be_written_is_replaced(course: Path, monkeypatch: pytest.MonkeyPatch):
    """Everything that runs afterwards keeps its files in .tools/home."""
    home = course / "home"
    home.mkdir(mode=0o500)
    monkeypatch.setenv("HOME", str(home))
    bootstrap.prepare_environment()
    assert os.environ["HOME"] == str(course / ".tools/home")


@pytest.mark.unprivileged
def test_a_course_folder_that_cannot_be_written_is_an_error(course: Path):
    """With the way out in it."""
    course.chmod(0o500)
    try:
        with pytest.raises(bootstrap.SetupError, match=r"cannot be written\. Make a copy that is yours: git clone"):
            bootstrap.prepare_environment()
    finally:
        course.chmod(0o700)


def test_make_alone_lists_the_commands():
    """Each with its line."""
    text = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, timeout=30, check=True).stdout
    for command in ("lab", "test", "doctor", "labs", "notebooks"):
        assert re.search(rf"^  make {command} +\w+", text, re.MULTILINE)


def test_make_says_so_where_no_python_is_new_enough():
    """And names the way to give one."""
    done = subprocess.run(
        ["make", "-C", ROOT, "lab", "PYTHON="], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr


def address_in(log: Path, process: subprocess.Popen[bytes]) -> re.Match[str]:
    """The address that JupyterLab prints; fails after a minute or when it ends."""
    end = time.monotonic() + 60
    while not (found := ADDRESS.search(log.read_text())):
        assert time.monotonic() < end, f"no address within 60 s: {log.read_text()[-2000:]}"
        assert process.poll() is None, f"JupyterLab ended: {log.read_text()[-2000:]}"
        time.sleep(0.05)
    return found


def test_two_courses_are_open_at_once(tmp_path: Path):
    """Each on a port of its own, each printing an address that leads to the first notebook."""
    command = [sys.executable, "-m", "classroom", "lab", "--no-browser"]
    processes = []
    found = []
    try:
        for log in (tmp_path / "one.log", tmp_path / "two.log"):
            with log.open("wb") as out:
                processes.append(subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True))
            found.append(address_in(log, processes[-1]))  # Jupyter tries a port before it takes it: not both at once
        assert len({match[1] for match in found}) == 2
        assert {match[2] for match in found} == {"/lab/tree/notebooks/00-start-here.ipynb"}
        for match in found:
            answer = httpx.get(f"http://127.0.0.1:{match[1]}/lab", params={"token": match[3]}, follow_redirects=True)
            assert answer.status_code == 200
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(20)
