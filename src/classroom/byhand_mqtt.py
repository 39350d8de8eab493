"""MQTT by hand: the few lines that its field guide uses again and again, over the driver aiomqtt.

from classroom.byhand_mqtt import apart, connect, leave, packets, received, word
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import secrets
import signal
import sys
import textwrap
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiomqtt

from classroom.supervisor import Child, supervisor

__all__ = ["Apart", "Got", "apart", "connect", "leave", "packets", "place_of", "received", "word"]

LIMIT = 10.0  # seconds to wait for what should come
EACH = "$course/"  # topics that no subscription beginning with a wildcard fits
RUN = """

import asyncio, signal, sys

async def _run():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    work, leave = asyncio.ensure_future({name}(sys.argv[1], int(sys.argv[2]))), asyncio.ensure_future(asked.wait())
    await asyncio.wait([work, leave], return_when=asyncio.FIRST_COMPLETED)
    while not work.done():
        work.cancel()
        await asyncio.wait([work], timeout=2)  # Python 3.11's wait_for may swallow a cancellation

asyncio.run(_run())
"""
Place = tuple[str, int]

_apart: dict[str, Apart] = {}  # by the function's name


class Got(NamedTuple):
    """A message as it came."""

    topic: str
    text: str
    qos: int
    retain: bool

    def __repr__(self) -> str:
        return f"{self.topic}: {self.text}{' (retained)' if self.retain else ''}"


def place_of(url: str) -> Place:
    """Host and port of a broker."""
    found = urlsplit(url)
    assert found.hostname
    assert found.port
    return found.hostname, found.port


async def connect(place: Place, *topics: str, qos: int = 0, session: str = "") -> aiomqtt.Client:
    """A client that stays connected, subscribed to these topics; with the name of a `session`, the broker keeps it."""
    kept = {"identifier": session, "clean_session": False} if session else {}
    client = aiomqtt.Client(*place, **kept)  # type: ignore[arg-type]  # two of its many options
    await client.__aenter__()  # its `async with` would end with the cell
    for topic in topics:
        await client.subscribe(topic, qos=qos)
    return client


async def leave(client: aiomqtt.Client) -> None:
    """Say goodbye to the broker."""
    await client.__aexit__(None, None, None)


async def received(post: aiomqtt.Client, reader: aiomqtt.Client) -> list[Got]:
    """What has come to a reader of all that `post` has sent so far, and of what waited; then it leaves."""
    end, found = EACH + secrets.token_hex(8), []
    await reader.subscribe(end, qos=2)
    await post.publish(end, qos=2)  # it comes behind all that was sent before
    async with asyncio.timeout(LIMIT):
        while (got := await _next(reader)).topic != end:
            found.append(got)
    await reader.unsubscribe(end)
    await leave(reader)
    return found


async def word(reader: aiomqtt.Client, seconds: float = LIMIT) -> Got | str:
    """The next message that comes, or that none has come for so long."""
    try:
        async with asyncio.timeout(seconds):
            return await _next(reader)
    except TimeoutError:
        return f"nothing for {seconds:g} s"


async def _next(reader: aiomqtt.Client) -> Got:
    message = await anext(aiter(reader.messages))
    payload = message.payload if isinstance(message.payload, bytes) else b""
    return Got(str(message.topic), payload.decode(), message.qos, bool(message.retain))


async def packets(place: Place, qos: int) -> list[str]:
    """The packets that go out and come in for one message, as the driver's log has them."""
    lines: list[str] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log = logging.Logger("packets of one message", logging.DEBUG)
    log.addHandler(Note())
    async with aiomqtt.Client(*place, logger=log) as client:
        await client.publish(f"{EACH}packets", b"hello", qos=qos)
    found = [re.match(r"(Sending|Received) (PUB\w+)", line) for line in lines]
    return [f"{'→' if one[1] == 'Sending' else '←'} {one[2]}" for one in found if one]


class Apart:
    """A function that runs as a process of its own. It ends with the kernel at the latest."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def kill(self) -> None:
        """SIGKILL: no goodbye, as in a crash."""
        self._child.kill()

    async def leave(self) -> None:
        """Cancel the function, so that it leaves its `async with` in order; returns when the process has ended."""
        self._child.signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT):
            while self._child.alive:  # noqa: ASYNC110 (the other end is a process)
                await asyncio.sleep(0.02)


async def apart(function: Callable[[str, int], Coroutine[Any, Any, None]], place: Place) -> Apart:
    """Run an async function, given host and port, as a process of its own. It must import all that it uses.

    One that ran before under its name is killed.
    """
    name = function.__name__
    if name in _apart:
        _apart[name].kill()
    source = textwrap.dedent(inspect.getsource(function)) + RUN.format(name=name)
    log = supervisor().folder(f"apart-{name}-") / "log"
    argv = [sys.executable, "-c", source, place[0], str(place[1])]
    _apart[name] = Apart(await asyncio.to_thread(supervisor().spawn, argv, log=log))
    return _apart[name]
