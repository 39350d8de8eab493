"""Lives of a process that is killed -9 at every one of its steps in turn. Run as a program, for it forks.

    python crashes.py test_crash_outbox.py life FOLDER

`life(folder)` is a coroutine function: what the process does from its start, be it the first or after a crash. Its
steps are each SQL statement of a `MortalDatabase`, and each `step(...)` it calls itself. For n = 1, 2, ... it lives in
a folder of its own: it dies at step n, starts again and dies at step 2n/3, and starts a third time and ends. When the
first life reaches its end, n was its last. Prints one JSON line a folder.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from postoffice.database import Database

LIMIT = 60.0  # seconds for one life; a hanging one is killed, and the run fails
_left = 0  # steps until this process dies; 0: it does not
_log: int | None = None  # a file descriptor for the name of the step that kills it


def step(name: str) -> None:
    """A step of this life: perhaps its last."""
    global _left
    _left -= 1
    if _left == 0:
        if _log is not None:
            os.write(_log, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)


class MortalDatabase(Database):
    """A database whose process may die before each statement, the COMMIT included.

    Without flushes: they guard against a power cut, and a killed process leaves the system's cache as it is.
    """

    def _open(self) -> sqlite3.Connection:
        connection = super()._open()
        connection.execute("PRAGMA synchronous=OFF")
        connection.set_trace_callback(lambda statement: step(" ".join(statement.split())[:60]))
        return connection


def crash_everywhere(file: str, life: str, folder: Path, **environment: str) -> list[dict[str, Any]]:
    """What was killed, in order: {"folder", "steps": [of the first life, of the second]}. For tests."""
    command = [sys.executable, __file__, file, life, str(folder)]
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, **environment, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(file: str, life: str, folder: str) -> None:
    """Fork each life from here, where everything is imported and no thread runs."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run, number, ended = getattr(module, life), 0, False
    while not ended:
        number += 1
        place = Path(folder) / str(number)
        place.mkdir()
        steps = [_live(run, place, number), _live(run, place, 2 * number // 3 + 1)]
        assert _live(run, place, 0) is None
        ended = steps[0] is None
        print(json.dumps({"folder": str(place), "steps": steps}), flush=True)


def _live(life: Any, place: Path, die_at: int) -> str | None:
    """One life; the step it died at, or None when it came to its end."""
    global _left, _log
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _left, _log = die_at, writer
        signal.setitimer(signal.ITIMER_REAL, LIMIT)  # SIGALRM ends a life that hangs
        try:
            asyncio.run(life(place))
            sys.stderr.flush()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as file:
        name = file.read().decode()
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and name:
        return name
    assert status == 0, f"a life in {place.name} ended with status {status}"
    return None


if __name__ == "__main__":
    sys.modules["crashes"] = sys.modules["__main__"]  # a life's `from crashes import step` means this one
    main(*sys.argv[1:])
