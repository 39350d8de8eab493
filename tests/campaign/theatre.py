"""The brokers of a campaign: each started when first wanted, mended after a cell that broke it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from classroom.brokers import BrokerError, start_broker

from .breaks import Break
from .cell import Row, run_cell
from .configs import Config

DISK = "96M"  # a disk of its own, for the break that fills it

__all__ = ["Play", "Theatre", "cells"]


@dataclass(frozen=True)
class Play:
    """One cell to be run."""

    config: Config
    fault: Break
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.config.name, self.fault.name, self.seed

    @property
    def broker(self) -> str:
        """The name of the broker that it runs on: cells of the same set-up share one."""
        disk = "disk" if self.fault.needs == "disk" else ""
        return " ".join(filter(None, ["campaign", self.config.broker, *map(str, self.config.settings.values()), disk]))

    def __str__(self) -> str:
        return f"{self.config.name} | {self.fault.name} | seed {self.seed}"


def cells(configs: Iterable[Config], breaks: Iterable[Break], seeds: Iterable[int]) -> Iterator[Play]:
    """Every cell that makes sense: TCP has no broker, and what is never acknowledged cannot crash before its ack."""
    for config in configs:
        for fault in breaks:
            if (fault.durable and not config.durable) or (fault.needs and config.broker is None):
                continue
            yield from (Play(config, fault, seed) for seed in seeds)


class Theatre:
    """Runs cells, one after the other. Each set-up of a broker runs once, with a link before it."""

    def __init__(self, engine: str | None) -> None:
        self._engine = engine
        self._brokers: dict[str, Any] = {}
        self._missing: dict[str, str] = {}

    async def play(self, cell: Play, messages: int) -> Row:
        """A row in any case: a cell that cannot run says why."""
        try:
            broker = await self._broker(cell)
            return await run_cell(cell.config, cell.fault, cell.seed, broker, messages)
        except Exception as error:
            await self._away(cell)
            return Row(*cell.key, error=f"{type(error).__name__}: {error}")

    async def _broker(self, cell: Play) -> Any:
        config = cell.config
        if config.broker is None:
            return None
        if (key := cell.broker) not in self._brokers:
            more = {"disk": DISK} if cell.fault.needs == "disk" else {}
            with contextlib.redirect_stdout(None):
                self._brokers[key] = await start_broker(
                    config.broker, engine=self._engine, name=key, link=True, **config.settings, **more
                )
        broker = self._brokers[key]
        await broker.ready()
        return broker

    async def _away(self, cell: Play) -> None:
        """A broker that a failed cell may have left in any state."""
        broker = self._brokers.pop(cell.broker, None)
        if broker is not None:
            with contextlib.suppress(BrokerError):
                await broker.stop()

    async def close(self) -> None:
        """Stop every broker."""
        for broker in self._brokers.values():
            await broker.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
