"""A lease: "I am alive and at work on this", for some seconds, said again and again.

A lease that runs out is a guess that its owner is dead. The owner may be alive and only paused (a stopped process, a
long garbage collection, a blocked event loop). So a lease keeps work from being done twice in the usual case; that
nothing is *counted* twice needs the effect's owner to know the key (a fence).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["kept"]

BEATS = 3  # renewals in the time of one lease: two may be missed


@contextlib.asynccontextmanager
async def kept(renew: Callable[[], Awaitable[object]], lease: float) -> AsyncIterator[None]:
    """Renew a lease of `lease` seconds for as long as the block runs. An error of `renew` is tried again later."""
    beat = asyncio.create_task(_beat(renew, lease / BEATS), name="postoffice lease")
    try:
        yield
    finally:
        beat.cancel()
        await asyncio.wait([beat])


async def _beat(renew: Callable[[], Awaitable[object]], pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        with contextlib.suppress(Exception):  # the store is away: the lease may run out, and is only a guess anyway
            await renew()
