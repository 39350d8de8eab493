"""Real message brokers for the course: `broker = await start_broker("redis")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classroom.brokers.broker import Broker
    from classroom.brokers.errors import BrokerError, BrokerFailed, NoBroker, NoDisk, NotOurs, PortTaken
    from classroom.brokers.fetching import fetch
    from classroom.brokers.starting import start_broker

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerFailed",
    "NoBroker",
    "NoDisk",
    "NotOurs",
    "PortTaken",
    "fetch",
    "start_broker",
]

_HOMES = {"Broker": "broker", "start_broker": "starting", "fetch": "fetching"}


def __getattr__(name: str) -> Any:
    """Load on first use: `classroom doctor` reads this package with the standard library alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
