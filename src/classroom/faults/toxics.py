"""The faults of a link, one class each, with Toxiproxy's names and meaning. Times in seconds, sizes in bytes.

Each works on one direction of one connection, between the bytes that come in (`stage.head()`) and those that go on
(`stage.emit()`). What a toxic has not passed on when it is taken away goes on in order, unless it says otherwise.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from classroom.faults.pipe import Stage

TICK = 0.1  # seconds; what bandwidth lets through goes in portions of this length, as in Toxiproxy
WINDOW = 4 * 1024 * 1024  # bytes under way on a slow link with room, before its sender has to wait


class Toxic:
    """What is wrong with a link."""

    buffer: ClassVar[int] = 64 * 1024  # bytes held before the sender is made to wait

    async def work(self, stage: Stage) -> None:
        """Pass on what comes, in this toxic's manner; cancelled when it is taken away."""
        raise NotImplementedError

    def undo(self, stage: Stage) -> None:
        """Taken away: nothing is lost, what was held goes on at once."""
        stage.release()


@dataclass(frozen=True)
class Latency(Toxic):
    """Everything comes `latency` ± `jitter` seconds later, in order."""

    latency: float
    jitter: float = 0.0
    buffer: ClassVar[int] = WINDOW

    def __post_init__(self) -> None:
        _at_least("latency", self.latency, 0)
        _between("jitter", self.jitter, 0, self.latency, "latency")

    async def work(self, stage: Stage) -> None:
        while True:
            chunk = await stage.head()
            await _until(chunk.arrived + self.latency + self.jitter * stage.random.uniform(-1, 1))
            stage.emit()


@dataclass(frozen=True)
class Bandwidth(Toxic):
    """At most `rate` bytes a second on each connection; whoever sends more has to wait."""

    rate: float

    def __post_init__(self) -> None:
        _at_least("rate", self.rate, 1)

    async def work(self, stage: Stage) -> None:
        free = asyncio.get_running_loop().time()  # when the line is free again
        portion = max(1, int(self.rate * TICK))
        while True:
            size = min(len((await stage.head()).data), portion)
            free = max(free, asyncio.get_running_loop().time()) + size / self.rate
            await _until(free)
            stage.emit(size)


@dataclass(frozen=True)
class SlowClose(Toxic):
    """The end of a connection comes `delay` seconds later."""

    delay: float

    def __post_init__(self) -> None:
        _at_least("delay", self.delay, 0)

    async def work(self, stage: Stage) -> None:
        while True:
            if (await stage.head()).ends:
                await asyncio.sleep(self.delay)
            stage.emit()


@dataclass(frozen=True)
class Timeout(Toxic):
    """Nothing gets through, and is lost; the connection closes after `timeout` seconds (0: when this is undone)."""

    timeout: float = 0.0

    def __post_init__(self) -> None:
        _at_least("timeout", self.timeout, 0)

    async def work(self, stage: Stage) -> None:
        try:
            async with asyncio.timeout(self.timeout or None):
                while True:
                    await stage.head()
                    stage.drop()
        except TimeoutError:
            stage.close()

    def undo(self, stage: Stage) -> None:
        """Bytes are missing: the connection cannot go on."""
        stage.close()


@dataclass(frozen=True)
class ResetPeer(Toxic):
    """Connections are reset (TCP RST, to both ends) `timeout` seconds after this begins or they open."""

    timeout: float = 0.0

    def __post_init__(self) -> None:
        _at_least("timeout", self.timeout, 0)

    async def work(self, stage: Stage) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    await stage.head()
                    stage.emit()
        except TimeoutError:
            stage.reset()


@dataclass(frozen=True)
class Slicer(Toxic):
    """Data comes in slices of `average_size` ± `size_variation` bytes, with `delay` seconds between them."""

    average_size: int
    size_variation: int = 0
    delay: float = 0.0

    def __post_init__(self) -> None:
        _at_least("average_size", self.average_size, 1)
        _between("size_variation", self.size_variation, 0, self.average_size - 1, "average_size - 1")
        _at_least("delay", self.delay, 0)

    async def work(self, stage: Stage) -> None:
        low, high = self.average_size - self.size_variation, self.average_size + self.size_variation
        while True:
            if (await stage.head()).ends:
                stage.emit()
            else:
                stage.emit(stage.random.randint(low, high))
                await asyncio.sleep(self.delay)


@dataclass(frozen=True)
class LimitData(Toxic):
    """A connection closes once `bytes` bytes have gone through."""

    bytes: int

    def __post_init__(self) -> None:
        _at_least("bytes", self.bytes, 0)

    async def work(self, stage: Stage) -> None:
        left = self.bytes
        while left > 0:
            size = min(len((await stage.head()).data), left)
            stage.emit(size)
            left -= size
        stage.close()


@dataclass(frozen=True)
class Cut(Toxic):
    """Nothing arrives, and nothing is closed. What is sent waits, as TCP would send it again, until this is undone."""

    async def work(self, stage: Stage) -> None:
        await asyncio.Event().wait()


TOXICS: dict[str, type[Toxic]] = {
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slow_close": SlowClose,
    "timeout": Timeout,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "limit_data": LimitData,
    "cut": Cut,
}


async def _until(moment: float) -> None:
    """Wait for a moment of the loop's clock; one that is past costs no turn of the loop."""
    if (wait := moment - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(wait)


def _at_least(name: str, value: float, least: float) -> None:
    if not (isinstance(value, int | float) and least <= value < math.inf):
        raise ValueError(f"{name} is a number from {least:g}; got {value!r}")


def _between(name: str, value: float, least: float, most: float, limit: str) -> None:
    if not (isinstance(value, int | float) and least <= value <= most):
        raise ValueError(f"{name} is a number from {least:g} to {limit} ({most:g}); got {value!r}")
