"""What every test shares: the marks that depend on the machine and the user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest


def docker_problem() -> str:
    """Why no container engine can be used here ("" if one answers)."""
    docker = shutil.which("docker")
    if docker is None:
        return "there is no docker on PATH"
    try:
        done = subprocess.run([docker, "info"], capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return "`docker info` gave no answer in 10 s"
    if done.returncode == 0:
        return ""
    return "no container engine answers: " + done.stderr.strip().splitlines()[-1].split(": Get ")[0]


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="session", name="chromium")
def chromium_path() -> str:
    """The browser of a test marked `browser`."""
    path = find_chromium()
    assert path, "mark the test with pytest.mark.browser"
    return path


def ordinary_user() -> str:
    """Why this user's rights are not those of an ordinary user ("" if they are)."""
    return "root may do what this test expects to be refused" if os.geteuid() == 0 else ""


def nbgrader_problem() -> str:
    """Why nbgrader cannot be used here ("" if it is set up)."""
    from classroom.grading.nbgrader_home import is_here

    return "" if is_here() else "nbgrader is not set up (or is stale): `make nbgrader`"


NEEDS = {
    "containers": docker_problem,
    "browser": lambda: "" if find_chromium() else "there is no Chromium on PATH",
    "unprivileged": ordinary_user,
    "nbgrader": nbgrader_problem,
}


def group_of(item: pytest.Item) -> str:
    """What runs in one process, where several are at work: a file, since its tests share brokers.

    In a file marked `apart`, the tests of one parameter; of all parameters that begin alike, where the mark has a
    pattern for their beginning.
    """
    file, _, parameter = item.nodeid.partition("[")
    file = file.partition("::")[0]
    mark = item.get_closest_marker("apart")
    if mark is None:
        return file
    found = re.match(mark.args[0], parameter) if mark.args else None
    return f"{file} {found[0] if found else parameter}"


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with its reason, what this machine or user cannot run; leave out long campaigns unless asked for."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    if "long" not in (config.getoption("-m") or ""):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for mark, problem in NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and (reason := problem()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
