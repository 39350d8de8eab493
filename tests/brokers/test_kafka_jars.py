"""Kafka's jars in the user's cache: fetched once, checked, resumed. From a server on this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from classroom.brokers import BrokerError, kafka_jars
from classroom.brokers.catalogue import KAFKA
from classroom.brokers.fetching import fetch
from classroom.brokers.finding import Candidate, PassedOver, command_for, find
from classroom.brokers.kafka_jars import Jar

CONTENT = {f"some/where/{name}.jar": name.encode() * 1000 for name in ("one", "two", "three")}


class Central:
    """A small Maven Central: what it serves can be changed, and what was asked for is kept."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.asked: list[str] = []


@pytest.fixture
def central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Central]:
    """The three jars behind a server, and an empty cache."""
    central = Central()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path[1:]
            central.asked.append(path)
            self.send_response(200 if path in central.content else 404)
            self.end_headers()
            self.wfile.write(central.content.get(path, b""))

        def log_message(self, *_: object) -> None:
            """Not on the screen."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(kafka_jars, "CENTRAL", f"http://127.0.0.1:{server.server_port}/")
        jars = [Jar(hashlib.sha256(data).hexdigest(), len(data), path) for path, data in CONTENT.items()]
        monkeypatch.setattr(kafka_jars, "JARS", jars)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield central
        server.shutdown()


def test_all_are_fetched_once(central: Central, capsys: pytest.CaptureFixture[str]) -> None:
    """With their numbers and their size on the screen."""
    assert kafka_jars.fetched() is None
    folder = kafka_jars.fetch()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.rpartition("/")[2]: data for path, data in CONTENT.items()
    }
    assert "fetching 3 jars, 0.0 MB, from Maven Central (once)" in capsys.readouterr().out
    assert kafka_jars.fetch() == kafka_jars.fetched() == folder
    assert sorted(central.asked) == sorted(CONTENT)


def test_what_was_interrupted_goes_on(central: Central) -> None:
    """A jar that is missing is told; what is there already is not fetched again."""
    missing, data = central.content.popitem()
    with pytest.raises(BrokerError, match=r"cannot be fetched from http://127.0.0.1.*Not Found"):
        kafka_jars.fetch()
    assert kafka_jars.fetched() is None
    central.content[missing] = data
    central.asked.clear()
    kafka_jars.fetch()
    assert central.asked == [missing]


@pytest.mark.parametrize("change", [b"more", b"", None], ids=["longer", "other", "empty"])
def test_another_jar_is_refused(central: Central, change: bytes | None) -> None:
    """With both checksums and both sizes; nothing of it is kept."""
    path, data = next(iter(CONTENT.items()))
    central.content[path] = b"" if change is None else data + change if change else b"x" * len(data)
    with pytest.raises(BrokerError, match=r"one.jar came with [\d,]+ bytes and SHA-256 .* expects 3,000 bytes"):
        kafka_jars.fetch()
    assert not list(kafka_jars._folder().with_name(f"{kafka_jars._folder().name}.partial").iterdir())


def test_two_at_once(central: Central) -> None:
    """One fetches, the other waits for it."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: kafka_jars.fetch(), range(2))
    assert first == second
    assert sorted(central.asked) == sorted(CONTENT)


def test_no_network(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_jars, "CENTRAL", "http://127.0.0.1:9/")
    with pytest.raises(BrokerError, match=r"cannot be fetched from http://127.0.0.1:9/.*Is there a network"):
        kafka_jars.fetch()


def test_no_room(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers, and what to do."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(BrokerError, match=r"no room in .*Set XDG_CACHE_HOME"):
        kafka_jars.fetch()


def java(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "java").write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    (folder / "java").chmod(0o755)


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME comes first; an old one is named, with its version."""
    java(tmp_path / "bin", 'openjdk version "11.0.2" 2019-01-15')
    java(tmp_path / "new", 'openjdk version "21.0.1" 2023-10-17')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert kafka_jars.find_java(str(tmp_path / "new")).version == "21.0.1"
    assert f"{tmp_path}/bin/java is Java 11.0.2" in kafka_jars.find_java(str(tmp_path / "none")).problem


def test_without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over with the reason, and the one command brings Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("classroom.brokers.finding.search_path", lambda: str(tmp_path))
    (passed,) = find(KAFKA, "process")
    assert isinstance(passed, PassedOver)
    assert "Kafka needs Java 17 or later: there is no `java` on PATH" in passed.reason
    monkeypatch.setattr("shutil.which", lambda name, **_: name if name == "apt-get" else None)
    assert command_for(KAFKA, "process") == "sudo apt-get install default-jre-headless"


def test_with_java_and_without_jars(central: Central) -> None:
    """The command that fetches them, and their size."""
    found = next(iter(find(KAFKA, "process")))
    if not isinstance(found, Candidate):
        pytest.skip(found.reason)
    assert found.to_fetch.endswith("MB of jars")
    assert command_for(KAFKA, "process").startswith("classroom fetch kafka ")


def test_set_up_does_not_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who asks for it by name gets it."""
    fetched = []
    monkeypatch.setattr("classroom.brokers.fetching._fetch_one", lambda kind, engine: fetched.append(kind.name) or True)
    assert fetch(engine="process") == 0
    assert fetched == ["redis", "nats", "rabbitmq", "mosquitto"]
    assert fetch("kafka") == 0
    assert fetched[-1] == "kafka"
    with pytest.raises(ValueError, match="no broker is called 'kafak'"):
        fetch("kafak")


def test_the_lock_file_is_whole() -> None:
    """Every line has a SHA-256, a size and a path; Kafka itself is of the version that its image has."""
    names = {jar.name for jar in kafka_jars.JARS}
    assert all(len(jar.sha256) == 64 and jar.size > 0 and jar.path.endswith(".jar") for jar in kafka_jars.JARS)
    assert len(names) == len(kafka_jars.JARS)
    assert {f"kafka_2.13-{kafka_jars.VERSION}.jar", f"kafka-clients-{kafka_jars.VERSION}.jar"} <= names
    assert KAFKA.image_name.rpartition(":")[2] == kafka_jars.VERSION
