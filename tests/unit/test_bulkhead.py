"""The bulkhead: never more calls under way, never more waiting, in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from postoffice import UsageError
from postoffice.bulkhead import Bulkhead, BulkheadFull


async def test_so_many_run_so_many_wait_the_rest_is_refused() -> None:
    """A hundred come to five places and ten chairs; both numbers are told."""
    bulkhead = Bulkhead("payments", limit=5, queue=10)
    most, under_way, order = 0, 0, []

    async def work(number: int) -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        order.append(number)
        await asyncio.sleep(0.001)
        under_way -= 1

    results = await asyncio.gather(*(bulkhead.call(work, n) for n in range(100)), return_exceptions=True)
    refused = [one for one in results if one is not None]
    assert most == 5
    assert order == list(range(15))
    assert len(refused) == bulkhead.refused == 85
    assert all(isinstance(one, BulkheadFull) for one in refused)
    assert "5 of at most 5 calls to 'payments' are under way, and 10 of at most 10 wait" in str(refused[0])
    assert repr(bulkhead) == "<Bulkhead 'payments': 0 of 5 under way, 0 of 10 waiting, 85 refused>"


async def test_a_place_is_given_back_whatever_ends_the_call() -> None:
    """An error, a cancelled call, a cancelled wait."""
    bulkhead = Bulkhead(limit=1, queue=1)
    with pytest.raises(ValueError, match="in the work"):
        async with bulkhead:
            raise ValueError("in the work")
    running = asyncio.create_task(bulkhead.call(asyncio.sleep, 60))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(bulkhead.call(asyncio.sleep, 60))
    await asyncio.sleep(0)
    assert (bulkhead.running, bulkhead.waiting) == (1, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (bulkhead.running, bulkhead.waiting) == (1, 0)
    running.cancel()
    await asyncio.wait([running])
    assert await bulkhead.call(asyncio.sleep, 0, "done") == "done"


async def test_a_wait_has_its_limit() -> None:
    """After which the caller is told, and its chair is free."""
    bulkhead = Bulkhead(limit=1, queue=5, wait=0.02)
    async with bulkhead:
        with pytest.raises(BulkheadFull, match=r"No place was free within 0\.02 s"):
            await bulkhead.call(asyncio.sleep, 0)
        assert bulkhead.waiting == 0
    await bulkhead.call(asyncio.sleep, 0)


@pytest.mark.parametrize("options", [{"limit": 0}, {"queue": -1}, {"wait": 0}])
def test_numbers_that_make_no_bulkhead(options: dict[str, Any]) -> None:
    """Said at once."""
    with pytest.raises(UsageError, match="limit is at least 1, queue 0, wait positive"):
        Bulkhead(**options)
