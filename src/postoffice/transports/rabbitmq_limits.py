"""How large a message RabbitMQ takes (`max_message_size`). It does not tell before a larger one has come.

So its default counts, which is known by its version, until the server names another number as it refuses a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import PayloadError

__all__ = ["check_size", "default_limit", "named_limit"]

NAMED = re.compile(r"message size \d+ is larger than configured max size (\d+)")
MIB = 1024 * 1024


def default_limit(properties: Mapping[str, Any]) -> int:
    """The default of a server, by what it says of itself: 16 MiB since RabbitMQ 4, 128 MiB before."""
    version = str(properties.get("version", ""))
    return 128 * MIB if version.startswith("3.") else 16 * MIB


def named_limit(error: BaseException | None) -> int | None:
    """The number in the error with which the server closes a channel, if it is that one."""
    found = NAMED.search(str(error))
    return int(found[1]) if found else None


def check_size(body: bytes, limit: int) -> None:
    """Raises PayloadError when a body is larger: the server would close the channel, and lose all that is under way."""
    if len(body) > limit:
        raise PayloadError(
            f"a packet of {len(body):,} bytes exceeds the RabbitMQ server's max_message_size of {limit:,}."
            " Nothing was sent. Send a reference to the data, or send it in parts."
        )
