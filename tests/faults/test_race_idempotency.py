"""Many processes begin at once, on a database that none has made yet: one does the work, all get its reply."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROCESSES = 6
LIFE = """
import asyncio, os, sys
from postoffice.database import Database
from postoffice.idempotency import once
from postoffice.idempotency_stores import SqliteKeys

async def work():
    os.write(os.open("effects", os.O_APPEND | os.O_CREAT | os.O_WRONLY), b"charged\\n")
    await asyncio.sleep(0.05)
    return os.getpid()

async def main():
    async with Database("keys.db") as db:
        sys.stdin.read()  # until the gate opens for all
        keys = SqliteKeys(db)
        for number in range(5):
            print(number, await once(keys, f"order-{number}", number, work, wait=30))

asyncio.run(main())
"""


def test_processes_at_once(tmp_path: Path) -> None:
    """Five keys, six processes: five effects, and each key's reply is the same everywhere."""
    command = [sys.executable, "-c", LIFE]
    lives = [
        subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for life in lives:
            assert life.stdin is not None
            life.stdin.close()
        outputs = []
        for life in lives:
            assert life.stdout is not None
            outputs.append(life.stdout.read())
            assert life.wait(60) == 0
    finally:
        for life in lives:
            life.kill()
            life.wait()
            assert life.stdout is not None
            life.stdout.close()
    assert len(set(outputs)) == 1, outputs
    assert len(outputs[0].splitlines()) == 5
    assert (tmp_path / "effects").read_text() == "charged\n" * 5
