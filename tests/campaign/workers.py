"""The processes of the service that is broken, each a `postoffice run`, started again when one is to come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

SUBJECT = Path(__file__).with_name("subject.py")
START_LIMIT = 60.0  # seconds, on a busy machine
STOP_LIMIT = 20.0


class Worker:
    """One replica."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self.log = command, environment, log
        self._process: asyncio.subprocess.Process | None = None
        self.crashes = 0

    async def start(self) -> None:
        """Run it, until it says that it is ready."""
        reading, writing = os.pipe()
        with self.log.open("ab") as out, os.fdopen(reading, "rb") as ready:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, "--ready-fd", str(writing), env={**os.environ, **self._environment},
                stdout=out, stderr=out, pass_fds=[writing],
            )  # fmt: skip
            os.close(writing)
            async with asyncio.timeout(START_LIMIT):
                line = await asyncio.to_thread(ready.readline)
        if not line and await self._process.wait() != -signal.SIGKILL:  # a deadly event may come before it is ready
            raise RuntimeError(f"the service does not start: {self.log.read_text(encoding='utf-8')[-2000:]}")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._process is not None
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.crashes += 1
        await self.ended()

    async def ended(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(STOP_LIMIT):
            await self._process.wait()

    async def stop(self) -> None:
        """Let it drain; a paused or stuck one is killed."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            await self.ended()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.ended()

    async def abandon(self) -> None:
        """End it whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()


def command(url: str, name: str, options: list[str]) -> list[str]:
    return [sys.executable, "-m", "postoffice", "run", str(SUBJECT), "--url", url, "--name", name, *options]
