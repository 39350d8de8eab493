"""Check 04.follow: an answer that comes in pieces, and may break off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

from classroom.brokers.ports import HOST, Port
from classroom.checks.asking import Answer, ask
from classroom.checks.lab04.choosing import serving
from classroom.checks.needs import need_function
from classroom.checks.result import Result
from postoffice import RpcError, message_pattern

PATIENCE = 0.5  # seconds, where the answer breaks off
SLOWEST = 8  # times its patience
ENDS = ("complete", "refused", "not done", "unknown")
PLACES = ("packed", "in the van", "on the train", "at the depot", "on the road", "at the door")
LAST = "send gives the last value only. stream gives each: async for place in client.stream(...)."
KEPT = "what was seen before the end was seen: keep the list outside the `try`."
DEAF = "it waits for the next piece without a limit of `patience`: timeout=patience, in the call of stream."
WORDS = "which error means which end? RpcError is an answer; error.may_have_happened tells the others apart."


async def judge(result: Result, draw: Random, follow: Any) -> None:
    """All conditions of the task; the service that it follows is ours."""
    need_function(result, "follow", follow, "async def follow(...):")
    for kind in ("complete", "refused", "unknown", "not done"):
        if not await tried(result, follow, draw, kind):
            return
    await finds_nobody(result, follow)


async def tried(result: Result, follow: Any, draw: Random, kind: str) -> bool:
    """One stream, of places and with an end drawn by lot."""
    number, places = draw.randint(1, 999), draw.sample(PLACES, draw.randint(2, 4))

    async def track(asked: int) -> AsyncIterator[str]:
        for place in places if asked == number else ():
            yield place
        if kind == "refused":
            raise RpcError("the rest is secret")
        if kind == "unknown":
            await asyncio.sleep(30)

    pattern = "trace" if kind == "not done" else "track"
    patience = PATIENCE if kind == "unknown" else 5.0
    port = Port()
    url = f"tcp://{HOST}:{port.number}"
    try:
        async with serving(message_pattern(pattern)(track), url) as service:
            service.grace = 0.1
            began = time.perf_counter()
            told = await ask(follow, url, number, patience, limit=2 * SLOWEST * PATIENCE)
            seconds = time.perf_counter() - began
    finally:
        port.release()
    if kind == "unknown":
        late = seconds > SLOWEST * PATIENCE
        text = "the answer breaks off: it ends by its deadline"
        seen = f"after {seconds / PATIENCE:.1f} times its patience"
        if not result.judge(text, not late, seen=seen, hint=DEAF):
            return False
    wanted = {"seen": [] if kind == "not done" else places, "end": kind}
    text = {
        "complete": "all pieces, in order",
        "refused": "the service ends the answer with an error",
        "unknown": "the answer breaks off: what was seen, and 'unknown'",
        "not done": "a service without this pattern: 'not done'",
    }[kind]
    return result.judge(text, told.value == wanted, expected=repr(wanted), seen=repr(told), hint=_why(told, wanted))


def _why(told: Answer, wanted: dict[str, Any]) -> str:
    if told.kind == "NotImplementedError":
        return "write this part first."
    if type(told.value) is not dict or {*told.value} != {"seen", "end"}:
        return f"{WORDS} Return a dict with 'seen' and 'end'." if told.kind else "return a dict with 'seen' and 'end'."
    if told.value["seen"] != wanted["seen"]:
        return LAST if wanted["end"] == "complete" else KEPT
    return WORDS


async def finds_nobody(result: Result, follow: Any) -> None:
    """Nobody listens at the address."""
    port = Port()
    try:
        told = await ask(follow, f"tcp://{HOST}:{port.number}", 7, 1.0)
    finally:
        port.release()
    wanted = {"seen": [], "end": "not done"}
    hint = "ConnectError: connecting belongs into the `try`, too."
    text = "where nobody listens it is 'not done'"
    result.judge(text, told.value == wanted, expected=repr(wanted), seen=repr(told), hint=hint)
