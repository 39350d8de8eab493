"""A link: the network between everyone and one address, in which things can go wrong.

    broker = await start_broker("rabbitmq", link=True)      # broker.url goes through broker.link
    async with broker.link.latency(0.05, jitter=0.01):
        ...
    await broker.link.cut()
    await broker.link.heal()

    link = await start_link(users.url)                      # before anything else that has an address

It is a TCP proxy in a process of its own, so it breaks connections and bytes, not packets. What that cannot show: a
connection attempt is accepted by the proxy even while the link is cut, and gets no answer then.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from classroom import marks
from classroom.brokers.errors import PortTaken
from classroom.brokers.ports import HOST, Port, is_free
from classroom.faults import toxics
from classroom.faults.fault import Fault
from classroom.faults.link_cost import Cost, measure_cost
from classroom.supervisor import Child, ChildEnded, supervisor

READY_LIMIT = 20.0  # seconds; it takes a fraction of one
ANSWER_LIMIT = 10.0  # seconds; it takes a millisecond
EVERY = "both"  # directions


class LinkError(Exception):
    """A link cannot be started, or has ended. The message says what to do next."""


class Link:
    """A link to `target`; its own address is `url`, the same for as long as it lives. It ends with the kernel.

    Every fault is on at once and for all connections, those that are open included, and is undone by `async with` or
    by its `undo()` (see `Fault`). `direction` is "upstream" (to the target), "downstream" (back) or "both" (each way).
    `toxicity` is the part of the connections that it strikes, 0 to 1; `seed` decides which, and every other choice.
    Each raises ValueError for an argument out of its bounds, LinkError when the link's process has ended.
    """

    def __init__(self, target: str, port: Port) -> None:
        self.target = target
        self.port = port.number
        self.url = _with_port(target, port.number)
        self._lease = port
        self._child: Child | None = None
        self._control: tuple[int, str] = (0, "")

    async def start(self) -> None:
        """Begin to listen. Raises LinkError; nothing is left then."""
        parts = urlsplit(self.target if "://" in self.target else f"tcp://{self.target}")
        folder = supervisor().folder("link-")
        argv = [sys.executable, "-m", "classroom.faults.link_process", "--listen", str(self.port)]
        argv += ["--target", f"{parts.hostname}:{parts.port}", "--ready-fd", "{ready_fd}"]
        self._child = supervisor().spawn(argv, log=folder / "log", pass_ready=True)
        try:
            line = json.loads(await self._child.ready_line(READY_LIMIT))
        except (ChildEnded, TimeoutError) as error:
            lines = "\n".join(self._child.tail())
            await self.stop()
            raise LinkError(f"the link to {self.target} does not start ({error}). It printed:\n{lines}") from error
        except BaseException:
            await asyncio.shield(self.stop())
            raise
        self._control = (line["control"], line["token"])

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.alive

    async def stop(self) -> None:
        """End it: its connections break, and nobody listens at its address. Twice is harmless."""
        if self._child is not None:
            await asyncio.to_thread(self._child.kill)
            supervisor().forget(self._child.log.parent)
        self._lease.release()
        if links.get(self.target) is self:
            del links[self.target]

    # faults

    def latency(
        self, latency: float, *, jitter: float = 0.0, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0
    ) -> Fault:
        """Everything comes `latency` ± `jitter` seconds later, in order. With "both", a round trip has it twice."""
        return self._fault(toxics.Latency(latency, jitter), direction, toxicity, seed)

    def bandwidth(self, rate: float, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0) -> Fault:
        """Each connection carries at most `rate` bytes a second each way; whoever sends more has to wait."""
        return self._fault(toxics.Bandwidth(rate), direction, toxicity, seed)

    def slow_close(self, delay: float, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0) -> Fault:
        """The end of a connection reaches the other side `delay` seconds later."""
        return self._fault(toxics.SlowClose(delay), direction, toxicity, seed)

    def timeout(self, timeout: float = 0.0, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0) -> Fault:
        """Nothing gets through, and is lost. Connections close after `timeout` seconds; 0: when this is undone."""
        return self._fault(toxics.Timeout(timeout), direction, toxicity, seed)

    def reset_peer(
        self, timeout: float = 0.0, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0
    ) -> Fault:
        """Both ends get a RST `timeout` seconds after this begins, or after a new connection opens."""
        return self._fault(toxics.ResetPeer(timeout), direction, toxicity, seed)

    def slicer(
        self,
        average_size: int,
        *,
        size_variation: int = 0,
        delay: float = 0.0,
        direction: str = EVERY,
        toxicity: float = 1.0,
        seed: int = 0,
    ) -> Fault:
        """Data comes in slices of `average_size` ± `size_variation` bytes, `delay` seconds apart."""
        return self._fault(toxics.Slicer(average_size, size_variation, delay), direction, toxicity, seed)

    def limit_data(self, bytes: int, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0) -> Fault:
        """A connection closes once `bytes` bytes have gone through, counted from now, each way for itself."""
        return self._fault(toxics.LimitData(bytes), direction, toxicity, seed)

    def cut(self, *, direction: str = EVERY, toxicity: float = 1.0, seed: int = 0) -> Fault:
        """Nothing arrives and nothing is closed, as with a cable pulled out, until `heal()`.

        What was sent meanwhile arrives then, in order, as TCP would send it again; whoever gave up meanwhile is heard
        to have closed. A connection begun while it is cut reaches the target only after, if its client still waits.
        """
        return self._fault(toxics.Cut(), direction, toxicity, seed)

    async def heal(self) -> None:
        """End every cut. Harmless where there is none."""
        await self._ask("heal")
        marks.mark("network", "healed", f"the link to {self.target}")

    # looking

    async def state(self) -> dict[str, Any]:
        """Its open connections, the bytes that have gone through by direction, and the toxics that are on."""
        found: dict[str, Any] = await self._ask("state")
        return found

    async def cost(self, n: int = 2000) -> Cost:
        """What the link itself costs: round trips of 64 bytes to an echo, directly and through it, in turns.

        Its faults do not count in; another's load on this machine does, on both. `n`: round trips each way.
        """
        try:
            return await measure_cost(lambda target: self._ask("beside", target=target), n)
        finally:
            await self._ask("leave")

    def __repr__(self) -> str:
        return f"<link {self.url} to {self.target}: {'up' if self.alive else 'ended'}>"

    def _fault(self, toxic: toxics.Toxic, direction: str, toxicity: float, seed: int) -> Fault:
        if direction not in ("upstream", "downstream", "both"):
            raise ValueError(f'direction is "upstream", "downstream" or "both"; got {direction!r}')
        if not 0 <= toxicity <= 1:
            raise ValueError(f"toxicity is a number from 0 to 1, the part of the connections; got {toxicity!r}")
        name = next(name for name, kind in toxics.TOXICS.items() if type(toxic) is kind)
        ident = secrets.token_hex(8)  # chosen here: one that was interrupted half way can be taken back
        options = {"toxic": name, "attributes": asdict(toxic), "direction": direction}  # type: ignore[call-overload]
        options |= {"toxicity": toxicity, "seed": seed}
        text = f"{name} on the link to {self.target}"

        async def begin() -> None:
            await self._ask("add", id=ident, **options)
            marks.mark("network", "cut" if name == "cut" else "fault", text)

        async def undo() -> None:
            await self._take_back(ident)
            marks.mark("network", "healed", text)

        return Fault(text, begin, undo)

    async def _take_back(self, ident: str) -> None:
        """A link that has ended has no faults any more."""
        if self.alive:
            await self._ask("remove", id=ident)

    async def _ask(self, verb: str, **fields: Any) -> Any:
        """One request to the link's process, on a connection of its own: it may come from any event loop."""
        port, token = self._control
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                reader, writer = await asyncio.open_connection(HOST, port)
                writer.write(json.dumps({"token": token, "op": verb, **fields}).encode() + b"\n")
                answer = json.loads(await reader.readline())
                writer.close()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            lines = "\n".join(self._child.tail()) if self._child else ""
            raise LinkError(f"{self!r} does not answer; start it, or its broker, again. {lines}".strip()) from error
        if "error" in answer:
            raise LinkError(f"{self!r} cannot {verb}: {answer['error']}")
        return answer["value"]


async def start_link(target: str, *, port: Port | None = None) -> Link:
    """A link to an address on this machine or elsewhere: `host:port`, or a URL such as `tcp://127.0.0.1:3000`.

    Its `url` is the same with the link's own host and port. One to the same target replaces the one before.
    Over TLS the name in the certificate must be good for 127.0.0.1. Raises ValueError for an address without a port,
    LinkError when it does not start,
    PortTaken when another program listens on `port`.
    """
    if target in links:
        await links[target].stop()
    link = Link(target, port or Port())
    if not is_free(link.port):
        raise PortTaken(f"port {link.port} is taken by another program")
    await link.start()
    links[target] = link
    return link


def is_linked(url: str) -> bool:
    """Whether this address is a link's of this kernel: then its cost and its faults are in all that is measured."""
    return any(urlsplit(url).netloc.endswith(f"{HOST}:{link.port}") for link in links.values())


def _with_port(target: str, port: int) -> str:
    """The target's address with the link's host and port in the place of its own."""
    parts = urlsplit(target if "://" in target else f"tcp://{target}")
    if parts.port is None:
        raise ValueError(f"{target!r} has no port: a link needs host:port, or a URL with a port")
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    there = parts._replace(netloc=f"{login}{HOST}:{port}").geturl()
    return there if "://" in target else there.removeprefix("tcp://")


links: dict[str, Link] = {}  # of this kernel, by target
