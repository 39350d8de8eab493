"""How fast is it? `report = await measure.send(users.url, "user.count", {}, n=2000, concurrency=8)`.

The load comes from a process of its own, so that the notebook's event loop is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from classroom.faults.link import is_linked
from classroom.measure_load import LIMIT, Job, Outcome
from classroom.measure_report import Plot, Report, percentile
from classroom.supervisor import supervisor

__all__ = ["MeasureError", "Plot", "Report", "emit", "percentile", "send"]

MOST_REQUESTS = 1_000_000
MOST_AT_ONCE = 1024
MOST_WARMUP = 1000  # requests; connections and caches are warm long before


class MeasureError(Exception):
    """The measurement could not be made. The message says what to do next."""


async def send(
    url: str,
    pattern: str | Mapping[str, Any],
    data: Any = None,
    *,
    n: int = 2000,
    concurrency: int = 1,
    warmup: int | None = None,
    queue: str | None = None,
    proto: str | Path | None = None,
    timeout: float = 5.0,
) -> Report:
    """Send `n` requests, `concurrency` at a time, and report how long the answers took.

    It is a closed loop: each of `concurrency` callers waits for its answer before it sends again. When the service
    stalls, the callers stop sending, so the requests that real users would have sent meanwhile are missing from the
    figures: one long stall of a second shows as few slow requests. This is called coordinated omission; percentiles
    of a closed loop are too good wherever users do not wait for each other.

    Args:
        url, queue, proto: as for `Client.connect`; pattern, data: as for `client.send`. On gRPC (with `proto`) the
            pattern is service and method: "Desk/Quote".
        n: requests that are measured, 1 to 1,000,000.
        concurrency: requests under way at once, 1 to 1024.
        warmup: requests before, not measured; None: a tenth of `n`, at least one per caller, at most 1000.
        timeout: seconds to wait for one answer. No answer in time is counted as an unknown outcome, not as an error.

    After 120 seconds no more is sent, and the report says how many of `n` were.

    Raises MeasureError: an argument is out of its bounds, nobody answers at `url`, or the load process failed.
    """
    job = _job(url, pattern, data, n, concurrency, warmup, queue, timeout)
    return await _report(msgspec.structs.replace(job, proto=proto and _absolute(proto)))


async def emit(
    url: str,
    pattern: str,
    data: Any = None,
    *,
    n: int = 2000,
    concurrency: int = 1,
    warmup: int | None = None,
    queue: str | None = None,
    timeout: float = 5.0,
) -> Report:
    """Emit `n` events at least once, and report how long the broker took to say that it has stored each.

    Arguments, bounds and errors are those of `send`. On MQTT somebody must have subscribed before.
    """
    job = _job(url, pattern, data, n, concurrency, warmup, queue, timeout)
    return await _report(msgspec.structs.replace(job, stored=True))


async def _report(job: Job) -> Report:
    outcome = await _run(job)
    if outcome.failure:
        raise MeasureError(f"nothing was measured. {outcome.failure}")
    shown = job.pattern if isinstance(job.pattern, str) else json.dumps(job.pattern)
    transport = job.url.partition(":")[0] + (" through a link" if is_linked(job.url) else "")
    size = len(msgspec.json.encode(job.data))
    return Report(
        shown, transport, job.n, job.concurrency, job.warmup, size, outcome.seconds, tuple(sorted(outcome.latencies)),
        outcome.errors, outcome.unknown,
    )  # fmt: skip


def _job(
    url: str,
    pattern: str | Mapping[str, Any],
    data: Any,
    n: int,
    concurrency: int,
    warmup: int | None,
    queue: str | None,
    timeout: float,
) -> Job:
    _within("n", n, 1, MOST_REQUESTS)
    _within("concurrency", concurrency, 1, MOST_AT_ONCE)
    warmup = min(max(n // 10, concurrency), MOST_WARMUP) if warmup is None else warmup
    _within("warmup", warmup, 0, MOST_REQUESTS)
    if not 0 < timeout <= LIMIT:
        raise MeasureError(f"timeout must be more than 0 and at most {LIMIT:g} seconds, not {timeout!r}")
    try:
        msgspec.json.encode([pattern, data])
    except TypeError as error:
        raise MeasureError(f"pattern and data must be what JSON can hold: {error}") from None
    return Job(url, pattern, data, n, concurrency, warmup, queue, timeout)


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


def _within(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise MeasureError(f"{name} must be a whole number from {least:,} to {most:,}, not {value!r}")


async def _run(job: Job) -> Outcome:
    folder = supervisor().folder("measure-")
    child = None
    try:
        (folder / "job").write_bytes(msgspec.json.encode(job))
        argv = [sys.executable, "-m", "classroom.measure_load", str(folder)]
        child = supervisor().spawn(argv, log=folder / "log")
        code = await child.wait(timeout=2 * LIMIT + 60)  # warm-up and measurement each end by themselves at LIMIT
        if code != 0:
            raise MeasureError("\n".join([f"the load process ended with exit code {code}:", *child.tail(20)]))
        result = (folder / "outcome").read_bytes()
        return await asyncio.to_thread(msgspec.json.decode, result, type=Outcome)
    finally:
        if child is not None:
            child.kill()
        supervisor().forget(folder)
