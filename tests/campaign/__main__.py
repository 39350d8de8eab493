"""`make faults`: the whole table."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path

from .breaks import BREAKS
from .cell import Row
from .configs import CONFIGS
from .table import details, markdown, table
from .theatre import Theatre, cells

KEPT = Path(".faults.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="every transport, broken in every way")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 1 (default 3)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="cells whose name has this text")
    parser.add_argument("--messages", type=int, default=1000, help="messages of a cell (default 1000)")
    parser.add_argument("--budget", type=float, default=600, metavar="MINUTES", help="begin no cell after so long")
    parser.add_argument("--resume", action="store_true", help=f"leave out the cells that are in {KEPT} already")
    parser.add_argument("--engine", choices=["container", "process"], help="what runs the brokers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed else list(range(1, options.seeds + 1))
    chosen = [cell for cell in cells(CONFIGS, BREAKS, seeds) if all(text in str(cell) for text in options.only)]
    logging.getLogger("postoffice").setLevel(logging.CRITICAL)  # what is broken here is meant to be
    rows = kept() if options.resume else []
    KEPT.write_text("".join(line(row) for row in rows), encoding="utf-8")
    done = {(row.config, row.fault, row.seed) for row in rows}
    asyncio.run(play([cell for cell in chosen if cell.key not in done], rows, options))
    print(table(rows))
    print("\n".join(details(rows)))
    if options.markdown:
        engine = options.engine or "whichever engine came first"
        how = f"{options.messages:,} messages a cell, seeds {', '.join(map(str, seeds))}, brokers by {engine}."
        options.markdown.write_text(markdown(rows, how), encoding="utf-8")
    left = len(chosen) - len(rows)
    print(
        f"{len(rows)} cells, {sum(not row.good for row in rows)} not as expected"
        + (f", {left} left" if left > 0 else "")
    )
    return any(not row.good for row in rows)


async def play(chosen: list, rows: list[Row], options: argparse.Namespace) -> None:  # type: ignore[type-arg]
    """Run the cells one after the other, and keep each row as soon as it is there."""
    end = time.monotonic() + options.budget * 60
    async with Theatre(options.engine) as theatre:
        for number, cell in enumerate(chosen, 1):
            if time.monotonic() > end:
                return
            row = await theatre.play(cell, options.messages)
            rows.append(row)
            keep(row)
            verdict = "as expected" if row.good else f"NOT as expected: {row.error or row.offences[0]}"
            print(f"{number}/{len(chosen)} {cell}: lost {row.lost}, again {row.duplicated}, {verdict}", flush=True)


def kept() -> list[Row]:
    text = KEPT.read_text(encoding="utf-8") if KEPT.exists() else ""
    return [Row(**json.loads(one)) for one in text.splitlines()]


def keep(row: Row) -> None:
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(line(row))


def line(row: Row) -> str:
    return json.dumps(asdict(row)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
