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
            broker = await self._broker(cell.config)
            return await run_cell(cell.config, cell.fault, cell.seed, broker, messages)
        except Exception as error:
            await self._away(cell.config)
            return Row(*cell.key, error=f"{type(error).__name__}: {error}")

    async def _broker(self, config: Config) -> Any:
        if config.broker is None:
            return None
        key = self._key(config)
        if key not in self._brokers:
            with contextlib.redirect_stdout(None):
                self._brokers[key] = await start_broker(
                    config.broker, engine=self._engine, name=key, link=True, **config.settings
                )
        broker = self._brokers[key]
        await broker.ready()
        return broker

    def _key(self, config: Config) -> str:
        return " ".join(["campaign", config.broker or "", *map(str, config.settings.values())])

    async def _away(self, config: Config) -> None:
        """A broker that a failed cell may have left in any state."""
        broker = self._brokers.pop(self._key(config), None)
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
