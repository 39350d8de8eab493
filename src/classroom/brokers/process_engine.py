"""A broker as plain processes on this machine."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from classroom.brokers.commands import Command, Setting, commands_for
from classroom.brokers.errors import BrokerError, PortTaken
from classroom.brokers.finding import Candidate
from classroom.brokers.ports import Port, Ports, is_free
from classroom.faults.disk import Disk
from classroom.supervisor import Child, supervisor

END_LIMIT = 30.0  # seconds for a clean end; RabbitMQ takes 1 to 3


class ProcessEngine:
    """Runs one broker, with what it needs beside it (RabbitMQ: epmd), in a folder that ends with the kernel.

    Args:
        candidate: what to run. ports: where. disk: bytes that its data may take, on a disk of its own; 0: no limit.
    """

    name = "process"

    def __init__(self, candidate: Candidate, ports: Ports, disk: int = 0) -> None:
        if candidate.program is None:
            raise ValueError("fetch the packages of this candidate first")
        self.candidate = candidate
        self.folder: Path | None = None
        self.disk: Disk | None = None
        self._ports, self._size = ports, disk
        self._program = candidate.program
        self._spare = (Port(), Port()) if candidate.kind.name in ("rabbitmq", "kafka") else ()
        self._children: list[Child] = []

    async def create(self) -> None:
        """Start for the first time. Raises PortTaken, NoDisk, BrokerError."""
        self.folder = supervisor().folder(f"{self.candidate.kind.name}-")
        if self._size:
            self.disk = Disk(self.folder / "data", self._size)
            await self.disk.make()
        else:
            (self.folder / "data").mkdir()
        await self.start()

    async def start(self) -> None:
        """Start with the data that is there."""
        for port in (self._ports.server.number, self._ports.direct.number):
            if not is_free(port):
                raise PortTaken(f"port {port} is taken by another program")
        for index, command in enumerate(self._commands()):
            if index >= len(self._children) or not self._children[index].alive:
                self._children[index : index + 1] = [self._spawn(command)]

    def _commands(self) -> list[Command]:
        assert self.folder is not None
        first, second = (spare.number for spare in self._spare) if self._spare else (0, 0)
        kind = self.candidate.kind
        setting = Setting(
            self._program, self.candidate.root, self.folder, self._ports, (first, second), self._size, kind
        )
        return commands_for(kind.name, setting)

    def _spawn(self, command: Command) -> Child:
        assert self.folder is not None
        argv = self.disk.command(command.argv) if self.disk else command.argv
        try:
            return supervisor().spawn(argv, env=command.environment, cwd=self.folder, log=self.folder / "output.log")
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
        if self.disk is not None:
            self.disk.remove()
        if self.folder is not None:
            supervisor().forget(self.folder)
        for port in self._spare:
            port.release()

    async def control(self, argv: list[str]) -> str:
        """Run a program that stands beside the server's own. Raises BrokerError when it fails."""
        main = self._commands()[-1]
        program = str(Path(main.argv[0]).with_name(argv[0]))
        running = await asyncio.create_subprocess_exec(
            program,
            *argv[1:],
            env=main.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await running.communicate())[0].decode(errors="replace")
        if running.returncode:
            raise BrokerError(f"{argv[0]} fails with exit code {running.returncode}: {printed.strip()[:1000]}")
        return printed

    def logs(self, lines: int) -> str:
        return "\n".join(self._main.tail(lines)) if self._main is not None else ""
