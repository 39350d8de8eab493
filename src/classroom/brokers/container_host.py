"""Is there a container engine here that answers? Standard library only.

Only an engine on this machine counts: the ports of its containers are published at 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

PATIENCE = 2.0  # seconds; an engine that answers does so in milliseconds


@dataclass(frozen=True)
class Host:
    """A container engine's address, and why it cannot be used ("" when it can)."""

    address: str
    problem: str = ""
    surprising: bool = False  # there is one, and yet it cannot be used: worth a line on every start

    def has_image(self, image: str) -> bool:
        """Whether the image is on this machine already."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return _get(self.address, f"/images/{quote(image)}/json") == 200
        return False


def find_host() -> Host:
    """The container engine of this machine, asked now: one request, at most `PATIENCE` seconds."""
    address = os.environ.get("DOCKER_HOST") or _of_context() or _default()
    if not _is_local(address):
        return Host(address, f"the container engine at {address} is on another machine", surprising=True)
    try:
        status = _get(address, "/_ping")
    except PermissionError:
        command = "sudo usermod -aG docker $USER"
        problem = f"Docker is here, but this user may not use it (`{command}`, then log in again)"
        return Host(address, problem, surprising=True)
    except (FileNotFoundError, ConnectionRefusedError):
        return Host(address, f"no container engine runs at {address}")
    except (OSError, http.client.HTTPException) as error:
        return Host(address, f"the container engine at {address} does not answer: {error}", surprising=True)
    return Host(address, "" if status == 200 else f"the container engine at {address} answers {status}")


def _is_local(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "unix" or (parts.scheme in ("tcp", "http") and parts.hostname in ("127.0.0.1", "localhost"))


def _of_context() -> str:
    """The address of the context that `docker context use` chose, if any."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    with contextlib.suppress(OSError, ValueError, KeyError):
        settings = json.loads((folder / "config.json").read_text())
        name = os.environ.get("DOCKER_CONTEXT") or settings["currentContext"]
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((folder / "contexts" / "meta" / digest / "meta.json").read_text())
        return str(meta["Endpoints"]["docker"]["Host"])
    return ""


def _default() -> str:
    places = [Path("/var/run/docker.sock"), Path.home() / ".docker" / "run" / "docker.sock"]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime, "docker.sock"))  # an engine without root
    return f"unix://{next((place for place in places if place.exists()), places[0])}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _get(address: str, path: str) -> int:
    """The status of a GET."""
    parts = urlsplit(address)
    connection = (
        _UnixConnection(parts.path)
        if parts.scheme == "unix"
        else http.client.HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=PATIENCE)
    )
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status
