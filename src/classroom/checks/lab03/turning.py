"""Check 03.block: a desk that makes reports for its callers by TCP, and answers browsers meanwhile."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import httpx

from classroom.checks.needs import need
from classroom.checks.rehearsal import last_words, words_of
from classroom.checks.result import Result
from classroom.checks.serving import caller, copy_of
from classroom.outcome import Outcome, outcome
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError
from postoffice import Client, PostOfficeError

PAGE = 0.01  # seconds that a page takes, as the cell says
LOOKS = 10  # how often a browser asks while reports are made
SHORTEST, LONGER = 0.6, 6  # seconds that a report takes at least; times as long as all the looks alone
TOGETHER = 0.65  # of the time that reports take one after the other, at the most
LIMIT = 60.0  # seconds; a report takes a few at the most
BLOCKED = (
    "nothing else moves in a process while a handler calculates, or waits without `await`. Let a thread do the waiting:"
    " await asyncio.to_thread(render, data['pages']). The handler that blocks is the one to change, not the other."
)
ONE_BY_ONE = "something lets only one of them in at a time: a lock, or a thread that is waited for without `await`."
SAME_NUMBER = (
    "while one handler awaits, others get their turn: they read the same number before it was counted up. Take the"
    " number and count up in one go, without an await in between."
)
NOT_MADE = "render() takes this long for its printer. Was it called, and waited for?"


async def judge(result: Result, draw: Random, desk: Any) -> None:
    """All conditions of the task."""
    async with copy_of(result, "desk", desk) as twin:
        hint = "its cell begins: %%service desk --on tcp --http"
        need(result, "desk has an HTTP side", twin.plan.http, seen="--http is missing", hint=hint)
        try:
            async with caller(twin) as client, httpx.AsyncClient(base_url=twin.http, timeout=LIMIT) as browser:
                if await makes_one(result, twin, client, draw):
                    await gives_turns(result, client, browser, draw)
        except (PostOfficeError, httpx.HTTPError, ServiceError, OSError) as error:
            seen = f"{type(error).__name__}: {error}"[:500]
            result.judge("desk answers to the end", False, seen=seen, hint=last_words(twin))


async def makes_one(result: Result, desk: ServiceHandle, client: Client, draw: Random) -> bool:
    """A report alone is right, and the first one."""
    pages = draw.randint(20, 40)
    end = await outcome(client.send("report", {"pages": pages}, timeout=LIMIT))
    wanted = {"number": 1, "text": f"{pages} pages"}
    good = end.answer == wanted and type(end.answer["number"]) is int
    hint = f"return the number and what render() gave; {await words_of(desk, not good)}"
    text = "a report alone is right, and has the number 1"
    if not result.judge(text, good, expected=repr(wanted), seen=repr(end), hint=hint):
        return False
    made = end.ms >= 1000 * PAGE * pages * 0.9
    return result.judge("it is printed before it is handed out", made, seen=repr(end), hint=NOT_MADE)


async def gives_turns(result: Result, client: Client, browser: httpx.AsyncClient, draw: Random) -> None:
    """Some reports are asked for at once; a browser asks meanwhile, again and again."""
    alone = await look(browser)
    seconds = max(SHORTEST, LONGER * alone)
    pages = [round(seconds / PAGE) + draw.randint(0, 5) for _ in range(draw.randint(3, 4))]
    began = time.perf_counter()
    reports = [asyncio.create_task(_report(client, number)) for number in pages]
    first = asyncio.create_task(_first_of(reports))
    await asyncio.sleep(0.02)  # all requests have left
    answered = 0
    for _ in range(LOOKS):
        await _get(browser)
        answered += not first.done()
    ends = await asyncio.gather(*reports)
    took = max(at for _, at in ends) - began
    text = f"a browser is answered {LOOKS} times while {len(pages)} reports are made"
    seen = f"{answered} times before the first report was done"
    result.judge(text, answered == LOOKS, expected=f"{LOOKS} times", seen=seen, hint=BLOCKED)
    share = took / (sum(pages) * PAGE)
    text = f"{len(pages)} reports for {len(pages)} callers are made side by side"
    seen = f"{share:.2f} of the time that they take one after the other"
    result.judge(text, share <= TOGETHER, expected=f"at most {TOGETHER}", seen=seen, hint=ONE_BY_ONE)
    numbered(result, pages, [end for end, _ in ends])


def numbered(result: Result, pages: list[int], ends: list[Outcome]) -> None:
    """Each report is its caller's, and has a number of its own."""
    answers = [end.answer if isinstance(end.answer, dict) else {} for end in ends]
    texts, wanted = [one.get("text") for one in answers], [f"{number} pages" for number in pages]
    hint = "each caller gets the report that it asked for: do handlers share a variable?"
    result.judge("each caller gets its own report", texts == wanted, seen=f"{ends!r:.300}", hint=hint)
    numbers, expected = [one.get("number") for one in answers], list(range(2, 2 + len(pages)))
    text = "no number is given twice, and none is left out"
    right = sorted(one for one in numbers if type(one) is int) == expected
    result.judge(text, right, expected=f"{expected}, in any order", seen=f"{numbers}", hint=SAME_NUMBER)


async def look(browser: httpx.AsyncClient) -> float:
    """How many seconds all looks take while nothing else is done."""
    await _get(browser)
    began = time.perf_counter()
    for _ in range(LOOKS):
        await _get(browser)
    return time.perf_counter() - began


async def _get(browser: httpx.AsyncClient) -> None:
    (await browser.get("/health")).raise_for_status()


async def _report(client: Client, pages: int) -> tuple[Outcome, float]:
    """How a request for a report ended, and when."""
    end = await outcome(client.send("report", {"pages": pages}, timeout=LIMIT))
    return end, time.perf_counter()


async def _first_of(reports: list[asyncio.Task[tuple[Outcome, float]]]) -> None:
    await asyncio.wait(reports, return_when=asyncio.FIRST_COMPLETED)
