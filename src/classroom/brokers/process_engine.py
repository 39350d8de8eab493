"""A broker as plain processes on this machine."""

from __future__ import annotations

import signal
from pathlib import Path

from classroom.brokers.commands import Command, Setting, commands_for
from classroom.brokers.errors import BrokerError, PortTaken
from classroom.brokers.finding import Candidate
from classroom.brokers.ports import Port, is_free
from classroom.supervisor import Child, supervisor

END_LIMIT = 30.0  # seconds for a clean end; RabbitMQ takes 1 to 3


class ProcessEngine:
    """Runs one broker, with what it needs beside it (RabbitMQ: epmd), in a folder that ends with the kernel."""

    name = "process"

    def __init__(self, candidate: Candidate) -> None:
        if candidate.program is None:
            raise ValueError("fetch the packages of this candidate first")
        self.candidate = candidate
        self.folder: Path | None = None
        self._program = candidate.program
        self._spare = (Port(), Port()) if candidate.kind.name in ("rabbitmq", "kafka") else ()
        self._children: list[Child] = []

    async def create(self, port: int) -> None:
        """Start for the first time. Raises PortTaken, BrokerError."""
        self.folder = supervisor().folder(f"{self.candidate.kind.name}-")
        await self.start(port)

    async def start(self, port: int) -> None:
        """Start with the data that is there."""
        if not is_free(port):
            raise PortTaken(f"port {port} is taken by another program")
        for index, command in enumerate(self._commands(port)):
            if index >= len(self._children) or not self._children[index].alive:
                self._children[index : index + 1] = [self._spawn(command)]

    def _commands(self, port: int) -> list[Command]:
        assert self.folder is not None
        first, second = (spare.number for spare in self._spare) if self._spare else (0, 0)
        setting = Setting(self._program, self.candidate.root, self.folder, port, (first, second))
        return commands_for(self.candidate.kind.name, setting)

    def _spawn(self, command: Command) -> Child:
        assert self.folder is not None
        try:
            return supervisor().spawn(
                command.argv, env=command.environment, cwd=self.folder, log=self.folder / "output.log"
            )
        except OSError as error:
            raise BrokerError(f"{command.argv[0]} cannot be started: {error.strerror or error}") from error

    @property
    def _main(self) -> Child | None:
        return self._children[-1] if self._children else None

    def alive(self) -> bool:
        return self._main is not None and self._main.alive

    def kill(self) -> None:
        if self._main is not None:
            self._main.kill()

    def pause(self) -> None:
        if self._main is not None:
            self._main.pause()

    def unpause(self) -> None:
        if self._main is not None:
            self._main.signal(signal.SIGCONT)

    async def end(self) -> None:
        """Ask it to end, as the operator of a server would; kill it when it takes too long."""
        if self._main is None:
            return
        self._main.signal(signal.SIGTERM)
        try:
            await self._main.wait(END_LIMIT)
        except TimeoutError:
            self._main.kill()

    async def remove(self) -> None:
        """Leave nothing. Safe at any time, also in the middle of a start."""
        for child in reversed(self._children):
            child.kill()
        if self.folder is not None:
            supervisor().forget(self.folder)
        for port in self._spare:
            port.release()

    def logs(self, lines: int) -> str:
        return "\n".join(self._main.tail(lines)) if self._main is not None else ""
