"""Kernels that are killed, in the middle of a start or of a run, leave no process, no container and no folder.

The short form kills 4 for each engine; the long one, `pytest -m long tests/brokers/test_kernels.py`, kills 50.
"""

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from classroom_help import Kernel, eventually, marked

KERNEL = """
import asyncio
from classroom.brokers import start_broker
from classroom.supervisor import supervisor

async def main():
    print(supervisor().label, flush=True)
    await asyncio.gather(*(start_broker(kind, engine={engine!r}) for kind in {kinds}))
    await asyncio.sleep(600)

asyncio.run(main())
"""
KINDS = ["redis", "nats", "rabbitmq", "mosquitto"]  # Kafka has no image everywhere; as a process it is one like these
SEED = 1865
LATEST = 8.0  # seconds; RabbitMQ takes about 4 to start, so about half of the kernels die in mid-start


def containers_of(owner: str) -> str:
    """The containers with this owner's label, running or not, one a line."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"label=dead-letter-office.owner={owner}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def kill_one(engine: str, after: float, folder: Path) -> int:
    """Start a kernel with every broker, kill it `after` seconds; the number of processes that it had then."""
    kernel = Kernel(KERNEL.format(engine=engine, kinds=KINDS), folder)
    owner = kernel.line()
    assert owner, "the kernel did not get as far as its supervisor"
    with suppress(subprocess.TimeoutExpired):
        code = kernel.process.wait(after)
        pytest.fail(f"the kernel ended by itself within {after:.2f} s, exit code {code}: its stderr is above")
    had = len(marked(kernel.mark))
    kernel.kill()
    if engine == "container":
        eventually(lambda: not containers_of(owner), what=f"the end of the containers of {owner}")
    kernel.nothing_is_left()
    return had


def campaign(engine: str, kernels: int, folder: Path) -> None:
    """Two at a time, as two courses on one machine. The moments cover the whole time, shuffled by the seed."""
    random_ = random.Random(SEED)
    moments = [LATEST * (number + random_.random()) / kernels for number in range(kernels)]
    random_.shuffle(moments)
    with ThreadPoolExecutor(2) as two:
        folders = [folder / f"{number}" for number in range(kernels)]
        had = list(two.map(lambda moment, folder: kill_one(engine, moment, folder), moments, folders))
    print(f"{kernels} kernels killed, {engine}: {min(had)} to {max(had)} processes each, none left")
    if engine == "process":
        assert max(had) >= 2 + len(KINDS) + 1  # kernel, keeper, the brokers, epmd: some died in mid-run


@pytest.mark.timeout(300)
def test_killed_kernels_leave_nothing(engine: str, serve, tmp_path: Path):
    for kind in KINDS:
        serve(kind, engine)
    campaign(engine, 4, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_fifty_killed_kernels_leave_nothing(engine: str, serve, tmp_path: Path):
    for kind in KINDS:
        serve(kind, engine)
    campaign(engine, 50, tmp_path)
