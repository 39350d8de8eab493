"""The service that a campaign breaks: it writes the number of each message to a file, which is its effect.

What it is told comes by environment: EVENT (the pattern), EFFECTS (the file), GRAVES (its dead-letter queue), and
CRASH ("point:nth", once).
"""

import asyncio
import os
import signal
import time
from typing import Any

from postoffice import Context, PermanentError, Retry, event_pattern, points

EFFECTS = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
DURABLE = "GRAVES" in os.environ
WORK = 0.002  # seconds that the work takes, so that a crash finds some under way
reached = 0


def note(what: str, number: int, attempt: int) -> None:
    """One line, in one write: what a killed process has written stays."""
    os.write(EFFECTS, f"{what} {number} {time.time():.6f} {os.getpid()} {attempt}\n".encode())


def mercy() -> bool:
    """Whether the deadly event may live from now on."""
    return os.path.exists(os.environ["EFFECTS"] + ".mercy")


def crash(point: str, delivery: object) -> None:
    """Die at the nth time that a message reaches the point; the marker says that it has happened."""
    global reached
    wanted, _, nth = os.environ["CRASH"].partition(":")
    marker = os.environ["EFFECTS"] + ".crashed"
    if point == wanted and not os.path.exists(marker):
        reached += 1
        if reached >= int(nth):
            os.close(os.open(marker, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)


if "CRASH" in os.environ:
    points.watchers.append(crash)

RETRY = Retry(attempts=4, initial=0.1, factor=2, jitter=0.5)
PROMISES: dict[str, Any] = {"retry": RETRY, "dead_letter": os.environ["GRAVES"]} if DURABLE else {}


@event_pattern(os.environ["EVENT"], **PROMISES)
async def numbered(data: dict[str, int | str], ctx: Context) -> None:
    number, what = int(data["number"]), data.get("what")
    await asyncio.sleep(WORK)
    if what == "deadly" and not mercy():
        note("failed", number, ctx.attempt)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "poison" or (what == "flaky" and ctx.attempt < 3):
        note("failed", number, ctx.attempt)
        raise PermanentError("it can never be done") if what == "poison" else OSError("not this time")
    note("handled", number, ctx.attempt)
