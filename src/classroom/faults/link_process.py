"""The process of a link: a proxy, and the control port by which the kernel turns its faults on and off.

    python -m classroom.faults.link_process --listen PORT --target HOST:PORT --ready-fd FD

Its ready line is `{"control": PORT, "token": "..."}`. Each control connection brings one line of JSON and gets one:

    {"token": "...", "op": "add", "id": "a1", "toxic": "latency", "attributes": {"latency": 0.05}, "direction": "both",
     "toxicity": 1.0, "seed": 0}
    {"token": "...", "op": "remove", "id": "a1"}      {"op": "heal"}     {"op": "state"}
    {"token": "...", "op": "beside", "target": "HOST:PORT"}   a clean proxy to another address, in this process too
    {"token": "...", "op": "leave"}                           its end
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from classroom.faults.proxy import DIRECTIONS, ActiveToxic, Proxy
from classroom.faults.toxics import TOXICS

HOST = "127.0.0.1"


class Control:
    """Does what the lines of JSON say."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._others: list[Proxy] = []
        self.token = secrets.token_hex(16)  # whoever else is on this machine must not break our links
        self._verbs: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "add": self._add,
            "remove": self._remove,
            "heal": self._heal,
            "state": self._state,
            "beside": self._beside,
            "leave": self._leave,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            request = json.loads(await reader.readline())
            if not hmac.compare_digest(str(request["token"]), self.token):
                raise ValueError("a wrong token")
            answer = {"value": await self._verbs[request["op"]](request)}
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def _add(self, request: dict[str, Any]) -> None:
        toxic = TOXICS[request["toxic"]](**request["attributes"])
        directions = DIRECTIONS if request["direction"] == "both" else (request["direction"],)
        self.proxy.add(request["id"], ActiveToxic(toxic, directions, request["toxicity"], request["seed"]))

    async def _remove(self, request: dict[str, Any]) -> None:
        self.proxy.remove(request["id"])

    async def _heal(self, request: dict[str, Any]) -> None:
        self.proxy.heal()

    async def _state(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "connections": len(self.proxy.connections),
            "passed": {direction: self.proxy.passed[direction] for direction in DIRECTIONS},
            "toxics": [repr(active.toxic) for active in self.proxy.toxics.values()],
        }

    async def _beside(self, request: dict[str, Any]) -> int:
        proxy = Proxy(address(request["target"]))
        self._others.append(proxy)
        return await proxy.listen(HOST, 0)

    async def _leave(self, request: dict[str, Any]) -> None:
        while self._others:
            self._others.pop().close()


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or HOST, int(port)


async def run(listen: int, target: tuple[str, int], ready_fd: int) -> None:
    """Be a link, until killed."""
    proxy = Proxy(target)
    control = Control(proxy)
    server = await asyncio.start_server(control.serve, HOST, 0)
    await proxy.listen(HOST, listen)
    with os.fdopen(ready_fd, "w") as ready:
        print(json.dumps({"control": server.sockets[0].getsockname()[1], "token": control.token}), file=ready)
    await server.serve_forever()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--target", type=address, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run(options.listen, options.target, options.ready_fd))
    except OSError as error:
        sys.exit(f"the link cannot listen: {error}")


if __name__ == "__main__":
    main()
