"""A panel for a broker: what waits in it, and buttons that break it, its network and mend both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable

from classroom.brokers import Broker
from classroom.faults.fault import Fault
from classroom.service_handle import ServiceHandle
from classroom.views.gauges import GAUGES, LIMIT, MOST, Depth, Gauge
from classroom.views.page import Block, Button, Buttons, Page, Said, Slider, Table
from classroom.views.service_panel import SIGNS
from classroom.views.view import Press, View, called, shell

__all__ = ["BrokerPanel"]

HIGHEST = 1000  # ms of latency that the slider gives


class BrokerPanel(View):
    """`panel(rabbit)`. Every button has a verb on the broker or its link, which the text names."""

    every = 0.5

    def __init__(self, broker: Broker, queues: Iterable[str] = ()) -> None:
        super().__init__()
        self.broker, self.queues = broker, [*queues]
        self.name = f"broker {broker.name}"
        self._gauge: Gauge | None = None
        self._note = GAUGES[broker.kind].note
        self._depths: list[Depth] = []
        self._rates: dict[str, float] = {}
        self._counted: dict[str, tuple[float, int]] = {}
        self._unseen = ""
        self._latency: Fault | None = None
        self._ms = 0.0
        self._faults: list[str] = []
        self.settings = {"latency"}
        self.verbs = {
            "kill": lambda press: asyncio.to_thread(broker.kill),
            "pause": lambda press: asyncio.to_thread(broker.pause),
            "resume": lambda press: broker.resume(),
            "restart": lambda press: broker.restart(),
            "cut": self._cut,
            "heal": lambda press: broker.link.heal(),
            "latency": self._delay,
        }

    async def look(self) -> None:
        if self.broker.has_link and self.broker.state != "stopped":
            self._faults = [str(one) for one in (await self.broker.link.state())["toxics"]]
        if self.broker.state != "running":
            self._unseen = f"nothing can be seen while it is {self.broker.state}"
            await self.leave()
            return
        try:
            async with asyncio.timeout(LIMIT):
                self._take(await (await self._opened()).read(self._names()))
        except Exception as error:  # it was broken on purpose, perhaps; the next look tries again
            self._unseen = f"it does not answer: {type(error).__name__} {error}".strip()
            await self.leave()

    async def leave(self) -> None:
        gauge, self._gauge = self._gauge, None
        if gauge is not None:
            with contextlib.suppress(Exception):  # what it was connected to may be gone
                async with asyncio.timeout(LIMIT):
                    await gauge.close()

    async def _opened(self) -> Gauge:
        if self._gauge is None:
            gauge = GAUGES[self.broker.kind](self.broker.direct_url)
            await gauge.open()
            self._gauge = gauge
        return self._gauge

    def _names(self) -> list[str]:
        """The queues to look at, where the broker does not list them: those of the services on it, and those given."""
        names = list(self.queues)
        for service in _services():
            with contextlib.suppress(Exception):  # one whose broker is gone
                if service.url == self.broker.url:
                    names += service.queues
        return [*dict.fromkeys(names)][:MOST]

    def _take(self, depths: list[Depth]) -> None:
        now = time.monotonic()
        for one in depths:
            if one.arrived is not None:
                then, before = self._counted.get(one.name, (now, one.arrived))
                if now > then:
                    self._rates[one.name] = max(0.0, (one.arrived - before) / (now - then))
                self._counted[one.name] = (now, one.arrived)
        self._depths, self._unseen = depths, ""

    async def _cut(self, press: Press) -> None:
        await self.broker.link.cut()

    async def _delay(self, press: Press) -> None:
        wanted = min(max(float(press.arg or 0), 0), HIGHEST)
        before, self._latency = self._latency, None
        if before is not None:
            await before.undo()
        self._ms = 0.0
        if wanted:
            self._latency = await self.broker.link.latency(wanted / 1000)
            self._ms = wanted

    def page(self) -> Page:
        broker = self.broker
        title = f"{broker.product} {broker.version}".strip() + (
            "" if broker.name == broker.kind else f", {broker.name}"
        )
        status = SIGNS.get(broker.state, broker.state)
        if broker.has_link:
            cut = "✕ cut" if self._is_cut else "whole"
            others = ", ".join(dict.fromkeys(one for one in self._faults if not one.startswith("Cut")))
            status += f"; its link is {cut}" + (f", with {others}" if others else "")
        blocks = self._table()
        if broker.engine != "external":
            blocks.append(Buttons("Break and mend", self._verbs()))
        return Page(title, status, [*blocks, *self._network()])

    @property
    def _is_cut(self) -> bool:
        return any(one.startswith("Cut") for one in self._faults)

    def _table(self) -> list[Block]:
        if self._unseen:
            return [Said(f"Queues: {self._unseen}.")]
        columns: list[tuple[str, list[float | None]]] = [
            ("waiting", [one.waiting for one in self._depths]),
            ("handed out", [one.handed for one in self._depths]),
            ("readers", [one.readers for one in self._depths]),
            ("in a second", [self._rates.get(one.name) for one in self._depths]),
        ]
        told = [(head, values) for head, values in columns if any(value is not None for value in values)]
        rows = [
            (one.name, *("-" if values[row] is None else f"{values[row]:,.0f}" for _, values in told))
            for row, one in enumerate(self._depths)
        ]
        return [Table("Queues", ("queue", *(head for head, _ in told)), rows, "none yet"), Said(self._note)]

    def _verbs(self) -> list[Button]:
        name, state = called(self.broker, self.broker.name), self.broker.state
        gone = "" if state in ("running", "paused") else f"it is {state}"
        return [
            Button("kill", "Kill", f"{name}.kill()", why_not=gone),
            Button("pause", "Pause", f"{name}.pause()", why_not=gone or ("it is paused" if state == "paused" else "")),
            Button(
                "resume", "Resume", f"await {name}.resume()", why_not="" if state == "paused" else "it is not paused"
            ),
            Button(
                "restart", "Restart", f"await {name}.restart()", why_not="it is stopped" if state == "stopped" else ""
            ),
        ]

    def _network(self) -> list[Block]:
        if not self.broker.has_link:
            return []
        link = f"{called(self.broker, self.broker.name)}.link"
        cut = self._is_cut
        buttons = [
            Button("cut", "Cut the link", f"await {link}.cut()", why_not="it is cut already" if cut else ""),
            Button("heal", "Heal the link", f"await {link}.heal()", why_not="" if cut else "it is not cut"),
        ]
        code = f"await {link}.latency({self._ms / 1000 or 0.05:g})"
        slider = Slider("latency", "Latency each way", self._ms, HIGHEST, 10, "ms", code)
        return [Buttons("The network before it", buttons), slider]


def _services() -> list[ServiceHandle]:
    """The services that cells of this notebook have started."""
    magics = getattr(shell(), "magics_manager", None)
    magic = magics.magics["cell"].get("service") if magics is not None else None
    return [*getattr(magic, "services", {}).values()]
