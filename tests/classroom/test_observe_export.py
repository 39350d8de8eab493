"""Sending spans: at once, and never at the cost of the work that they tell of."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from classroom.observe.receiver import Receiver
from classroom.observe.spans import Store
from postoffice import Client, Service, event_pattern, message_pattern, tracing
from postoffice.tracing_export import BATCH, MOST_WAITING

LIMIT = 20.0


async def until(look: Callable[[], Any]) -> Any:
    """Wait for a condition."""
    end = time.monotonic() + LIMIT
    while not (seen := look()):
        assert time.monotonic() < end, f"not within {LIMIT:g} s"
        await asyncio.sleep(0.005)
    return seen


@pytest.fixture
async def traced() -> AsyncIterator[Callable[[str], None]]:
    """Turns tracing on towards an address, until the test ends."""
    yield lambda endpoint: tracing.on("tester", endpoint) or None
    tracing.off()


async def call(times: int) -> None:
    """A service and its client in this process."""

    @message_pattern("echo")
    async def echo(data: Any) -> Any:
        return data

    async with Service(echo, url="tcp://127.0.0.1:0") as service, await Client.connect(service.url) as client:
        for number in range(times):
            assert await client.send("echo", number, timeout=LIMIT) == number


async def test_a_receiver_that_takes_nothing_holds_nobody_up(
    traced: Callable[[str], None], caplog: pytest.LogCaptureFixture
):
    """It accepts and never reads: the work goes on, memory stays bounded, the log says so once."""
    with socket.create_server(("127.0.0.1", 0)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        traced(f"http://127.0.0.1:{stuck.getsockname()[1]}")
        text = "x" * 20_000

        @event_pattern("take")
        async def take(data: Any) -> None:
            pass

        async with Service(take, url="tcp://127.0.0.1:0") as service, await Client.connect(service.url) as client:
            for _ in range(2000):
                await client.emit("take", 1, headers={"tracestate": ""}, message_id=text)
        exporter = tracing._tracing.exporter  # type: ignore[union-attr]
        assert exporter._dropped > 0
        assert len(exporter._waiting) < MOST_WAITING + BATCH * (len(text) + 1000)  # of some 80 MB that were made
    assert [record.message for record in caplog.records if "spans are dropped" in record.message][1:] == []


async def test_a_receiver_that_is_not_there_costs_nothing_and_may_come_back(
    traced: Callable[[str], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Calls are answered; when it listens again, spans arrive again."""
    monkeypatch.setattr("postoffice.tracing_export.AGAIN", 0.05)
    receiver = Receiver(Store())
    endpoint = await receiver.start()
    traced(endpoint)
    await call(3)
    await until(lambda: len(receiver.store) == 6)
    await receiver.stop()
    await call(3)
    assert any("spans are dropped" in record.message for record in caplog.records)
    again = Receiver(Store())
    again._server = await asyncio.get_running_loop().create_server(
        lambda: _connection(again), "127.0.0.1", int(endpoint.rpartition(":")[2])
    )
    async with asyncio.timeout(LIMIT):
        while not len(again.store):
            await call(1)
            await asyncio.sleep(0.02)
    await again.stop()


def _connection(receiver: Receiver) -> asyncio.Protocol:
    from classroom.observe.receiver import Connection

    return Connection(receiver)


async def test_the_last_spans_of_a_process_that_ends_well_arrive():
    """Without a running event loop, and at the end of the program."""
    receiver = Receiver(Store())
    endpoint = await receiver.start()
    code = """
import asyncio
from postoffice import tracing
assert tracing.on("short", None)
for number in range(200):
    with tracing.sending("emit", "tcp", f"a.{number}", None):
        pass
async def main():
    with tracing.sending("emit", "tcp", "last", None):
        pass
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    )
    async with asyncio.timeout(LIMIT):
        assert await process.wait() == 0
    await until(lambda: len([one for one in receiver.store.spans() if one.end]) == 201)
    assert {one.service for one in receiver.store.spans()} == {"short"}
    await receiver.stop()


def test_without_the_sdk_postoffice_works_and_says_why_it_is_silent():
    """OpenTelemetry is no condition: tracing stays off, in words."""
    code = """
import logging, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry"):
            raise ImportError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
import postoffice
from postoffice import tracing
print(tracing.on("x", "http://127.0.0.1:9"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert "Install opentelemetry-sdk" in done.stdout


def test_an_address_of_no_receiver_is_refused():
    """With an example of one."""
    with pytest.raises(ValueError, match="Write for example http://host:4318"):
        tracing.on("x", "localhost:4318")
    assert tracing._tracing is None


async def test_tracing_that_is_off_costs_next_to_nothing():
    """Beside one call over TCP in this process, all that tracing adds to it is lost in the noise."""
    logging.disable(logging.CRITICAL)
    try:
        begin = time.perf_counter()
        await call(500)
        whole = (time.perf_counter() - begin) / 500
    finally:
        logging.disable(logging.NOTSET)
    delivery, packet = object(), object()
    begin = time.perf_counter()
    for _ in range(10_000):
        with tracing.receiving(delivery, "tcp", packet) as span:  # type: ignore[arg-type]
            span.ends_with(None)  # type: ignore[arg-type]
        tracing.requesting("tcp", None, None)  # type: ignore[arg-type]
    added = (time.perf_counter() - begin) / 10_000
    assert added < whole / 20, f"{added * 1e6:.2f} µs of {whole * 1e6:.1f} µs"
