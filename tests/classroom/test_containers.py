"""Containers of an ended kernel are removed, by a real engine; those of a living one are not."""

import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from classroom_help import Kernel, eventually, marked

from classroom import containers, owners

SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
WAYS = ["socket", "command"]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def count(owner: str) -> int:
    return len(docker("ps", "--all", "--quiet", "--filter", f"label={containers.LABEL}={owner}").split())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory):
    """An empty image: a container that is created, never run, is enough to be removed."""
    try:
        docker("version")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no container engine answers: {error}")
    empty = tmp_path_factory.mktemp("image") / "empty.tar"
    empty.write_bytes(bytes(10240))
    name = f"dead-letter-office-test:{uuid.uuid4().hex[:8]}"
    docker("import", str(empty), name)
    yield name
    docker("image", "rm", "--force", name)


def create(image: str, owner: str) -> str:
    return docker("create", "--label", f"{containers.LABEL}={owner}", image, "/none")


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """The engine's address: its socket, or "" for whatever `docker` on PATH talks to."""
    return SOCKET if request.param == "socket" else ""


@pytest.mark.containers
@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_only_the_owners_containers_are_removed(image: str, way: str):
    mine, other = f"mine-{uuid.uuid4().hex}", f"other-{uuid.uuid4().hex}"
    for owner in (mine, mine, other):
        create(image, owner)
    assert containers.remove(way, mine) == 2
    assert (count(mine), count(other)) == (0, 1)
    assert containers.remove(way, other) == 1


@pytest.mark.containers
@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_the_sweep_removes_what_the_dead_left(image: str, way: str):
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, living = f"{ended.pid}-1-{owners.place()}", f"{owners.label(os.getpid())}-{uuid.uuid4().hex}"
    for owner in (dead, living):
        create(image, owner)
    assert containers.sweep(way, owners.is_dead) >= 1
    assert (count(dead), count(living)) == (0, 1)
    containers.remove(way, living)


@pytest.mark.containers
def test_a_late_create_is_removed_too(image: str):
    """The kernel dies while the engine still works on its create."""
    owner = f"late-{uuid.uuid4().hex}"
    late = subprocess.Popen(
        ["sh", "-c", f"sleep 1; docker create --label {containers.LABEL}={owner} {image} /none"],
        stdout=subprocess.DEVNULL,
    )
    containers.remove_late(SOCKET, owner)
    assert late.wait(20) == 0
    assert count(owner) == 0


@pytest.mark.containers
@pytest.mark.parametrize("way", [None, "unix:///nowhere.sock"])
def test_a_killed_kernel_leaves_no_container(image: str, way: str | None, tmp_path: Path):
    """By its socket; and where the engine cannot be reached at the end, the keeper still ends."""
    code = f"""
import subprocess
from classroom.supervisor import supervisor
supervisor().watch_containers({way!r})
print(supervisor().label, flush=True)
subprocess.run(["docker", "create", "--label", "{containers.LABEL}=" + supervisor().label, "{image}", "/none"])
time.sleep(600)
"""
    kernel = Kernel(code, tmp_path / "kernel")
    owner = kernel.line()
    eventually(lambda: count(owner) == 1)
    kernel.kill()
    if way:
        eventually(lambda: not marked(kernel.mark), what="the end of the keeper")
        containers.remove(SOCKET, owner)  # unless another kernel of this machine has done so
        assert count(owner) == 0
    else:
        eventually(lambda: count(owner) == 0, what="the removal of the container")
    kernel.nothing_is_left()


@pytest.mark.parametrize("address", ["unix:///nowhere.sock", "tcp://127.0.0.1:9", "ssh://nowhere.invalid"])
def test_an_engine_that_is_not_there_counts_as_nothing(address: str, monkeypatch: pytest.MonkeyPatch):
    """No exception and no long wait: the keeper must go on to remove the rest."""
    monkeypatch.setenv("PATH", "/nowhere")
    begin = time.monotonic()
    assert containers.remove(address, "anyone") == 0
    assert time.monotonic() - begin < containers.TIMEOUT
