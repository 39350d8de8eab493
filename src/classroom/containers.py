"""Removing containers by their owner's label: what the keeper does when a kernel has ended.

Standard library only: the keeper imports this with nothing else on its path. It talks to the engine's socket,
or to `docker` on PATH where DOCKER_HOST is neither a unix socket nor plain tcp (ssh, TLS).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

LABEL = "dead-letter-office.owner"
TIMEOUT = 20.0  # seconds for one request to the engine
LATE = 3.0  # seconds without a find until no create is believed to be under way


class EngineError(Exception):
    """The container engine did not answer, or refused."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def remove(docker: str, owner: str) -> int:
    """Force-remove the containers of one owner; the number removed, 0 when the engine does not answer."""
    return _remove_where(docker, f"{LABEL}={owner}", lambda _: True)


def sweep(docker: str, is_dead: Callable[[str], bool]) -> int:
    """Remove the containers that a dead owner left; the number removed."""
    return _remove_where(docker, LABEL, is_dead)


def remove_late(docker: str, owner: str) -> None:
    """Remove until none was found for LATE seconds: a create may still be under way in the engine."""
    quiet_since = time.monotonic()
    end = quiet_since + 10 * LATE
    while time.monotonic() < min(end, quiet_since + LATE):
        if remove(docker, owner):
            quiet_since = time.monotonic()
        time.sleep(0.2)


def _remove_where(docker: str, label: str, wanted: Callable[[str], bool]) -> int:
    removed = 0
    with contextlib.suppress(EngineError):
        for ident, owner in _list(docker, label):
            if wanted(owner):
                with contextlib.suppress(EngineError):  # another may have removed it
                    _delete(docker, ident)
                    removed += 1
    return removed


def _list(docker: str, label: str) -> list[tuple[str, str]]:
    """(container id, owner) of every container with this label, running or not."""
    if not _speaks_http(docker):
        form = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
        text = _command(docker, "ps", "--all", "--no-trunc", "--filter", f"label={label}", "--format", form)
        return [(line.split()[0], line.split()[-1]) for line in text.splitlines()]
    filters = quote(json.dumps({"label": [label]}))
    found = json.loads(_request(docker, "GET", f"/containers/json?all=1&filters={filters}"))
    return [(container["Id"], container["Labels"][LABEL]) for container in found]


def _delete(docker: str, ident: str) -> None:
    """Kill and remove one container with its anonymous volumes."""
    if _speaks_http(docker):
        _request(docker, "DELETE", f"/containers/{ident}?force=1&v=1")
    else:
        _command(docker, "rm", "--force", "--volumes", ident)


def _speaks_http(docker: str) -> bool:
    plain_tcp = docker.startswith(("tcp://", "http://")) and not os.environ.get("DOCKER_TLS_VERIFY")
    return docker.startswith("unix://") or plain_tcp


def _request(docker: str, method: str, path: str) -> bytes:
    address = urlsplit(docker)
    connection = (
        _UnixConnection(address.path)
        if address.scheme == "unix"
        else http.client.HTTPConnection(address.hostname or "", address.port or 2375, timeout=TIMEOUT)
    )
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(f"{docker} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise EngineError(f"{method} {path}: {response.status} {body.decode(errors='replace')[:200]}")
    return body


def _command(docker: str, *arguments: str) -> str:
    program = shutil.which("docker")
    if program is None:
        raise EngineError("there is no `docker` command on PATH")
    environment = {**os.environ, **({"DOCKER_HOST": docker} if docker else {})}
    try:
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(str(error)) from error
    if done.returncode:
        raise EngineError(done.stderr.strip())
    return done.stdout
