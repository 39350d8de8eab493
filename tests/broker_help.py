"""Brokers with a configuration of the test's own: with TLS, or with users."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from classroom.brokers.catalogue import KINDS
from classroom.brokers.commands import Setting, commands_for
from classroom.brokers.finding import Candidate, fetch_packages, find
from classroom.brokers.ports import Port, Ports
from classroom.supervisor import supervisor

USER, PASSWORD, TOKEN = "clara", "p/w:1@x", "t0ken-t0ken"
URL_PASSWORD = "p%2Fw%3A1%40x"  # the same in a URL
DEFAULT_PASSWORD = "of-default"  # on Redis, of the user that a client without a name is
READY = {  # the line of a broker's log
    "redis": "Ready to accept connections",
    "nats": "Server is ready",
    "rabbitmq": "Server startup complete",
    "mosquitto": " running",
    "kafka": "Kafka Server started",
}


@contextlib.asynccontextmanager
async def own_broker(kind: str, configured: Callable[[Path], list[str]]) -> AsyncIterator[int]:
    """The port of a broker; `configured` edits the files in its folder, and returns more options to start it with."""
    found = next(iter(find(KINDS[kind], "process")))
    if not isinstance(found, Candidate):
        pytest.skip(found.reason)
    if found.program is None or found.kind.jars:
        found = await asyncio.to_thread(fetch_packages, found)
    assert found.program
    folder, ports, spare = supervisor().folder(f"{kind}-of-a-test-"), Ports(), (Port(), Port())
    (folder / "data").mkdir()
    commands = commands_for(kind, Setting(found.program, found.root, folder, ports, (spare[0].number, spare[1].number)))
    options, children = configured(folder), []
    try:
        for command in commands:
            argv = [*command.argv, *(options if command is commands[-1] else ())]
            log = folder / f"{len(children)}.log"
            children.append(supervisor().spawn(argv, env=command.environment, cwd=folder, log=log))
        async with asyncio.timeout(90):
            while READY[kind] not in "\n".join(children[-1].tail(5)):
                assert children[-1].alive, "\n".join(children[-1].tail(20))
                await asyncio.sleep(0.05)
        yield ports.server.number
    finally:
        for child in reversed(children):
            child.kill()
        for port in (ports, *spare):
            port.release()
        supervisor().forget(folder)


@contextlib.asynccontextmanager
async def broker_with_users(kind: str, token: bool = False) -> AsyncIterator[str]:
    """The address (host:port) of a broker that lets in USER with PASSWORD, or whoever has TOKEN, and nobody else."""

    def configured(folder: Path) -> list[str]:
        return _token(folder) if token else _USERS[kind](folder)

    async with own_broker(kind, configured) as port:
        yield f"127.0.0.1:{port}"


def _redis(folder: Path) -> list[str]:
    return ["--requirepass", DEFAULT_PASSWORD, "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]


def _nats(folder: Path) -> list[str]:
    (folder / "users.conf").write_text(f'authorization {{ users: [{{ user: "{USER}", password: "{PASSWORD}" }}] }}\n')
    return ["-c", str(folder / "users.conf")]


def _token(folder: Path) -> list[str]:
    (folder / "token.conf").write_text(f'authorization {{ token: "{TOKEN}" }}\n')
    return ["-c", str(folder / "token.conf")]


def _rabbitmq(folder: Path) -> list[str]:
    add_lines(folder / "rabbitmq.conf", f"default_user = {USER}", f"default_pass = {PASSWORD}")
    return []


def _mosquitto(folder: Path) -> list[str]:
    replace(folder / "mosquitto.conf", "allow_anonymous true", "allow_anonymous false")
    add_lines(folder / "mosquitto.conf", f"password_file {folder}/users")
    salt = b"twelve bytes"  # as mosquitto_passwd writes it: PBKDF2 with SHA-512
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101)
    (folder / "users").write_text(
        f"{USER}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"
    )
    return []


def _kafka(folder: Path) -> list[str]:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    jaas = f'{module} required username="broker" password="b" user_broker="b" user_{USER}="{PASSWORD}";'
    replace(folder / "server.properties", "CLIENT:PLAINTEXT", "CLIENT:SASL_PLAINTEXT")
    add_lines(
        folder / "server.properties",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        f"listener.name.client.plain.sasl.jaas.config={jaas}",
    )
    return []


_USERS = {"redis": _redis, "nats": _nats, "rabbitmq": _rabbitmq, "mosquitto": _mosquitto, "kafka": _kafka}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def add_lines(path: Path, *lines: str) -> None:
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))
