"""`postoffice run`: a module of handlers as a process."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from postoffice import Client

LIMIT = 20.0
USERS = """
from postoffice import message_pattern

@message_pattern("echo")
async def echo(data):
    return data
"""
HYBRID = (
    USERS
    + """
import asyncio
from fastapi import FastAPI

app = FastAPI()
loops = []

@app.get("/loop")
async def loop():
    return id(asyncio.get_running_loop())

@message_pattern("loop")
async def same_loop():
    return id(asyncio.get_running_loop())
"""
)


class Runs:
    """Processes of `postoffice run`, ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, source: str, *options: str, url: str = "tcp://127.0.0.1:0") -> subprocess.Popen[str]:
        (self.folder / "users.py").write_text(source, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "postoffice", "run", "users.py", "--url", url, *options],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def url(self, process: subprocess.Popen[str]) -> str:
        """Where it is ready."""
        assert process.stdout
        line = process.stdout.readline()
        assert " is ready on " in line, f"{line!r} {process.communicate(timeout=LIMIT)}"
        return line.split()[-1]

    def fails(self, source: str, *options: str, url: str = "tcp://127.0.0.1:0") -> str:
        """What it says when it cannot start."""
        process = self.start(source, *options, url=url)
        out, said = process.communicate(timeout=LIMIT)
        assert (process.returncode, out) == (1, ""), said
        return said


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    for process in runs.processes:
        process.kill()
        process.communicate(timeout=LIMIT)


async def ask(url: str, pattern: str, data: object = None) -> object:
    async with await Client.connect(url, timeout=LIMIT) as client:
        return await client.send(pattern, data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_stop(runs: Runs, number: signal.Signals) -> None:
    """A line when it is ready, named after its module; exit status 0."""
    process = runs.start(USERS)
    url = runs.url(process)
    assert asyncio.run(ask(url, "echo", "é🚀")) == "é🚀"
    process.send_signal(number)
    out, said = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (0, "users finishes what is under way\n")
    assert "Traceback" not in said


def test_a_dotted_name_and_a_name_of_its_own(runs: Runs) -> None:
    """A module on the path is as good as a file."""
    (runs.folder / "shop").mkdir()
    (runs.folder / "shop" / "stock.py").write_text(USERS)
    process = subprocess.Popen(
        [sys.executable, "-m", "postoffice", "run", "shop.stock", "--url", "tcp://127.0.0.1:0", "--name", "depot"],
        cwd=runs.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    runs.processes.append(process)
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("depot is ready on tcp://127.0.0.1:")
    assert asyncio.run(ask(line.split()[-1], "echo", 1)) == 1


def test_whoever_started_it_gets_a_line_of_json(runs: Runs) -> None:
    """Address, process and handlers, once it is ready; then the descriptor is closed."""
    (runs.folder / "users.py").write_text(USERS)
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "postoffice",
            "run",
            "users.py",
            "--url",
            "tcp://127.0.0.1:0",
            "--ready-fd",
            f"{writing}",
        ],
        cwd=runs.folder,
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        text=True,
    )
    runs.processes.append(process)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        ready = json.loads(pipe.read())
    assert ready["pid"] == process.pid
    assert ready["handlers"] == [{"kind": "message", "route": "echo", "dead_letter": None, "delays": []}]
    assert asyncio.run(ask(ready["url"], "echo", 1)) == 1


def test_a_crash_at_the_start_shows_its_traceback(runs: Runs) -> None:
    """With the module's own line, also for an error of syntax."""
    said = runs.fails(USERS + "\n1 / 0\n")
    assert "ZeroDivisionError" in said
    assert 'users.py", line 8' in said
    assert "SyntaxError" in runs.fails("async def broken(:\n")


@pytest.mark.parametrize(
    ("source", "options", "url", "words"),
    [
        ("", [], "tcp://127.0.0.1:0", "HandlerError: there is no handler to serve"),
        (USERS, [], "http://x", "UsageError: no transport for 'http://x'"),
        (USERS, [], "redis://127.0.0.1:9", "ConnectError: no Redis broker could be reached at 127.0.0.1:9"),
        (USERS, ["--group", "g"], "tcp://127.0.0.1:0", "UnsupportedError: TCP cannot share messages in a group"),
        (USERS, ["--delivery", "at-least-once"], "tcp://127.0.0.1:0", "UnsupportedError: TCP cannot deliver at least"),
        (USERS, ["--http", "127.0.0.1:0"], "tcp://127.0.0.1:0", "UsageError: --http needs an ASGI application"),
        (USERS.replace("async def", "def"), [], "tcp://127.0.0.1:0", "HandlerError: the handler echo ("),
    ],
)
def test_a_mistake_is_said_in_a_line_without_a_traceback(
    runs: Runs, source: str, options: list[str], url: str, words: str
) -> None:
    """What is wrong and what to do; exit status 1."""
    said = runs.fails(source, *options, url=url)
    assert words in said
    assert "Traceback" not in said


def test_a_file_that_does_not_exist(runs: Runs) -> None:
    """With the folder that was looked in."""
    done = subprocess.run(
        [sys.executable, "-m", "postoffice", "run", "missing.py", "--url", "tcp://127.0.0.1:0"],
        cwd=runs.folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 1
    assert f"UsageError: there is no file 'missing.py' in {runs.folder}" in done.stderr
    assert "Traceback" not in done.stderr


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_http_and_messages_from_one_process_on_one_loop(runs: Runs) -> None:
    """A hybrid application: both doors open before it is ready, and both close cleanly."""
    port = free_port()
    process = runs.start(HYBRID, "--http", f"127.0.0.1:{port}")
    url = runs.url(process)
    assert httpx.get(f"http://127.0.0.1:{port}/loop", timeout=LIMIT).json() == asyncio.run(ask(url, "loop"))
    process.terminate()
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said


def test_an_http_port_in_use(runs: Runs) -> None:
    """Is said, and the messages' side does not stay behind alone."""
    port = free_port()
    first = runs.start(HYBRID, "--http", f"127.0.0.1:{port}")
    runs.url(first)
    assert f"the HTTP side could not listen on 127.0.0.1:{port}" in runs.fails(HYBRID, "--http", f"127.0.0.1:{port}")
