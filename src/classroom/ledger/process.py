"""The ledger's process: `python -m classroom.ledger.process`. Two addresses: one to write, one to read and to break.

The write address takes one call a connection, a line of JSON:

    {"kind": "charge", "id": 7, "amount": 10, "key": "k1", "fields": {}, "caller": {"service": "payments", "pid": 4711}}

and answers {"answer": {...}} or {"error": {"status": 409, "message": "..."}}. The other address wants the token that
only the process that started this one has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from classroom.ledger.door import MOST_CALLS, Caller, Door, LostReply
from classroom.ledger.store import Call, Conflict, Store
from classroom.ledger.wire import Refused

LONGEST = 60.0  # seconds that a call can be made to take


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """What the ledger was told to do wrong. `failing`: how many calls are still to fail; None is all of them."""

    slow: Annotated[float, msgspec.Meta(ge=0, le=LONGEST)] = 0.0
    failing: Annotated[int, msgspec.Meta(ge=0)] | None = 0
    after_effect: bool = False
    down: bool = False


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """What the read address takes. `set` changes some faults, and answers with what all were before."""

    token: str
    op: Literal["rows", "set"]
    after: int = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    faults: dict[str, Any] = {}


class Process:
    """The store, its faults, and the two doors."""

    def __init__(self, store: Store, port: int) -> None:
        self.store, self.port = store, port
        self.token = secrets.token_hex(16)
        self.faults = Faults()
        self.write, self.read = Door(self._write), Door(self._read)

    async def start(self) -> None:
        await self.write.open(self.port)
        await self.read.open(0)

    async def _write(self, line: bytes, caller: Caller) -> Any:
        call, at = msgspec.json.decode(line, type=Call), time.time()
        if self.faults.slow:
            await asyncio.sleep(self.faults.slow)
        failing = self._fails()
        if failing and not self.faults.after_effect:
            self.store.fail(call, at)
            raise Refused(503, "the ledger fails, as it was told to. Nothing was done. Try again later.")
        try:
            answer = self.store.record(call, at, replied=not (failing or caller.gone))
        except Conflict as error:
            raise Refused(409, str(error)) from None
        if failing:
            raise LostReply
        return answer

    def _fails(self) -> bool:
        if self.faults.failing is None:
            return True
        fails, self.faults.failing = self.faults.failing > 0, max(0, self.faults.failing - 1)
        return fails

    async def _read(self, line: bytes, caller: Caller) -> Any:
        command = msgspec.json.decode(line, type=Command)
        if not secrets.compare_digest(command.token.encode(), self.token.encode()):
            raise Refused(403, "that is not this ledger's token. Reading is for whoever started the ledger.")
        if command.op == "rows":
            return self.store.rows(command.after, command.limit)
        return await self._set(command.faults)

    async def _set(self, changed: dict[str, Any]) -> dict[str, Any]:
        before = msgspec.structs.asdict(self.faults)
        faults = msgspec.convert(before | changed, Faults)
        if faults.down and not self.faults.down:
            self.write.close()
        elif self.faults.down and not faults.down:
            await self.write.open(self.port)
        self.faults = faults
        return before


async def serve(folder: Path, port: int, ready_fd: int) -> None:
    """Be the ledger until the process ends. Raises OSError when the port is taken."""
    process = Process(Store(folder / "ledger.sqlite"), port)
    await process.start()
    with os.fdopen(ready_fd, "w") as pipe:
        print(json.dumps({"port": process.read.port, "token": process.token}), file=pipe)
    await asyncio.Event().wait()


def main() -> None:
    """The command line; the book (book.py) calls it."""
    parser = argparse.ArgumentParser(prog="python -m classroom.ledger.process", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MOST_CALLS if most == resource.RLIM_INFINITY else min(most, 4 * MOST_CALLS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    asyncio.run(serve(options.folder, options.port, options.ready_fd))


if __name__ == "__main__":
    main()
