"""A student's functions and variables, kept in a sandbox: the grader's end of inside/driver.py.

What comes back is plain data of exact types, limited in size, whatever the other side sent. A driver that does not
answer in time is killed, and the next question starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from classroom.checks.asking import Answer, Elsewhere, not_plain
from classroom.grading.boxed import Boxed
from classroom.grading.gate import Server
from classroom.grading.inside import plain
from classroom.grading.runner import Runner
from classroom.service_fleet import services_loop
from classroom.supervisor import supervisor

__all__ = ["Driver", "DriverError", "NotStarted", "Remote"]

T = TypeVar("T")
LARGEST = 8 << 20  # bytes of one answer
START_LIMIT = 40.0  # seconds; it takes a few tenths
MARGIN = 5.0  # seconds that a driver may take to say that a call has taken too long
ADDRESS = re.compile(r"\w+://(?:[^/@\s]*@)?127\.0\.0\.1:(\d{1,5})")


class DriverError(Exception):
    """The driver does not answer: it has ended, or sends what is no answer."""


class NotStarted(DriverError):
    """The driver did not get as far as the student's code."""


class Seen(msgspec.Struct):
    """What a driver says of a variable."""

    what: str = msgspec.field(name="is")
    value: Any = None
    text: str = ""
    error: str = ""


class Driver:
    """One process that holds what a student's cell has made.

    Args:
        runner: what starts it. others: the sources of the other cells. cell: that of the task; None: none is run.
        shown: files that it may read.
    """

    def __init__(self, runner: Runner, others: Sequence[str] = (), cell: str | None = None, shown: Sequence[Path] = ()):
        self._runner, self._others, self._cell, self._shown = runner, list(others), cell, list(shown)
        self._box: Boxed | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._lock: asyncio.Lock | None = None
        self.folder = supervisor().folder("driver-")
        self.error = ""

    async def request(self, operation: str, patience: float, /, **words: Any) -> Any:
        """Ask it one thing; plain data. Raises DriverError, TimeoutError (and it is killed)."""
        return await _on_services_loop(self._request(operation, patience, words))

    async def look(self, name: str) -> Seen:
        """What a variable is. Raises DriverError, TimeoutError."""
        found = await self.request("look", START_LIMIT, name=name)
        try:
            return msgspec.convert({**found, "value": found.get("value")}, Seen)
        except (msgspec.ValidationError, TypeError, AttributeError) as error:
            raise DriverError(f"it says of {name} what makes no sense: {error}") from None

    async def _request(self, operation: str, limit: float, words: dict[str, Any]) -> Any:
        await self._started()
        assert self._box
        for port in _ports(words.get("arguments", ())) if self._runner.sandboxed else ():
            await self._box.gate.allow(port, Server())
        return await self._send(operation, limit, words)

    async def _started(self) -> None:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._box is not None and self._box.alive:
                return
            program, log = ["-P", "-m", "classroom.grading.inside.driver"], self.folder / "output.log"
            self._box = self._runner.spawn("", 0, program, environment={}, log=log, shown=self._shown)
            try:
                async with asyncio.timeout(START_LIMIT):
                    reader, self._writer = await asyncio.shield(self._box.gate.asked)
            except (TimeoutError, asyncio.CancelledError):
                raise NotStarted("its process did not start") from None
            self._reading = asyncio.create_task(self._read(reader))
            if self._cell is not None:
                said = await self._send("run", START_LIMIT, {"others": self._others, "cell": self._cell})
                self.error = str(said.get("error", ""))[:1000] if isinstance(said, dict) else ""

    async def _send(self, operation: str, limit: float, words: dict[str, Any]) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(plain.encode({"id": number, "op": operation, **words}) + b"\n")
        try:
            return await asyncio.wait_for(future, limit)
        except TimeoutError:
            self.end()
            raise
        finally:
            self._waiting.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take its answers, until it says something that is none."""
        why, buffer = "the process has ended", bytearray()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                buffer += data
                *lines, rest = bytes(buffer).split(b"\n") if b"\n" in data else [bytes(buffer)]
                buffer = bytearray(rest)
                if len(buffer) > LARGEST or not all(map(self._take, lines)):
                    why = "it sent what is no answer, or too much"
                    break
        self.end()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(DriverError(why))

    def _take(self, line: bytes) -> bool:
        try:
            found = plain.decode(line)
            future = self._waiting.get(found["id"])
            if future is None or future.done():
                return True
            if "failed" in found:
                future.set_exception(DriverError(str(found["failed"])[:1000]))
            elif wrong := not_plain_or_start(found["answer"]):
                future.set_exception(DriverError(f"it answered with {wrong}"))
            else:
                future.set_result(found["answer"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return True

    def end(self) -> None:
        """Kill it, if it runs."""
        if self._box is not None:
            self._box.kill()


class Remote(Elsewhere):
    """A function of a student's, or a class, which runs in a driver's sandbox."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver, self._name = driver, name

    async def ask(self, *arguments: Any, limit: float, via: Callable[..., Any] | None = None) -> Answer:
        """Whatever the other side does, an answer within the limit, of plain data."""
        source = textwrap.dedent(inspect.getsource(via)) if via else ""
        words = {"name": self._name, "arguments": list(arguments), "via": source, "limit": limit}
        try:
            found = await self._driver.request("ask", limit + MARGIN, **words)
            return Answer(found["value"], str(found["kind"])[:100], str(found["error"])[:2000])
        except TimeoutError:
            return Answer(None, "TooLong", f"no answer within {limit:g} s; it was stopped")
        except DriverError as error:
            return Answer(None, "ProcessEnded", f"ProcessEnded: {error}")
        except (KeyError, TypeError):
            return Answer(None, "TypeError", "TypeError: it answered with what is no answer")

    def __repr__(self) -> str:
        return f"<{self._name}, in a sandbox>"


def not_plain_or_start(value: Any) -> str:
    """As `not_plain`, with `...` allowed: what stands in a prediction that is not made yet."""
    if type(value) is dict and "is" in value and type(value.get("value")) is dict:
        value = value | {"value": {key: None if one is ... else one for key, one in value["value"].items()}}
    return "" if value is ... else not_plain(value)


def _ports(arguments: Any) -> set[int]:
    """The ports of this machine's addresses among what a judge hands over: those must be reachable."""
    text = repr(arguments) if len(arguments) < 50 else ""
    return {int(port) for port in ADDRESS.findall(text[:100_000])}


async def _on_services_loop(work: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, services_loop()))
