"""An event store's process killed -9 at every step: the state is the fold of the log, and so is every projection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crashes import MortalDatabase, crash_everywhere

from postoffice.eventstore import Event, EventStore, New


def add(state: int, event: Event) -> int:
    return state + int(event.data)


async def life(folder: Path) -> None:
    """Bring the account to four deposits, with a snapshot after each, and its projection up to date."""
    async with MortalDatabase(folder / "events.db") as db:
        db.tables("CREATE TABLE IF NOT EXISTS sums (stream TEXT PRIMARY KEY, total INTEGER, count INTEGER)")
        store = EventStore(db)

        def project(tx: Any, event: Event) -> None:
            tx.execute("INSERT OR IGNORE INTO sums VALUES (?, 0, 0)", (event.stream,))
            tx.execute("UPDATE sums SET total = total + ?, count = count + 1", (event.data,))

        while (loaded := await store.load("account", add, 0))[1] < 4:
            total, version = loaded
            await store.append(
                "account", [New("deposited", 2**version), New("deposited", 2 ** (version + 1))], expected=version
            )
            await store.snapshot("account", total + 3 * 2**version, version + 2)
            await store.project("sums", project)
        await store.project("sums", project)
        sums = await db.run(lambda tx: tx.execute("SELECT * FROM sums").fetchall())
        events = [(e.position, e.version, e.data) async for e in store.replay()]
        (folder / "end").write_text(json.dumps([loaded, sums, events]))


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Twice each: whole appends, no gap, no event projected twice."""
    for one in crash_everywhere(__file__, "life", tmp_path):
        end = json.loads((Path(one["folder"]) / "end").read_text())
        assert end == [[15, 4], [["account", 15, 4]], [[1, 1, 1], [2, 2, 2], [3, 3, 4], [4, 4, 8]]], one
