"""What a link costs by itself: round trips to an echo, directly and through a clean proxy in the link's process."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from classroom.brokers.ports import HOST
from classroom.supervisor import supervisor

SIZE = 64  # bytes
BLOCK = 100  # round trips in a row; then the other way has its turn, so that both meet the same machine
WARM_UP = 100  # round trips before
LIMIT = 10.0  # seconds for one round trip


@dataclass(frozen=True)
class Cost:
    """Medians of `n` round trips each, in seconds."""

    direct: float
    through: float
    n: int

    @property
    def ratio(self) -> float:
        """How many times as long a round trip takes through the link, where the other side does nothing."""
        return self.through / self.direct

    @property
    def added(self) -> float:
        """Seconds that the link adds to a round trip."""
        return self.through - self.direct

    def __repr__(self) -> str:
        return (
            f"The link adds {self.added * 1e6:.0f} µs to a round trip: an echo of {SIZE} bytes takes "
            f"{self.direct * 1e6:.0f} µs directly, {self.through * 1e6:.0f} µs through it (p50 of {self.n:,} each, "
            f"ratio {self.ratio:.1f})"
        )


async def measure_cost(beside: Callable[[str], Awaitable[int]], n: int) -> Cost:
    """Measure; `beside` opens a clean proxy to an address in the link's process and gives its port."""
    if n < 1:
        raise ValueError(f"n is a number of round trips from 1; got {n!r}")
    folder = supervisor().folder("echo-")
    argv = [sys.executable, "-m", "classroom.faults.link_cost", "{ready_fd}"]
    echo = supervisor().spawn(argv, log=folder / "log", pass_ready=True)
    try:
        direct = int(await echo.ready_line(LIMIT))
        through = await beside(f"{HOST}:{direct}")
        return await asyncio.to_thread(_compare, direct, through, n)
    finally:
        await asyncio.to_thread(echo.kill)
        supervisor().forget(folder)


def _compare(direct: int, through: int, n: int) -> Cost:
    times: dict[int, list[float]] = {direct: [], through: []}
    with _connected(direct) as near, _connected(through) as far:
        sockets = {direct: near, through: far}
        for connection in sockets.values():
            _round_trips(connection, WARM_UP)
        while len(times[through]) < n:
            for port, connection in sockets.items():
                times[port] += _round_trips(connection, min(BLOCK, n - len(times[port])))
    return Cost(statistics.median(times[direct]), statistics.median(times[through]), n)


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=LIMIT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _round_trips(connection: socket.socket, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.sendall(bytes(SIZE))
        left = SIZE
        while left:
            left -= len(connection.recv(left))
        times.append(time.perf_counter() - begin)
    return times


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def _serve(ready_fd: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Echo, HOST, 0)
    with os.fdopen(ready_fd, "w") as ready:
        print(server.sockets[0].getsockname()[1], file=ready)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
