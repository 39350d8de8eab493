"""outcome(): every way a call can end, told in a line, with a real service."""

from __future__ import annotations

import asyncio
import re

import pytest

from classroom.outcome import outcome
from postoffice import Client, RpcError, Service, message_pattern


@message_pattern("ask")
async def ask(data):
    if data == "no":
        raise RpcError("not today")
    await asyncio.sleep(data)
    return "yes"


@pytest.mark.parametrize(
    ("pattern", "data", "told"),
    [
        ("ask", 0, r"answered 'yes' after \d+\.\d ms"),
        ("ask", "no", r"RpcError after \d+\.\d ms: not today"),
        ("ask", 60, r"RequestTimeout after \d+\.\d ms; it MAY have happened"),
        ("nobody", 0, r"NoHandlerError after \d+\.\d ms; it did not happen"),
    ],
)
async def test_each_end_of_a_call_is_told(pattern, data, told):
    """Answer, refusal, unknown and certain failure read differently."""
    async with (
        Service(ask, url="tcp://127.0.0.1:0", grace=0.1) as service,
        await Client.connect(service.url) as client,
    ):
        end = await outcome(client.send(pattern, data, timeout=0.5))
    assert re.fullmatch(told, repr(end))


async def test_other_errors_are_not_part_of_the_answer():
    """A mistake in the notebook shows as what it is."""

    async def mistake():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await outcome(mistake())
