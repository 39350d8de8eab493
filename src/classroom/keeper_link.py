"""The connection to a keeper process: requests out, answers and events in. See `classroom.supervisor`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from classroom import owners
from classroom.logs import tail

ANSWER_TIMEOUT = 30.0  # seconds; an answer takes milliseconds, more only on a machine that is out of breath
# -I and -S: neither the current folder nor site-packages, so that nothing there can break or slow the keeper
KEEPER = "import sys; sys.path.append(sys.argv[1]); from classroom.keeper import main; main(*sys.argv[2:])"
PACKAGES = str(Path(__file__).parents[1])


class SupervisorError(Exception):
    """The keeper process cannot be started or does not answer. Nothing was started."""


class ChildEnded(Exception):
    """The process ended before the thing that was waited for happened."""


class Child:
    """A process of this kernel: one process group, which ends with the kernel at the latest."""

    def __init__(self, link: Link, ident: int, argv: Sequence[str], log: Path) -> None:
        self.argv, self.log, self.pid = list(argv), log, 0
        self._link, self._ident = link, ident
        self.ended_at: float | None = None  # unix seconds, as the keeper saw it
        self._exit: Future[int] = _future()
        self._ready: Future[str | None] = _future()

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs; -N when signal N ended it."""
        return self._exit.result() if self._exit.done() else None

    @property
    def alive(self) -> bool:
        """Whether it runs. A paused process is alive."""
        return not self._exit.done()

    def signal(self, number: int) -> bool:
        """Send a signal to the whole process group, now. False when it has ended already."""
        return self.alive and bool(self._link.request("signal", child=self._ident, signal=int(number)))

    def pause(self) -> bool:
        """SIGSTOP, as a machine out of breath: connections stay open. When this returns, all its threads stand still.

        False when it has ended already. `signal(SIGCONT)` lets it go on.
        """
        stopped = self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + 2
        while self.alive and not owners.stands_still(self.pid) and time.monotonic() < deadline:
            time.sleep(0.001)  # a thread stops at its next return from the kernel
        return stopped

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is flushed. When this returns, the process is gone."""
        if self.signal(signal.SIGKILL):
            with contextlib.suppress(TimeoutError):  # a process deep in a system call may take longer
                self._exit.result(timeout=2)

    async def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises TimeoutError after `timeout` seconds; it then runs on."""
        return await asyncio.wait_for(asyncio.wrap_future(self._exit), timeout)

    async def ready_line(self, timeout: float | None = None) -> str:
        """The line that it wrote to `{ready_fd}`.

        Raises ChildEnded when it ended or closed the descriptor without a line, TimeoutError after `timeout`
        seconds.
        """
        line = await asyncio.wait_for(asyncio.wrap_future(self._ready), timeout)
        if line is None:
            raise ChildEnded(f"process {self.pid} ended before it was ready")
        return line

    def tail(self, lines: int = 20) -> list[str]:
        """The last lines that it printed, stdout and stderr together; the log keeps the last 1 to 2 MiB."""
        return tail(self.log, lines)

    def __repr__(self) -> str:
        state = "running" if self.alive else f"exit code {self.returncode}"
        return f"<Child {self.pid} {Path(self.argv[0]).name}: {state}>"


class Link:
    """A keeper process, and the two threads that write to it and read from it."""

    def __init__(self, root: Path, label: str) -> None:
        self.children: dict[int, Child] = {}
        self.ended = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the link
        self._pending: dict[int, Future[Any]] = {}
        self._outbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", KEEPER, PACKAGES, str(root), label],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,  # an interrupt of the kernel's group must not reach it
            )
        except OSError as error:
            raise SupervisorError(f"the keeper process does not start: {error}") from error
        assert self._process.stdin
        assert self._process.stdout
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        # a thread writes, since a KeyboardInterrupt in the main thread could cut a message in two
        for work in (self._write_all, self._read_all):
            threading.Thread(target=work, name="classroom-supervisor", daemon=True).start()

    def next_id(self) -> int:
        return next(self._ids)

    def post(self, operation: str, ident: int | None = None, **fields: Any) -> None:
        """Send without waiting for the answer."""
        self._outbox.put({"id": ident or self.next_id(), "op": operation, **fields})

    def request(self, operation: str, ident: int | None = None, **fields: Any) -> Any:
        ident = ident or self.next_id()
        answer = self._pending[ident] = _future()
        self.post(operation, ident, **fields)
        if self.ended:  # checked after the entry: _read_all fails what it finds there
            self._fail(answer)
        try:
            return answer.result(timeout=ANSWER_TIMEOUT)
        except TimeoutError:
            raise SupervisorError(f"the keeper process did not answer within {ANSWER_TIMEOUT:g} s") from None
        finally:
            self._pending.pop(ident, None)

    def close_after_fork(self) -> None:
        """In a forked process: let go of the pipes, so that the keeper sees the end of their owner."""
        self._stdin.close()
        self._stdout.close()

    def _write_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the keeper is gone: _read_all tells
            while True:
                data = memoryview(json.dumps(self._outbox.get()).encode() + b"\n")
                while data:
                    data = data[os.write(self._stdin.fileno(), data) :]

    def _read_all(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            buffer = b""
            while data := os.read(self._stdout.fileno(), 65536):
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._take(line)
        self._end()

    def _take(self, line: bytes) -> None:
        """One line of the keeper. What is no message of ours is passed over."""
        try:
            message = json.loads(line)
            child = self.children.get(message.get("child", 0))
            answer = self._pending.get(message.get("id", 0))
        except (ValueError, AttributeError, TypeError):
            return
        if answer is not None and "error" in message:
            _settle(answer, OSError(*message["error"]))
        elif answer is not None:
            _settle(answer, message.get("value"))
        elif child is not None and "ready" in message:
            _settle(child._ready, message["ready"])
        elif child is not None and "exit" in message:
            del self.children[child._ident]
            child.ended_at = message.get("at")
            _settle(child._ready, None)
            _settle(child._exit, message["exit"])

    def _end(self) -> None:
        """The keeper has ended: so have its children, by the kernel's PDEATHSIG or by our hand."""
        self.ended = True
        self._process.wait()
        for child in list(self.children.values()):
            if child.pid:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
            _settle(child._ready, None)
            _settle(child._exit, -signal.SIGKILL)
        for answer in list(self._pending.values()):
            self._fail(answer)

    def _fail(self, answer: Future[Any]) -> None:
        self._errors.seek(0)
        last = self._errors.read()[-2000:].decode(errors="replace").strip()
        text = "the keeper process ended, and with it all services and brokers here: run their cells again"
        _settle(answer, SupervisorError(f"{text}\n{last}".strip()))


def _future() -> Future[Any]:
    """One that a waiter's cancellation cannot cancel."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _settle(future: Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
