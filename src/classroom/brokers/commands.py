"""How each broker is run as plain processes: files written, programs started. Everything stays on 127.0.0.1."""

from __future__ import annotations

import base64
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from classroom.brokers.catalogue import ONE_NODE, SYNC_FILE, Kind
from classroom.brokers.errors import BrokerError
from classroom.brokers.finding import environment_of
from classroom.brokers.ports import HOST, Ports


@dataclass(frozen=True)
class Command:
    """One process to start."""

    argv: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Setting:
    """What a broker gets: its program and the tree that it is in (if any), a folder of its own, ports, its disk's size.

    Its data goes to the folder `data` in it, which is there already.
    """

    program: Path
    root: Path | None
    folder: Path
    ports: Ports
    spare_ports: tuple[int, int]
    disk: int = 0  # bytes; 0: no disk of its own
    kind: Kind | None = None  # where it is to be synced

    @property
    def port(self) -> int:
        return self.ports.server.number

    @property
    def data(self) -> Path:
        return self.folder / "data"


DISK_FREE_LIMIT = 8 * 1024 * 1024  # bytes; RabbitMQ's default of 50 MB is most of a small disk


def commands_for(kind: str, setting: Setting) -> list[Command]:
    """The processes of a broker, in the order in which they start; the last one is the broker itself."""
    return _COMMANDS[kind](setting)


def _redis(setting: Setting) -> list[Command]:
    options = ["--port", str(setting.port), "--bind", HOST, "--dir", str(setting.data)]
    return [Command([str(setting.program), *options, *_synced(setting)], environment_of(setting.root))]


def _nats(setting: Setting) -> list[Command]:
    options = ["--addr", HOST, "--port", str(setting.port), "--jetstream", "--store_dir", str(setting.data)]
    return [Command([str(setting.program), *options, *_synced(setting)], environment_of(setting.root))]


def _synced(setting: Setting) -> list[str]:
    """The options with which it writes to disk before it acknowledges, where that was asked for."""
    if setting.kind is None or not setting.kind.synced:
        return []
    path = setting.folder / "sync.conf"
    if setting.kind.always_file:
        _write(path, setting.kind.always_file)
    return [str(path) if option == SYNC_FILE else option for option in setting.kind.always]


def _mosquitto(setting: Setting) -> list[Command]:
    lines = [
        f"listener {setting.port} {HOST}",
        "allow_anonymous true",
        "set_tcp_nodelay true",  # else the second of two small messages waits up to 40 ms for the first one's ACK
        "persistence true",
        f"persistence_location {setting.data}/",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # it would become another user, who may not write to the folder
    configuration = _write(setting.folder / "mosquitto.conf", *lines)
    return [Command([str(setting.program), "-c", str(configuration)], environment_of(setting.root))]


def _rabbitmq(setting: Setting) -> list[Command]:
    """RabbitMQ, after an epmd (Erlang's name server) of its own: one that RabbitMQ starts itself would outlive it."""
    epmd_port, distribution_port = setting.spare_ports
    environment = _rabbitmq_environment(setting, epmd_port, distribution_port)
    epmd = shutil.which("epmd", path=environment["PATH"])
    if epmd is None:
        raise BrokerError(f"RabbitMQ at {setting.program} needs Erlang, and there is no `epmd` on PATH")
    return [
        Command([epmd, "-port", str(epmd_port), "-address", HOST], environment),
        Command([str(setting.program)], environment),
    ]


def _rabbitmq_environment(setting: Setting, epmd_port: int, distribution_port: int) -> dict[str, str]:
    folder = setting.folder
    environment = environment_of(setting.root)
    for name in [name for name in environment if name.startswith(("RABBITMQ_", "ERL_"))]:
        del environment[name]  # settings for another RabbitMQ
    if setting.root is not None:
        environment["PATH"] = f"{_unpacked_erlang(setting.root, folder)}:{environment['PATH']}"
    return environment | {
        "HOME": str(folder),  # of the cookie
        "LC_ALL": "C.UTF-8",
        "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes Erlang, so that signals reach it
        "ERL_CRASH_DUMP_SECONDS": "0",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"broker{setting.port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": str(_write(folder / "rabbitmq-env.conf")),
        "RABBITMQ_CONFIG_FILE": str(
            _write(
                folder / "rabbitmq.conf",
                f"listeners.tcp.1 = {HOST}:{setting.port}",
                "log.console = true",
                "log.file = false",
                *([f"disk_free_limit.absolute = {DISK_FREE_LIMIT}"] if setting.disk else []),
            )
        ),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(_write(folder / "advanced.config", "[].")),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(_write(folder / "enabled_plugins", "[].")),
        "RABBITMQ_MNESIA_BASE": str(setting.data),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
        "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
    }


def _unpacked_erlang(root: Path, folder: Path) -> str:
    """The folders of an `erl` and an `epmd` that work where Erlang was not installed, for PATH.

    Debian's own `erl` insists on /usr/lib/erlang; this one does what it does, from where Erlang is.
    """
    erlang = root / "usr" / "lib" / "erlang"
    binaries = next(erlang.glob("erts-*/bin"))
    (folder / "bin").mkdir(exist_ok=True)
    script = _write(
        folder / "bin" / "erl",
        "#!/bin/sh",
        f"export EMU=beam PROGNAME=erl ROOTDIR='{erlang}' BINDIR='{binaries}'",
        'exec "$BINDIR/erlexec" "$@"',
    )
    script.chmod(0o755)
    return f"{script.parent}:{binaries}"


KAFKA_JVM = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # small, and quick to start
KAFKA_SCRIPT = """\
set -e
if [ ! -e formatted ]; then  # storage is formatted once; what a kill left half done is done again
  rm -rf data/log
  "$@" kafka.tools.StorageTool format --standalone "--cluster-id=$CLUSTER" --config server.properties
  touch formatted
fi
exec "$@" kafka.Kafka server.properties"""


def _kafka(setting: Setting) -> list[Command]:
    """Kafka in KRaft mode, broker and controller in one, from its jars."""
    folder, controller_port = setting.folder, setting.spare_ports[0]
    own = f"CONTROLLER://{HOST}:{controller_port}"
    if setting.ports.linked:
        own += f",DIRECT://{HOST}:{setting.ports.direct.number}"
    _write(
        folder / "server.properties",
        "process.roles=broker,controller",
        "node.id=1",
        f"listeners=CLIENT://{HOST}:{setting.port},{own}",
        f"advertised.listeners=CLIENT://{HOST}:{setting.ports.public.number},{own}",  # clients connect to what it says
        "listener.security.protocol.map=CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"inter.broker.listener.name={'DIRECT' if setting.ports.linked else 'CLIENT'}",
        "controller.listener.names=CONTROLLER",
        f"controller.quorum.bootstrap.servers={HOST}:{controller_port}",
        "log.dirs=data/log",
        *(f"{name}={value}" for name, value in ONE_NODE),
    )
    logging = _write(
        folder / "log4j2.properties",
        "appender.out.type=Console",
        "appender.out.name=out",
        "appender.out.layout.type=PatternLayout",
        "appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n",
        "rootLogger.level=INFO",
        "rootLogger.appenderRef.out.ref=out",
    )
    java = [str(setting.program), *KAFKA_JVM, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{setting.root}/*"]
    # JAVA_TOOL_OPTIONS and its like are for the programs of this machine's user
    environment = {name: value for name, value in os.environ.items() if "JAVA" not in name and "JDK" not in name}
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return [Command(["sh", "-c", KAFKA_SCRIPT, "kafka", *java], environment | {"CLUSTER": cluster})]


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


_COMMANDS: dict[str, Callable[[Setting], list[Command]]] = {
    "redis": _redis,
    "nats": _nats,
    "mosquitto": _mosquitto,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
}
