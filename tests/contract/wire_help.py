"""Messages captured from NestJS, and their parts."""

from __future__ import annotations

import asyncio
import base64
import codecs
import json
from pathlib import Path
from typing import Any

import aiomqtt
from contract_help import Place

FOLDER = Path(__file__).parents[1] / "vectors"
FILES = {
    "tcp": "tcp",
    "redis": "redis",
    "redis-wildcards": "redis",
    "nats": "nats",
    "nats-queue": "nats",
    "rmq": "rabbitmq",
    "rmq-wildcards": "rabbitmq",
    "rmq-manual-ack": "rabbitmq",
    "mqtt": "mqtt",
    "mqtt5": "mqtt",
}


def load(name: str) -> dict[str, Any]:
    """A file of captured messages."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def cases_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """The captured messages of a file, by the name of their case, in wire order."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for case in load(name)["cases"]:
        cases.setdefault(case["name"], []).append(case)
    return cases


def bytes_of(case: dict[str, Any]) -> bytes:
    """The exact bytes of a captured payload."""
    return base64.b64decode(case["payload_base64"]) if "payload_base64" in case else case["payload"].encode()


def packet_of(case: dict[str, Any]) -> dict[str, Any]:
    """The packet in a captured payload; on TCP, what follows the length."""
    text = bytes_of(case).decode()
    return dict(json.loads(text.partition("#")[2] if "framing" in case else text))


async def next_frame(reader: asyncio.StreamReader) -> str:
    """The text of a TCP frame, whose length counts UTF-16 units."""
    length = int((await reader.readuntil(b"#"))[:-1])
    text, decoder = "", codecs.getincrementaldecoder("utf-8")()
    while len(text.encode("utf-16-le")) < 2 * length:
        text += decoder.decode(await reader.readexactly(1))
    return text


def one_shape(packets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stream's end may come with its last value or after it. Both are legal; here they become the former."""
    if len(packets) > 1 and "isDisposed" in packets[-1] and not packets[-1].keys() & {"response", "err"}:
        return [*packets[:-2], packets[-2] | packets[-1]]
    return packets


def mqtt_client(place: Place) -> aiomqtt.Client:
    """A client of the driver's own."""
    return aiomqtt.Client("127.0.0.1", int(place.url.rpartition(":")[2]))
