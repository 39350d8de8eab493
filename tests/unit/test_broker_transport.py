"""The connection that every transport through a broker shares: its keeper, which needs no broker to be looked at."""

from __future__ import annotations

import asyncio

import pytest

from postoffice.transports.nats import NatsTransport


@pytest.mark.parametrize("opens", [False, True])
async def test_closing_ends_though_the_driver_swallows_the_cancellation(opens: bool, monkeypatch: pytest.MonkeyPatch):
    """Some drivers turn a cancellation into an error of theirs, or into success; nobody cancels twice."""
    transport, again = NatsTransport("nats://127.0.0.1:1"), asyncio.Event()

    async def nothing() -> None: ...

    async def swallow() -> None:
        again.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not opens:
                raise OSError("the connection was lost") from None

    monkeypatch.setattr(transport, "_shut", nothing)
    monkeypatch.setattr(transport, "_open", nothing)
    await transport.connect()
    monkeypatch.setattr(transport, "_open", swallow)
    transport._lose(OSError("gone"))
    await asyncio.wait_for(again.wait(), 5)
    await asyncio.wait_for(transport.close(), 5)
