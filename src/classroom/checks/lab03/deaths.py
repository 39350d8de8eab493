"""Check 03.predict: what was written down before is compared with what the wire and three dead services do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from classroom.checks.guesses import compare, need_answers
from classroom.checks.needs import no_verdict
from classroom.checks.result import Result
from classroom.outcome import outcome
from classroom.service_handle import ServiceHandle
from classroom.service_plan import Plan
from postoffice import Client

TEXT = '"Zoë 🚀"'  # as the task says
PATIENCE, TRIES = 0.3, 3  # seconds that a caller waits, and how often it calls
CLOSES = 10.0  # seconds in which a service hangs up; it does so at once
SILENCE = 0.5  # seconds without a word, after which a service is said to wait
BANK = """
import asyncio
from postoffice import message_pattern

book = []

@message_pattern("charge")
async def charge(data, ctx):
    book.append(data["amount"])
    await asyncio.sleep(data.get("takes", 0))

@message_pattern("book")
async def read_book():
    return book
"""
QUESTIONS = {
    "length": f"the number in front of the # for the text {TEXT}",
    "one too small": "the service, when that number is one too small",
    "one too large": "the service, when that number is one too large",
    "killed": "the error, when the service is killed in the middle of the work",
    "gone": "the error, when it was killed before the call",
    "paused": "the error, when it is paused",
    "perhaps done": "the cases in which the work may have been done",
    "charges": f"charges in the book of the paused service, {TRIES} calls later",
}
REASONS: dict[str, Mapping[Any, str]] = {
    "length": {
        7: "that is the number of code points. The rocket is one of them, and two UTF-16 code units.",
        11: "that is the number of bytes in UTF-8. The number counts UTF-16 code units.",
        6: "the quotes are part of the text.",
        16: "that is the number of bytes in UTF-16: two for each code unit.",
    },
    "one too small": {
        "waits": "it has all that it was promised, and more. The text is cut, so it is no JSON.",
        "answers": "the text is cut, so it is no JSON: the service cannot even read the id of an answer.",
    },
    "one too large": {
        "closes": "nothing is wrong yet, as it sees it: one more code unit was promised.",
        "answers": "it does not look at a text before all of it is there: one more code unit was promised.",
    },
    "killed": {
        "RequestTimeout": "the system closes the connections of a dead process: no need to wait.",
        "ConnectError": "there was a connection, and the request had gone through it.",
    },
    "gone": {
        "ConnectionLost": "the client has seen that connection end. It tries to make a new one, and nobody listens.",
        "RequestTimeout": "nobody listens at that address, and the system says so at once.",
    },
    "paused": {
        "ConnectionLost": "a paused process keeps its connections: from here it looks like a slow one.",
        "ConnectError": "a paused process keeps its connections, and the system even takes new ones for it.",
    },
    "perhaps done": {
        "killed": "the paused one has the request in its socket: it does the work when it goes on.",
        "paused": "the killed one may have died a moment after the work.",
        "gone, killed, paused": "where there was no connection, nothing was sent.",
        "": "look at the last question: what does the book say?",
    },
    "charges": {
        1: "it cannot know that the three calls are meant as one.",
        0: "the calls lie in its socket until it goes on.",
    },
}
LOOK_BACK = "read the names that the task gives, then ask what has left the caller, and who is there to notice."


async def judge(result: Result, prediction: Any) -> None:
    """All conditions: one for each question."""
    need_answers(result, prediction, QUESTIONS)
    if type(prediction["perhaps done"]) is list:
        prediction = prediction | {"perhaps done": sorted(prediction["perhaps done"], key=str)}
    with no_verdict(result, lambda: "it starts a service of its own: is this machine very busy? Check again."):
        happened = await experiment()
    compare(result, prediction, happened, QUESTIONS, REASONS, LOOK_BACK)


async def experiment() -> dict[str, Any]:
    """Do what the task describes to a bank, and look."""
    plan = Plan(BANK, "tcp", lambda: None, "at-most-once", None, 1, False)
    bank = ServiceHandle(f"bank_{secrets.token_hex(3)}", plan, lambda _: False)
    bank.deploy(plan)
    try:
        await bank.ready()
        return await _lengths(bank) | await _ends(bank)
    finally:
        bank.kill()


async def _lengths(bank: ServiceHandle) -> dict[str, Any]:
    right = len(TEXT.encode("utf-16-le")) // 2
    small, large = [await _word(bank, right + wrong) for wrong in (-1, +1)]
    return {"length": right, "one too small": small, "one too large": large}


async def _word(bank: ServiceHandle, length: int) -> str:
    """What the service does with the text behind this length."""
    address = urlsplit(bank.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"{length}#{TEXT}".encode())
        limit = CLOSES if length < len(TEXT.encode("utf-16-le")) // 2 else SILENCE
        return "answers" if await asyncio.wait_for(reader.read(1000), limit) else "closes"
    except ConnectionError:
        return "closes"
    except TimeoutError:
        return "waits"
    finally:
        writer.close()


async def _ends(bank: ServiceHandle) -> dict[str, Any]:
    """How a call ends when the bank is killed meanwhile, was killed before, is paused; and what was charged."""
    async with await Client.connect(bank.url, timeout=CLOSES) as client:
        meanwhile = asyncio.create_task(outcome(client.send("charge", {"amount": 10, "takes": 2 * CLOSES})))
        for _ in range(500):
            if await client.send("book"):  # the work has begun
                break
            await asyncio.sleep(0.01)
        bank.kill()
        ends = {"killed": await meanwhile}
        for _ in range(500):  # the last of its sockets may close a moment after the first
            if not bank.alive:
                break
            await asyncio.sleep(0.01)
        ends["gone"] = await outcome(client.send("charge", {"amount": 10}))
        await bank.restart()
        await client.send("book")
        bank.pause()
        for _ in range(TRIES):
            ends["paused"] = await outcome(client.send("charge", {"amount": 10}, timeout=PATIENCE))
        await bank.resume()
        charges = len(await client.send("book"))
    words = {name: type(end.error).__name__ for name, end in ends.items()}
    perhaps = sorted(name for name, end in ends.items() if end.error is not None and end.error.may_have_happened)
    return words | {"perhaps done": perhaps, "charges": charges}
