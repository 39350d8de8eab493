"""The four who meet: our service and client in this process, NestJS's in processes of their own."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from classroom.supervisor import Child, supervisor
from postoffice import Client, NoHandlerError, RequestTimeout, RpcError, Service, UsageError
from postoffice.messages import NO_HANDLER

from .handlers import ObjectPatterns, Office, Wild
from .node import HERE, Node
from .wires import Wire

START_LIMIT = 30.0  # seconds until a NestJS process is ready; Kafka's join of a group takes longest
SEEN_LIMIT = 10.0  # seconds until an event must have reached its handlers
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Call:
    """What a client is to do. `extras` are headers, publish options, metadata, or that data is missing."""

    pattern: Any
    data: Any = None
    limit: float = 5.0
    emit: bool = False
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """How a call ended: "complete", "error" (the handler's), "nobody", "timeout", "refused" (not sent), "failure"."""

    values: list[Any]
    end: str = "complete"
    error: Any = None

    def shown(self) -> str:
        return f"{self.values!r} {self.end}{'' if self.error is None else f' {self.error!r}'}"[:300]


@dataclass(frozen=True)
class Place:
    """Where a service and its clients meet."""

    transport: str
    url: str
    queue: str = ""
    group: str | None = None
    topics: Sequence[str] = ()
    text_only: bool = False
    wild: str = ""
    ours: dict[str, Any] = field(default_factory=dict)


class OurService:
    """postoffice's Service."""

    nest = False

    def __init__(self, place: Place) -> None:
        self._office = Office() if place.text_only else ObjectPatterns()
        targets = [self._office] + ([Wild(self._office, place.wild).handler] if place.wild else [])
        name = place.queue or "office"
        self._service = Service(*targets, url=place.url, name=name, group=place.group, grace=2.0, **place.ours)

    async def start(self) -> str:
        await self._service.start()
        return self._service.url

    async def seen(self, forget: bool = False) -> list[list[Any]]:
        if forget:
            self._office.seen.clear()
        return self._office.seen

    async def stop(self) -> None:
        await self._service.stop()


class OurClient:
    """postoffice's Client."""

    nest = False

    def __init__(self, place: Place) -> None:
        self._place = place

    async def start(self) -> None:
        exchange = self._place.ours.get("exchange")
        queue = None if exchange else self._place.queue or None
        self._client = await Client.connect(self._place.url, queue=queue, exchange=exchange)

    async def calls(self, calls: Sequence[Call]) -> list[Outcome]:
        return await asyncio.gather(*map(self._call, calls))

    async def _call(self, call: Call) -> Outcome:
        outcome = Outcome([])
        beside = {
            "headers": call.extras.get("headers") or call.extras.get("metadata"),
            "options": call.extras.get("options"),
        }
        try:
            if call.emit:
                await self._client.emit(call.pattern, call.data, **beside)
            else:
                async for value in self._client.stream(call.pattern, call.data, timeout=call.limit, **beside):
                    outcome.values.append(value)
        except RpcError as error:
            outcome.end, outcome.error = "error", error.error
        except (NoHandlerError, RequestTimeout, UsageError) as error:
            ends = {NoHandlerError: "nobody", RequestTimeout: "timeout"}
            outcome.end, outcome.error = ends.get(type(error), "refused"), None
        return outcome

    async def stop(self) -> None:
        await self._client.close()


class Nest:
    """A NestJS process, which ends with this one at the latest."""

    nest = True
    script: str

    def __init__(self, place: Place, node: Node, packages: Path, wire: dict[str, Any] | None = None) -> None:
        self._place, self._node, self._packages, self._wire = place, node, packages, wire or {}

    async def start(self) -> str:
        self._folder = supervisor().folder("nest-")
        self.copy()
        place = self._place
        settings = {
            "transport": place.transport, "url": place.url, "queue": place.queue, "topics": list(place.topics),
            "textOnly": place.text_only, "wire": self._wire, "wild": place.wild,
        }  # fmt: skip
        if place.group:
            settings["group"] = place.group
        self._child: Child = supervisor().spawn(
            [self._node.program, self.script, json.dumps(settings), "{ready_fd}"],
            cwd=self._folder, log=self._folder / f"{next(_numbers)}.log", pass_ready=True,
        )  # fmt: skip
        try:
            ready = json.loads(await self._child.ready_line(START_LIMIT))
        except Exception as error:
            log = "\n".join(self._child.tail(15))
            await self.stop()
            raise RuntimeError(f"the NestJS {self.script} did not start ({error!r}):\n{log}") from error
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ready['control']}", trust_env=False, timeout=60)
        return str(ready.get("url", place.url))

    def copy(self) -> None:
        """The scripts, beside the packages that they import."""
        for file in (HERE / "nest").glob("*.mjs"):
            shutil.copy(file, self._folder)
        (self._folder / "node_modules").symlink_to(self._packages / "node_modules")

    async def ask(self, question: Any) -> Any:
        answer = await self._http.post("/", content=json.dumps(question))
        if answer.is_error:
            raise RuntimeError(f"the NestJS {self.script} failed: {answer.json()}")
        return answer.json()

    def kill(self) -> None:
        self._child.kill()

    async def stop(self) -> None:
        if hasattr(self, "_http"):
            await self._http.aclose()
        await asyncio.to_thread(self._child.kill)
        supervisor().forget(self._folder)


class NestService(Nest):
    """A NestJS microservice."""

    script = "service.mjs"

    async def seen(self, forget: bool = False) -> list[list[Any]]:
        found: list[list[Any]] = await self.ask({"forget": forget})
        return found


class NestClient(Nest):
    """A NestJS ClientProxy."""

    script = "client.mjs"

    async def calls(self, calls: Sequence[Call]) -> list[Outcome]:
        asked = [
            {"pattern": one.pattern, "data": one.data, "limit": one.limit * 1000, "emit": one.emit, **one.extras}
            for one in calls
        ]
        return [_nest_outcome(**answer) for answer in await self.ask(asked)]


def _nest_outcome(values: list[Any], end: str, error: Any = None) -> Outcome:
    """NestJS's ways to say the same."""
    if end == "error" and error == NO_HANDLER:
        return Outcome(values, "nobody")
    if end == "failure" and "no subscribers listening" in error:
        return Outcome(values, "nobody")
    if end == "failure" and error.startswith(("InvalidMessageException", "Error: The invalid data or message")):
        return Outcome(values, "refused")
    return Outcome(values, end, error)


@dataclass
class Pair:
    """A client and a service, or several, that meet on one transport."""

    place: Place
    wire: Wire
    client: Any
    service: Any

    async def call(self, pattern: Any, data: Any = None, limit: float = 5.0, **extras: Any) -> Outcome:
        return (await self.client.calls([Call(pattern, data, limit, extras=extras)]))[0]

    async def emit(self, pattern: Any, data: Any, **extras: Any) -> Outcome:
        return (await self.client.calls([Call(pattern, data, emit=True, extras=extras)]))[0]

    async def seen(self, count: int) -> list[list[Any]]:
        """What the service's handlers saw, once there are `count` entries."""
        end = time.monotonic() + SEEN_LIMIT
        while True:
            found = await self.service.seen()
            if len(found) >= count or time.monotonic() > end:
                return found
            await asyncio.sleep(0.01)
