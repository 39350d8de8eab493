"""Handlers that do what they should not: their callers are answered, and the service goes on."""

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from postoffice import Client, PostOfficeError, RpcError, Service, message_pattern

LIMIT = 20.0


@message_pattern("echo")
async def echo(data):
    return data


@contextlib.asynccontextmanager
async def serving(*handlers: Any, **options: Any) -> AsyncIterator[tuple[Service, Client]]:
    """A service and a client that is well-behaved."""
    async with (
        Service(*handlers, url="tcp://127.0.0.1:0", **{"grace": 0.2, **options}) as service,
        await Client.connect(service.url, timeout=LIMIT) as client,
    ):
        yield service, client


class Custom(BaseException):
    """Not an Exception, and no sign that the process should end."""


def misbehaving() -> list[Any]:
    """Handlers that do what asyncio allows and nobody expects."""

    @message_pattern("cancels")
    async def cancels():
        raise asyncio.CancelledError

    @message_pattern("cancels.its.task")
    async def cancels_its_task():
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)

    @message_pattern("base")
    async def base():
        raise Custom("secret")

    @message_pattern("stop.iteration")
    async def stop_iteration():
        raise StopAsyncIteration

    @message_pattern("recursion")
    async def recursion():
        return await recursion()

    @message_pattern("unwritable")
    async def unwritable():
        return {"a": object()}

    @message_pattern("yields.then.fails")
    async def yields_then_fails():
        yield 1
        raise Custom("secret")

    @message_pattern("odd.error")
    async def odd_error():
        raise RpcError(object())

    return [cancels, cancels_its_task, base, stop_iteration, recursion, unwritable, yields_then_fails, odd_error]


PATTERNS = [one.__postoffice_patterns__[0][1] for one in misbehaving()]


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_whatever_a_handler_does_its_caller_gets_an_answer(pattern: str) -> None:
    """An error that leaks nothing, at once, and the service goes on."""
    async with serving(echo, *misbehaving()) as (_, client):
        with pytest.raises(RpcError) as caught:
            await client.send(pattern)
        assert "secret" not in str(caught.value)
        await client.emit(pattern)
        assert await client.send("echo", 1) == 1
        gc.collect()


async def test_handlers_that_use_all_of_asyncio() -> None:
    """A time limit, a group, a gather, a task of their own: also in a first step that runs at once (3.12)."""

    @message_pattern("limited")
    async def limited():
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "in time"

    @message_pattern("gathers")
    async def gathers():
        return await asyncio.gather(*(asyncio.sleep(0, n) for n in range(3)))

    @message_pattern("group")
    async def group():
        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(asyncio.sleep(0, n)) for n in range(3)]
        return [one.result() for one in found]

    @message_pattern("calls")
    async def calls():
        async with asyncio.timeout(LIMIT):
            return await inner.send("gathers")

    async with serving(limited, gathers, group, calls) as (service, client), await Client.connect(service.url) as inner:
        assert await client.send("limited") == "in time"
        for pattern in ("gathers", "group", "calls"):
            assert await client.send(pattern) == [0, 1, 2]


@pytest.mark.parametrize("what", ["raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_a_handler_that_ends_its_process_ends_it(what: str, tmp_path: Path) -> None:
    """As anywhere in Python; no half-dead service stays behind."""
    module = tmp_path / "ends.py"
    module.write_text(
        "from postoffice import message_pattern\n\n@message_pattern('end')\nasync def end():\n    " + what + "\n"
    )
    service = subprocess.Popen(
        [sys.executable, "-m", "postoffice", "run", str(module), "--url", "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert service.stdout
        url = service.stdout.readline().split()[-1]
        with pytest.raises(PostOfficeError):
            asyncio.run(_call(url))
        assert service.wait(LIMIT) != 0
    finally:
        service.kill()
        service.communicate()


async def _call(url: str) -> None:
    async with await Client.connect(url, timeout=5) as client:
        await client.send("end")
