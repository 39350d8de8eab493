"""How large a message Redis carries, as it is configured.

A published message waits in the output buffer of each subscriber, and Redis ends the connection of one whose buffer
grows beyond a limit (`client-output-buffer-limit pubsub`, 32 MiB by default): a larger message reaches nobody, and
costs its subscribers whatever else was on its way to them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ..errors import PayloadError

__all__ = ["Limit", "limit_of"]


class Limit(NamedTuple):
    """Bytes, and the setting that says so."""

    size: int = 32 * 1024 * 1024
    setting: str = "client-output-buffer-limit pubsub"

    def check(self, body: bytes) -> None:
        """Raises PayloadError when the body is larger."""
        if len(body) > self.size:
            raise PayloadError(
                f"a packet of {len(body):,} bytes exceeds the Redis server's {self.setting} of {self.size:,}."
                " Nothing was sent. Send a reference to the data, or send it in parts."
            )


async def limit_of(connection: Any) -> Limit:
    """Ask a server, over a connection on which nothing else is under way; where it does not tell, Redis's default."""
    try:
        bulk = int((await _setting(connection, "proto-max-bulk-len"))[0])
        buffers = await _setting(connection, "client-output-buffer-limit")
        pubsub = int(buffers[buffers.index("pubsub") + 1])  # the hard limit; 0: none
    except (ResponseError, LookupError, ValueError):  # the user may not ask, or it is no setting there
        return Limit()
    return Limit(pubsub) if 0 < pubsub < bulk else Limit(bulk, "proto-max-bulk-len")


async def _setting(connection: Any, name: str) -> list[str]:
    await connection.send_command("CONFIG", "GET", name)
    _, value = await connection.read_response()
    return str(value.decode()).split()
