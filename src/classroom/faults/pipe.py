"""One direction of one connection of a link: what comes in, the toxics on its way, and what goes out."""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random
from typing import NamedTuple, Protocol

from classroom.faults.toxics import Toxic

END, RESET = "end", "reset"


class Chunk(NamedTuple):
    """Bytes on their way; or, after them, how the sender ended: by END (FIN) or by RESET (RST)."""

    data: bytes
    arrived: float  # of the loop's clock
    ends: str = ""


class Sink(Protocol):
    """Where a pipe ends: the socket of the other side."""

    full: bool

    def deliver(self, chunk: Chunk) -> None: ...


class Source(Protocol):
    """Where it begins; it can be made to wait."""

    def hold(self, held: bool) -> None: ...


class Ends(Protocol):
    """What can end the whole connection."""

    def close(self) -> None: ...
    def reset(self) -> None: ...


class Pipe:
    """One direction ("upstream" or "downstream") of the connection of this number."""

    def __init__(self, number: int, direction: str, source: Source, sink: Sink, connection: Ends) -> None:
        self.number, self.direction = number, direction
        self.source, self.sink, self.connection = source, sink, connection
        self.stages: list[Stage] = []
        self._clock = asyncio.get_running_loop().time

    def take(self, data: bytes, ends: str = "") -> None:
        """From the source."""
        self.pass_on(Chunk(data, self._clock(), ends), 0)

    def pass_on(self, chunk: Chunk, index: int) -> None:
        """To the stage of this index, or out after the last one."""
        if index < len(self.stages):
            self.stages[index].put(chunk)
        else:
            self.sink.deliver(chunk)
        self.regulate()

    def regulate(self) -> None:
        """Make the source wait while more is held than a toxic or the other side takes."""
        self.source.hold(self.sink.full or any(stage.held > stage.toxic.buffer for stage in self.stages))

    def add(self, toxic: Toxic, seed: int) -> None:
        """Put a toxic at the end of the way. Its choices depend on the seed, the connection's number, the direction."""
        self.stages.append(Stage(self, toxic, Random(f"{seed} {self.number} {self.direction}")))

    def remove(self, toxic: Toxic) -> None:
        """Take a toxic away; what it does with what it holds is its own matter."""
        for stage in [one for one in self.stages if one.toxic is toxic]:
            toxic.undo(stage)
        self.regulate()

    def end(self) -> None:
        """The connection is gone: so is what was on its way."""
        for stage in self.stages:
            stage.task.cancel()
        self.stages.clear()


class Stage:
    """One toxic on one pipe: the chunks that it holds, and the task that passes them on."""

    def __init__(self, pipe: Pipe, toxic: Toxic, random: Random) -> None:
        self.toxic, self.random = toxic, random
        self.held = 0  # bytes
        self._pipe = pipe
        self._chunks: deque[Chunk] = deque()
        self._filled = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(toxic.work(self))

    def put(self, chunk: Chunk) -> None:
        """One more chunk, behind the others."""
        self._chunks.append(chunk)
        self.held += len(chunk.data)
        self._filled.set()

    async def head(self) -> Chunk:
        """The first chunk, as soon as there is one; it stays until `emit` or `drop`."""
        while not self._chunks:
            self._filled.clear()
            await self._filled.wait()
        return self._chunks[0]

    def emit(self, size: int | None = None) -> None:
        """Pass on the first chunk, or its first `size` bytes; the rest of it is the first chunk then."""
        chunk = self._chunks.popleft()
        if size is not None and size < len(chunk.data):
            self._chunks.appendleft(chunk._replace(data=chunk.data[size:]))
            chunk = chunk._replace(data=chunk.data[:size], ends="")
        self.held -= len(chunk.data)
        arrived = asyncio.get_running_loop().time()
        self._pipe.pass_on(chunk._replace(arrived=arrived), self._pipe.stages.index(self) + 1)

    def drop(self) -> None:
        """Lose the first chunk."""
        self.held -= len(self._chunks.popleft().data)
        self._pipe.regulate()

    def release(self) -> None:
        """Leave the pipe; what is held goes on."""
        self.task.cancel()
        while self._chunks and self in self._pipe.stages:
            self.emit()
        if self in self._pipe.stages:
            self._pipe.stages.remove(self)

    def close(self) -> None:
        """Close the connection, after what has gone on."""
        self._pipe.connection.close()

    def reset(self) -> None:
        """Reset the connection."""
        self._pipe.connection.reset()
