"""Starting: which source serves, what is left when a start fails or is interrupted, and what the errors say."""

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest
from classroom_help import eventually
from redis.asyncio import Redis

from classroom.brokers import Broker, BrokerError, NoBroker, NotOurs, PortTaken, ports, start_broker
from classroom.brokers.ports import FIRST, HOST, LAST, Port, is_free
from classroom.supervisor import supervisor

NO_DOCKER = "unix:///nowhere.sock"


def program(folder: Path, name: str, script: str) -> Path:
    """Put a server program in front of PATH's others."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


@pytest.fixture
def in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "bin"


def children() -> list[str]:
    """The processes of this kernel that its keeper holds."""
    link = supervisor()._link
    return [] if link is None else [child.argv[0] for child in link.children.values()]


def folders(kind: str) -> list[Path]:
    return list(supervisor()._root.glob(f"{kind}-*"))


async def test_names_that_are_not_there():
    with pytest.raises(ValueError, match="no broker is called 'reddis': the course has redis, nats"):
        await start_broker("reddis")
    with pytest.raises(ValueError, match="engine='podman' is no engine: choose from auto, container, process"):
        await start_broker("redis", engine="podman")


async def test_the_environment_chooses_the_engine_and_the_argument_beats_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", NO_DOCKER)
    monkeypatch.setenv("CLASSROOM_ENGINE", "container")
    with pytest.raises(NoBroker, match="no container engine runs"):
        await start_broker("redis")
    async with await start_broker("redis", engine="process") as broker:
        assert broker.engine == "process"
    monkeypatch.setenv("CLASSROOM_ENGINE", "dokcer")
    with pytest.raises(ValueError, match="CLASSROOM_ENGINE='dokcer' is no engine"):
        await start_broker("redis")


async def test_without_an_engine_a_process_serves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", NO_DOCKER)
    async with await start_broker("redis") as broker:
        assert broker.engine == "process"


async def test_an_old_program_is_passed_over(in_front: Path, capsys: pytest.CaptureFixture[str]):
    """With a line that says both versions; the next source serves."""
    old = program(in_front, "redis-server", "echo 'Redis server v=5.0.3 sha=0'")
    async with await start_broker("redis", engine="process") as broker:
        assert broker.source != str(old)
    assert f"{old}: passed over, since it is 5.0.3 and the course needs 7.0 or later" in capsys.readouterr().out


async def test_a_failing_start_shows_the_last_log_lines(in_front: Path, capsys: pytest.CaptureFixture[str]):
    """And leaves nothing; the next source serves."""
    script = 'case "$1" in --version) echo v=9.9.9;; *) echo "cannot open the moon"; exit 3;; esac'
    broken = program(in_front, "redis-server", script)
    async with await start_broker("redis", engine="process") as broker:
        assert broker.source != str(broken)
        assert len(folders("redis")) == 1
    out = capsys.readouterr().out
    assert "Redis has ended" in out
    assert "cannot open the moon" in out


async def test_nothing_can_serve(in_front: Path, monkeypatch: pytest.MonkeyPatch):
    """The error lists what was tried, and one command."""
    monkeypatch.setattr("classroom.brokers.debs.TOOLS", ("apt-get-that-is-not-there", "dpkg"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_front))  # where no packages were unpacked before
    old = program(in_front, "mosquitto", "echo mosquitto version 1.4.8")
    monkeypatch.setenv("PATH", str(in_front))
    with pytest.raises(NoBroker) as caught:
        await start_broker("mosquitto", engine="process")
    message = str(caught.value)
    assert f"{old}: passed over, since it is 1.4.8 and the course needs 2.0 or later" in message
    assert message.splitlines()[-1].startswith("This would: ")


async def test_a_program_that_cannot_be_executed(in_front: Path, capsys: pytest.CaptureFixture[str]):
    program(in_front, "redis-server", "").write_bytes(b"\x7fELF no")
    async with await start_broker("redis", engine="process"):
        pass
    assert "does not tell its version" in capsys.readouterr().out


async def test_the_same_name_replaces(engine: str, serve):
    """Running a cell again: the one before is gone, and its data with it."""
    serve("redis", engine)
    first = await start_broker("redis", engine=engine)
    async with await start_broker("redis", engine=engine) as second:
        assert not first.alive
        assert second.alive
        assert len(folders("redis")) == (1 if engine == "process" else 0)
        async with await start_broker("redis", engine=engine, name="another") as third:
            assert second.alive
            assert second.url != third.url


async def test_redis_that_syncs_keeps_what_it_acknowledged(engine: str, serve):
    """sync="always": a key set and acknowledged survives a kill; with the default it is forgotten."""
    serve("redis", engine)
    kept = {}
    for sync in ("always", "default"):
        async with await start_broker("redis", engine=engine, sync=sync) as broker:
            async with Redis.from_url(broker.url) as client:
                await client.set("key", sync)
            broker.kill()
            await broker.restart()
            async with Redis.from_url(broker.url) as client:
                kept[sync] = await client.get("key")
    assert kept == {"always": b"always", "default": None}


async def test_a_nats_that_syncs_was_told_so(engine: str, serve):
    """A kill cannot show the difference, so its own words must: it started with the setting. Kafka has none."""
    serve("nats", engine)
    async with await start_broker("nats", engine=engine, sync="always") as broker:
        assert "sync.conf" in broker.logs(200)
        assert "synced to disk before it is acknowledged" in broker.limits
    with pytest.raises(ValueError, match=r"sync='always' is for Redis and NATS. Kafka has no such setting"):
        await start_broker("kafka", sync="always")


async def test_two_starts_at_once_leave_one():
    one, two = await asyncio.gather(*(start_broker("redis", engine="process") for _ in range(2)))
    assert [one.alive, two.alive].count(True) == 1
    await one.stop()
    await two.stop()
    assert not folders("redis")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
@pytest.mark.parametrize("delay", [0, 0.02, 0.3])  # seconds; 0: before its first step
async def test_a_cancelled_start_leaves_nothing(kind: str, delay: float, engine: str, serve):
    """Interrupting a cell in the middle of a start."""
    serve(kind, engine)
    before, there = children(), containers() if engine == "container" else []
    start = asyncio.create_task(start_broker(kind, engine=engine, name="cancelled"))
    await asyncio.sleep(delay)
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await start).stop()  # it was quicker
    await asyncio.to_thread(eventually, lambda: children() == before, what="the end of its processes")
    assert not folders(kind)
    if engine == "container":
        assert containers() == there


def containers() -> list[str]:
    """The containers of this kernel, running or not: those that other tests keep warm, too."""
    import docker

    found = docker.from_env().containers.list(
        all=True, filters={"label": f"dead-letter-office.owner={supervisor().label}"}
    )
    return [container.name for container in found]


async def test_a_port_that_is_taken_in_between(engine: str, serve, monkeypatch: pytest.MonkeyPatch):
    """At a first start another port is tried."""
    serve("redis", engine)
    with socket.create_server((HOST, 0)) as stranger:
        taken = stranger.getsockname()[1]

        class FirstTaken(Port):
            tries = 0

            def __init__(self) -> None:
                super().__init__()
                FirstTaken.tries += 1
                if FirstTaken.tries == 1:
                    self.number = taken

        monkeypatch.setattr(ports, "Port", FirstTaken)
        there = containers() if engine == "container" else []
        async with await start_broker("redis", engine=engine) as broker:
            assert FirstTaken.tries == 2
            assert not broker.url.endswith(f":{taken}")
            if engine == "container":
                assert len(containers()) == len(there) + 1


async def test_a_port_that_is_taken_while_the_broker_is_down(engine: str, serve):
    """A clear error, and a restart works once the port is free again."""
    serve("redis", engine)
    async with await start_broker("redis", engine=engine) as broker:
        broker.kill()
        refused = pytest.raises(PortTaken, match=f"cannot come back at {broker.url}")
        with socket.create_server((HOST, int(broker.url.rpartition(":")[2]))), refused:
            await broker.restart()
        await broker.restart()
        assert broker.alive


def test_ports_are_ours_while_nothing_listens():
    """Two kernels cannot pick the same one, and no client port can land on it."""
    leases = [Port() for _ in range(50)]
    numbers = [port.number for port in leases]
    assert len(set(numbers)) == 50
    assert all(FIRST <= number <= LAST and is_free(number) for number in numbers)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, numbers[0]))
    for port in leases:
        port.release()
        port.release()


async def test_an_address_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    """Used as it is; there is nothing to break, and it says so."""
    async with await start_broker("redis", engine="process", name="elsewhere") as theirs:
        monkeypatch.setenv("CLASSROOM_REDIS_URL", theirs.url)
        ours = await start_broker("redis")
        assert (ours.engine, ours.url, ours.version) == ("external", theirs.url, theirs.version)
        for broken in (ours.kill, ours.pause, ours.logs):
            with pytest.raises(NotOurs, match=r"Without CLASSROOM_REDIS_URL in the environment"):
                broken()
        for verb in (ours.resume, ours.restart):
            with pytest.raises(NotOurs):
                await verb()
        await ours.stop()
        assert theirs.alive


async def test_an_address_where_nobody_answers(monkeypatch: pytest.MonkeyPatch):
    """Not passed over: whoever gave it wants that one. Its password stays secret."""
    monkeypatch.setenv("CLASSROOM_REDIS_URL", "redis://me:secret@127.0.0.1:9")
    with pytest.raises(BrokerError, match=r"Is it running at redis://me:[*]{3}@127.0.0.1:9") as caught:
        await start_broker("redis")
    assert "secret" not in str(caught.value)


async def test_another_program_on_the_port_does_not_pass_for_it():
    """A probe that is answered by a stranger is no success."""
    stranger = await start_broker("redis", engine="process", name="stranger")
    broker = await start_broker("redis", engine="process")
    async with stranger, broker:
        broker.kill()
        broker.url = stranger.url
        with pytest.raises(BrokerError, match="has ended"):
            await broker.ready()


async def test_an_engine_that_this_user_may_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One line with the command, and the next source serves."""
    if os.geteuid() == 0:
        monkeypatch.setattr("classroom.brokers.container_host._get", _refused)  # root may use every socket
    else:
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(tmp_path / "docker.sock"))
        (tmp_path / "docker.sock").chmod(0)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    async with await start_broker("redis") as broker:
        assert broker.engine == "process"
    assert capsys.readouterr().out.count("sudo usermod -aG docker $USER") == 1


def _refused(*_: object) -> int:
    raise PermissionError(13, "Permission denied")


async def test_an_engine_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It accepts and says nothing: given up after two seconds."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        broker: Broker = await start_broker("redis")
        assert broker.engine == "process"
        await broker.stop()


@pytest.mark.containers
async def test_an_image_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """It says that it fetches, then why it could not; the next source serves."""
    monkeypatch.setenv("CLASSROOM_IMAGE_REDIS", "127.0.0.1:9/no/such-image:1")
    async with await start_broker("redis") as broker:
        assert broker.engine == "process"
    out = capsys.readouterr().out
    assert "fetching image 127.0.0.1:9/no/such-image:1" in out
    assert "cannot be fetched" in out
