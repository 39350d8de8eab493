"""The load of `measure.send`: `python -m classroom.measure_load FOLDER` reads FOLDER/job and writes FOLDER/outcome."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from postoffice import Client, PostOfficeError
from postoffice.service import DeliveryMode

LIMIT = 120.0  # seconds after which no more is sent, for the warm-up and for the measurement


class Job(msgspec.Struct, frozen=True):
    """What to send; see `measure.send`."""

    url: str
    pattern: Any
    data: Any
    n: int
    concurrency: int
    warmup: int
    queue: str | None
    timeout: float
    proto: str | None = None  # its path, with gRPC
    stored: bool = False  # events at least once, in the place of requests: each is answered by the broker, which has it


class Outcome(msgspec.Struct):
    """What came of it. Latencies are in ms and of answered requests only."""

    latencies: list[float] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    unknown: dict[str, int] = msgspec.field(default_factory=dict)
    failure: str = ""


async def run(job: Job) -> Outcome:
    """Warm up, then measure. A service that cannot be reached at all is a failure, not a figure."""
    try:
        delivery: DeliveryMode = "at-least-once" if job.stored else "at-most-once"
        async with await Client.connect(
            job.url, queue=job.queue, proto=job.proto, timeout=job.timeout, delivery=delivery
        ) as client:
            await _closed_loop(client, job, job.warmup)
            return await _closed_loop(client, job, job.n)
    except PostOfficeError as error:
        return Outcome(failure=f"{type(error).__name__}: {error}")


async def _closed_loop(client: Client, job: Job, count: int) -> Outcome:
    latencies: list[float] = []
    failed: Counter[tuple[bool, str]] = Counter()
    begin = time.perf_counter()
    turns = iter(range(count))  # shared: each caller takes the next turn
    callers = (_caller(client, job, turns, begin + LIMIT, latencies, failed) for _ in range(job.concurrency))
    await asyncio.gather(*callers)
    seconds = time.perf_counter() - begin
    errors, unknown = (
        {name: times for (indefinite, name), times in failed.items() if indefinite is kind} for kind in (False, True)
    )
    return Outcome(latencies, seconds, errors, unknown)


async def _caller(
    client: Client,
    job: Job,
    turns: Iterator[int],
    end: float,
    latencies: list[float],
    failed: Counter[tuple[bool, str]],
) -> None:
    clock, send, pattern, data = time.perf_counter, _sender(client, job), job.pattern, job.data
    for _ in turns:
        begin = clock()
        if begin > end:
            return
        try:
            await send(pattern, data)
        except PostOfficeError as error:
            failed[_is_unknown(error), type(error).__name__] += 1
        else:
            latencies.append((clock() - begin) * 1000)


def _sender(client: Client, job: Job) -> Callable[[Any, Any], Awaitable[Any]]:
    """What sends one request; on gRPC the pattern "Desk/Quote" is the method Quote of the service Desk."""
    if job.proto is None:
        return client.emit if job.stored else client.send
    service, _, method = str(job.pattern).partition("/")
    call = getattr(client.service(service), method)
    return lambda _, data: call(data)


def _is_unknown(error: PostOfficeError) -> bool:
    """No answer came, so nobody here can know whether the work was done. An RpcError is an answer."""
    return isinstance(error, TimeoutError | ConnectionError) and error.may_have_happened


def main(folder: Path) -> None:
    job = msgspec.json.decode((folder / "job").read_bytes(), type=Job)
    outcome = asyncio.run(run(job))
    (folder / "outcome").write_bytes(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
