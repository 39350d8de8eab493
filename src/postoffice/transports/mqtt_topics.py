"""MQTT's topics: what may be one, which handler's pattern takes one, and what a reply looks like."""

from __future__ import annotations

import re

import aiomqtt
import msgspec

from ..errors import PatternError, PayloadError
from ..messages import read_packet

__all__ = ["OURS", "REPLY", "check", "check_filter", "has_wildcards", "is_reply", "matches"]

OURS = "_postoffice/"  # where what belongs to no event lies: copies of failed ones, dead letters
REPLY = "/reply"  # what a reply's topic has after the request's
MAX_BYTES = 268_435_455  # MQTT: what may follow a packet's fixed header, the topic included
MAX_TOPIC = 65_535  # MQTT: bytes of a topic
FORBIDDEN = re.compile("[\0\ud800-\udfff]")


def has_wildcards(route: str) -> bool:
    return "+" in route or "#" in route


def matches(route: str, topic: str) -> bool:
    """Whether a handler's pattern takes a topic. `#` takes neither the broker's own topics ($SYS/...) nor ours."""
    return route == topic or (
        aiomqtt.Topic(topic).matches(route) and not (topic.startswith(("$", OURS)) and route.startswith(("+", "#")))
    )


def is_reply(body: bytes) -> bool:
    """Whether a body is a reply packet, rather than a message that someone sent to a topic that ends like that."""
    try:
        packet = read_packet(body)
    except msgspec.DecodeError:
        return False
    return bool(bytes(packet.id)) and not (bytes(packet.pattern) or bytes(packet.data))


def check(topic: str, packet: bytes) -> None:
    """Refuse what the broker would answer by closing the connection."""
    size = len(topic.encode("utf-8", "surrogatepass")) + 2 + len(packet)
    if size > MAX_BYTES:
        raise PayloadError(
            f"a packet of {size:,} bytes with its topic exceeds MQTT's limit of {MAX_BYTES:,}. Nothing was sent."
            " Send a reference to the data, or send it in parts."
        )
    if has_wildcards(topic) or topic.startswith("$share/"):
        raise PatternError(
            f"{topic!r} cannot be sent to: `+`, `#` and `$share/` have a meaning in MQTT, for those who subscribe."
            " Nothing was sent. Write the one topic that you mean, for example 'sensors/7/temperature'."
        )
    _check_topic(topic)


def check_filter(route: str) -> None:
    """Refuse a handler's pattern that is no MQTT topic filter."""
    try:
        aiomqtt.Wildcard(route)
    except ValueError as error:
        raise PatternError(
            f"{route!r} cannot be an MQTT topic: it is empty, or a `+` or `#` does not stand for a whole level,"
            " or `#` is not the last. Write for example 'sensors/+/temperature' or 'sensors/#'."
        ) from error
    _check_topic(route)


def _check_topic(topic: str) -> None:
    size = len(topic.encode("utf-8", "surrogatepass")) + len(REPLY)
    if not topic or FORBIDDEN.search(topic) or size > MAX_TOPIC:
        raise PatternError(
            f"{topic[:60]!r} cannot be an MQTT topic: it is empty, holds a zero character or half an emoji, or"
            f" has {size:,} bytes with its {REPLY!r} where MQTT has {MAX_TOPIC:,}. Nothing was sent."
        )
