"""What the contract tests share: a place to serve and to call, whatever the transport, and services as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from classroom.brokers import Broker
from postoffice import Client, Service
from postoffice.patterns import js_number

LIMIT = 20.0  # seconds that any wait of a test may take
BROKERS = ("redis", "nats", "rabbitmq", "mqtt")
TRANSPORTS = ("tcp", *BROKERS)
KAFKA_TOO = pytest.mark.parametrize("kind", [*TRANSPORTS, "kafka"])  # where patterns are texts that can be topics


async def eventually(look: Callable[[], Any], what: str = "the condition", within: float = LIMIT) -> Any:
    """Poll until `look()` is true and return it; fail when that takes too long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not (seen := look()):
        assert loop.time() < end, f"{what} was not seen within {within:g} s"
        await asyncio.sleep(0.005)
    return seen


class Place:
    """One transport with its broker. What a test starts here ends with the test."""

    def __init__(self, kind: str, broker: Broker | None, name: str) -> None:
        self.kind = kind
        self.broker = broker
        self.name = name
        self.url = broker.url if broker else "tcp://127.0.0.1:0"
        self._opened = contextlib.AsyncExitStack()

    def arrives(self, value: Any) -> Any:
        """A value as the other side sees it: through Kafka, numbers and booleans travel as text."""
        if self.kind != "kafka" or not isinstance(value, bool | int | float):
            return value
        return js_number(value) if isinstance(value, float) else json.dumps(value)

    @property
    def queue(self) -> str | None:
        return self.name if self.kind == "rabbitmq" else None

    @property
    def job(self) -> str:
        """A pattern for events that no other test uses: some brokers keep them, for whoever subscribes later."""
        return f"{self.name}.job"

    async def serve(self, *targets: Any, **options: Any) -> Service:
        """A service that has started. On TCP, clients find its port from now on."""
        service = Service(*targets, url=self.url, **{"name": self.name, "grace": 3.0, **options})
        await self._opened.enter_async_context(service)
        self.url = service.url
        return service

    async def connect(self, **options: Any) -> Client:
        client = await Client.connect(self.url, **{"queue": self.queue, "timeout": LIMIT, **options})
        return await self._opened.enter_async_context(client)

    async def run(self, source: str, folder: Path, *options: str) -> Process:
        """A service as a process of its own, from the text of its module; ready when this returns."""
        process = await self._opened.enter_async_context(running(self, source, folder, *options))
        self.url = process.url
        return process

    async def close(self) -> None:
        async with asyncio.timeout(LIMIT):
            await self._opened.aclose()


class Process:
    """`postoffice run` on a module."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any], log: Path) -> None:
        self._process = process
        self.url: str = ready["url"]
        self.pid: int = ready["pid"]
        self._log = log

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(LIMIT):
            return await self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")


@contextlib.asynccontextmanager
async def running(place: Place, source: str, folder: Path, *options: str) -> AsyncIterator[Process]:
    """A process that serves the module; killed at the end if it still runs."""
    module = folder / f"{place.name}.py"
    module.write_text(source, encoding="utf-8")
    log = folder / f"{place.name}.{secrets.token_hex(4)}.log"
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "postoffice", "run", str(module), "--url", place.url, "--name", place.name]
    with log.open("wb") as out, os.fdopen(reading, "rb") as ready:
        process = await asyncio.create_subprocess_exec(
            *command, "--ready-fd", str(writing), *options, stdout=out, stderr=out, pass_fds=[writing]
        )
        os.close(writing)
        try:
            async with asyncio.timeout(LIMIT):
                line = await asyncio.to_thread(ready.readline)
            assert line, f"it ended at once: {log.read_text(encoding='utf-8')}"
            yield Process(process, json.loads(line), log)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
