"""Routing keys of RabbitMQ's topic exchanges: words between dots, and what a binding's wildcards match."""

from __future__ import annotations

import re

from ..errors import PatternError

__all__ = ["checked_key", "matcher"]

MAX_KEY = 255  # bytes of a routing key, as AMQP limits it


def checked_key(route: str) -> str:
    """A route as a routing key. Raises PatternError where it is too long for one."""
    if (size := len(route.encode())) > MAX_KEY:
        raise PatternError(f"a pattern of {size} bytes exceeds the {MAX_KEY} that AMQP has room for. Nothing was sent.")
    return route


def matcher(binding: str) -> re.Pattern[str]:
    """What a binding key matches: `*` is one word between dots, `#` at the end is any number of them."""
    words = [r"[^.]+" if word == "*" else re.escape(word) for word in binding.removesuffix("#").split(".")]
    pattern = r"\.".join(words)
    if binding.endswith(".#"):
        pattern = pattern.removesuffix(r"\.") + r"(\..*)?"
    elif binding == "#":
        pattern = ".*"
    return re.compile(pattern + r"\Z", re.DOTALL)
