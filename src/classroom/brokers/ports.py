"""Ports that stay ours while a server is down."""

from __future__ import annotations

import random
import socket

from classroom.brokers.errors import BrokerError

# below the ranges that systems take client ports from (Linux 32768, macOS 49152): no outgoing connection can sit on
# the port of a server that is down, and a client that retries cannot connect to itself
FIRST, LAST = 20_000, 31_999
HOST = "127.0.0.1"


class Port:
    """A TCP port at 127.0.0.1, reserved against the other kernels of this course until `release()`.

    The reservation is the UDP port of the same number: no server uses that one, the system lets one process have it,
    and frees it however that process ends.
    """

    def __init__(self) -> None:
        for _ in range(1000):
            self.number = random.randint(FIRST, LAST)
            self._lease = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._lease.bind((HOST, self.number))
            except OSError:
                self._lease.close()
                continue
            if is_free(self.number):
                return
            self._lease.close()
        raise BrokerError(f"no free port between {FIRST} and {LAST} on {HOST}: close some programs, then try again")

    def release(self) -> None:
        """Let others have it. Twice is harmless."""
        self._lease.close()


class Ports:
    """The ports of one broker.

    Attributes:
        server: where it listens. public: where clients connect, which is the link's where there is one.
        direct: what goes past the link; of its own where the broker tells its clients an address (`advertises`).
    """

    def __init__(self, linked: bool = False, advertises: bool = False) -> None:
        self.linked = linked
        self.server = Port()
        self.public = Port() if linked else self.server
        self.direct = Port() if linked and advertises else self.server

    def release(self) -> None:
        """Let others have them. Twice is harmless."""
        for port in (self.server, self.public, self.direct):
            port.release()


def is_free(number: int) -> bool:
    """Whether a server could listen on this TCP port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: connections that end do not count
        try:
            probe.bind((HOST, number))
        except OSError:
            return False
    return True
