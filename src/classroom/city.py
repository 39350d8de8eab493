"""The offices of lesson and lab 01, and those who look after them: the few lines that they use again and again.

from classroom.city import ask, open_or_closed, running
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import Any

from classroom.service_handle import ServiceHandle
from postoffice import Client

__all__ = ["ask", "open_or_closed", "running"]

_clients: dict[str, Client] = {}  # of this process, by office


async def ask(office: str, pattern: str, data: Any, *, timeout: float = 4.0) -> Any:
    """In a service: send a request to an office whose address stands in the environment, and return its answer.

    Args:
        office: the environment variable with its address, such as "CATALOGUE". timeout: seconds to wait.

    It keeps one connection to each office. Raises KeyError: no such variable. Otherwise as `Client.send`.
    """
    if office not in _clients:
        _clients[office] = await Client.connect(os.environ[office])
    return await _clients[office].send(pattern, data, timeout=timeout)


def running(*services: ServiceHandle) -> str:
    """What somebody has to look after: the processes of these services, and the memory that they hold, in 10^6 bytes.

    Memory that two processes share counts twice.
    """
    pids = [str(replica.pid) for one in services for replica in one.replicas if replica.alive]
    told = subprocess.run(["ps", "-o", "rss=", "-p", ",".join(pids or ["0"])], capture_output=True, text=True)
    memory = sum(map(int, told.stdout.split())) * 1024 / 1e6
    return f"{len(pids)} process{'es'[: 2 * (len(pids) != 1)]}, {memory:.0f} MB of memory"


async def open_or_closed(services: list[ServiceHandle], wanted: tuple[bool, ...]) -> None:
    """Start those of the services that are to be open, kill those that are not; the others stay as they are."""
    for service, is_open in zip(services, wanted, strict=True):
        if service.alive and not is_open:
            service.kill()
    await asyncio.gather(
        *(one.restart() for one, is_open in zip(services, wanted, strict=True) if is_open and not one.alive)
    )
