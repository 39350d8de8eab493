"""What a lab gives: its brokers, its ledger, its given services, started anew for each trial from the solution's cells.

Given cells are the course's own, so they run here, outside every sandbox. What a student's copy of them says does not
matter. What they put into the environment, such as the ledger's address, the sandboxes have in theirs, and nothing
else; and to each address that they made there, a wire leads through the gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from classroom.brokers import Broker
from classroom.brokers.errors import NotOurs
from classroom.grading.accounts import Accounts, tame
from classroom.grading.gate import Ledger, Server, Wire
from classroom.grading.taps import TAPS
from classroom.ledger import Book
from classroom.service_handle import ServiceHandle
from classroom.services import register

__all__ = ["NotGiven", "World", "world"]

CELL_LIMIT = 120.0  # seconds; a broker's start is the longest
RABBITMQ = "CLASSROOM_RABBITMQ_URL"
WANTS_RABBITMQ = re.compile(r"start_broker\(\s*[\"']rabbitmq[\"']")
ADDRESS = re.compile(r"\w+://(?:[^/@\s]*@)?127\.0\.0\.1:(\d{1,5})\b")
OURS = ("CLASSROOM_",)  # settings of the grader's own process
NO_HISTORY = Config(HistoryManager={"enabled": False})  # its file is shared with all notebooks of this user


class NotGiven(Exception):
    """Something that the lab gives, such as its broker, did not start: then nothing can be judged."""


@dataclass
class World:
    """What there is. `names` are the variables of the given cells; `environment` what they added to it."""

    names: dict[str, Any]
    environment: dict[str, str]
    accounts: Accounts | None = None  # where its RabbitMQ is the warm one

    @property
    def brokers(self) -> dict[str, Broker]:
        """By the variable that holds each."""
        return {name: one for name, one in self.names.items() if isinstance(one, Broker)}

    def lost(self) -> list[str]:
        """What has ended though nobody here has ended it, in a sentence each: then nothing can be judged."""
        ended = [one.name for one in self.brokers.values() if one.state == "running" and not one.alive]
        if self.accounts is not None and not self.accounts.alive:
            ended.append("rabbitmq")
        said = [f"the broker {name} has ended in the middle of it" for name in ended]
        books = [one for one in self.names.values() if isinstance(one, Book)]
        return said + ["the ledger has ended in the middle of it" for one in books if not one.alive]

    def wires(self) -> dict[int, Wire]:
        """What a sandbox may reach, by port."""
        found: dict[int, Wire] = {}
        for value in self.environment.values():
            found |= {int(port): Server() for port in ADDRESS.findall(value)}
        for one in self.names.values():
            if isinstance(one, Broker):
                found[_port(one.url)] = Server(TAPS.get(one.kind))
            elif isinstance(one, Book):
                found[_port(one.url)] = Ledger()
        return found


def _port(url: str) -> int:
    return urlsplit(url).port or 0


@asynccontextmanager
async def world(given: Sequence[str], accounts: Accounts, own_broker: bool = False) -> AsyncIterator[World]:
    """Run the given cells; all that they started is gone at the end.

    RabbitMQ is the warm one, by an account that is used once; with `own_broker` it is one of its own, which may be
    broken. A given cell that names what a student makes is passed over. Raises NotGiven when one fails otherwise.
    """
    shell = InteractiveShell(config=NO_HISTORY)
    # nobody reads a traceback here, and to make one takes long
    shell.showtraceback = lambda *_, **__: None  # type: ignore[method-assign]
    register(shell)
    before = dict(os.environ)
    account = ""
    try:
        if not own_broker and any(map(WANTS_RABBITMQ.search, given)):
            account = os.environ[RABBITMQ] = await accounts.take()
            os.environ["CLASSROOM_ENGINE"] = "auto"  # an engine that is asked for would come before the address
        for cell in given:
            await _run(shell, cell)
        for one in shell.user_ns.values():
            if isinstance(one, Broker) and one.kind == "redis":
                await tame(one)
        added = {
            name: value for name, value in os.environ.items() if before.get(name) != value and not name.startswith(OURS)
        }
        yield World(shell.user_ns, added, accounts if account else None)
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        if account:
            accounts.give_back(account)
        await _end(list(shell.user_ns.values()))


async def _run(shell: InteractiveShell, cell: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            async with asyncio.timeout(CELL_LIMIT):
                done = await shell.run_cell_async(cell, transformed_cell=shell.transform_cell(cell))
        except TimeoutError:
            raise NotGiven(f"what the lab gives was not there after {CELL_LIMIT:g} s") from None
    error = done.error_before_exec or done.error_in_exec
    if isinstance(error, NotOurs):
        raise error
    if error is not None and not isinstance(error, NameError):
        raise NotGiven(f"what the lab gives did not start: {type(error).__name__}: {error}") from error


async def _end(made: list[Any]) -> None:
    for one in made:
        if isinstance(one, ServiceHandle):
            one.kill()
    for one in made:
        if isinstance(one, (Broker, Book)):
            with contextlib.suppress(Exception):
                await one.stop()
