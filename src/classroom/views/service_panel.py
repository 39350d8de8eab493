"""A panel for a service: what state its processes are in, what they print, and buttons that break and mend it."""

from __future__ import annotations

import asyncio

from classroom.service_handle import ServiceHandle
from classroom.views.page import Button, Buttons, Log, Page, Table
from classroom.views.view import Press, View

__all__ = ["SIGNS", "ServicePanel"]

SIGNS = {
    "starting": "◌ starting",
    "ready": "● ready",
    "running": "● running",
    "paused": "‖ paused",
    "stopped": "○ stopped",
    "ended": "○ ended",
    "crashed": "✕ crashed",
    "killed": "✕ killed",
}
LINES = 12  # of the log


class ServicePanel(View):
    """`panel(payments)`. Every button has a verb on the handle, which the text names."""

    def __init__(self, service: ServiceHandle) -> None:
        super().__init__()
        self.service = service
        self.name = f"service {service.name}"
        self._printed: list[str] = []
        self.verbs = {
            "kill": lambda press: asyncio.to_thread(service.kill, _number(press)),
            "pause": lambda press: asyncio.to_thread(service.pause, _number(press)),
            "resume": lambda press: service.resume(),
            "restart": lambda press: service.restart(),
            "stop": lambda press: service.stop(),
            "scale": lambda press: service.scale(int(press.arg)),
        }

    async def look(self) -> None:
        _, self._printed = await asyncio.to_thread(self.service.view, LINES)

    def page(self) -> Page:
        replicas, service = self.service.replicas, self.service
        ready = sum(one.state == "ready" for one in replicas)
        status = f"{SIGNS[service.state]}; {ready} of {len(replicas)} processes ready"
        rows = [(str(one.number), SIGNS[one.state], _end(one.returncode)) for one in replicas]
        return Page(
            f"Service {service.name}",
            status,
            [
                Table("Processes", ("replica", "state", "ended by"), rows, "none yet"),
                Buttons("Break and mend", [*self._verbs(), *self._each()]),
                Log(f"What {service.name} printed last", self._printed),
            ],
        )

    def _verbs(self) -> list[Button]:
        name, replicas = self.service.name, self.service.replicas
        alive = [one for one in replicas if one.alive]
        gone = "" if alive else "no process runs: restart"
        every = " all" if len(replicas) > 1 else ""
        paused = any(one.state == "paused" for one in alive)
        running = any(one.state != "paused" for one in alive)
        buttons = [
            Button("kill", f"Kill{every}", f"{name}.kill()", why_not=gone),
            Button(
                "pause", f"Pause{every}", f"{name}.pause()", why_not=gone or ("" if running else "it is paused already")
            ),
            Button("resume", "Resume", f"await {name}.resume()", why_not="" if paused else "it is not paused"),
            Button("restart", "Restart", f"await {name}.restart()"),
            Button("stop", "Stop", f"await {name}.stop()", why_not=gone),
        ]
        if self.service.scales:
            more, fewer = len(alive) + 1, len(alive) - 1
            buttons.append(Button("scale", f"Scale to {more}", f"await {name}.scale({more})", str(more)))
            if fewer:
                buttons.append(Button("scale", f"Scale to {fewer}", f"await {name}.scale({fewer})", str(fewer)))
        return buttons

    def _each(self) -> list[Button]:
        """One replica of several can be killed alone."""
        alive = [one for one in self.service.replicas if one.alive]
        return [
            Button("kill", f"Kill replica {one.number}", f"{self.service.name}.kill({one.number})", str(one.number))
            for one in alive
            if len(alive) > 1
        ]


def _number(press: Press) -> int | None:
    return int(press.arg) if press.arg else None


def _end(code: int | None) -> str:
    if code is None:
        return "-"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
