"""%%service: a cell of a notebook becomes a process that serves its handlers.

    %%service users --on tcp
    from postoffice import message_pattern

    @message_pattern("user.count")
    async def count(data, ctx):
        return 3

The magic returns at once and binds the handle `users` (see `ServiceHandle`); `await users` waits until it is ready.
Running the cell again deploys it again: the old process drains first. The cell is a module of its own, so it imports
and defines all that it uses.

    --on          tcp or grpc (a port of its own), a variable that holds a broker, or an address
    --delivery    at-most-once (the default) or at-least-once
    --prefetch    at least once: how many messages a replica may hold unacknowledged (16)
    --quorum      at least once, on RabbitMQ: a quorum queue, which counts deliveries
    --exchange    on RabbitMQ: take the messages of this topic exchange
    --replicas    processes that serve the same. On RabbitMQ and Kafka they share the messages. On NATS and MQTT they
                  share them with --group only; without, each replica gets every message, as always on Redis
    --group       the name that replicas share
    --proto       the .proto file of the handlers' services, with gRPC
    --http        serve the ASGI application `app` of the cell as well
"""

from __future__ import annotations

import argparse
import asyncio
import builtins
import contextlib
import keyword
import shlex
import threading
import traceback
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Any, NoReturn

from classroom.service_fleet import MOST_REPLICAS, OWN_PORT, services_loop
from classroom.service_handle import ONE_ON_TCP, ServiceHandle
from classroom.service_plan import Plan, ServiceError, queue_options
from classroom.service_text import as_html

__all__ = ["ServiceError", "ServiceHandle", "parsed", "register"]

REFRESH = 0.2  # seconds between two updates of a live output
SHOWN_LINES = 12


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ServiceError(f"%%service: {message}.\n{self.format_usage().strip()}")


def _parser() -> _Parser:
    parser = _Parser(prog="%%service", add_help=False, allow_abbrev=False)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--on", metavar="tcp|grpc|BROKER|URL")
    parser.add_argument("--delivery", choices=["at-most-once", "at-least-once"], default="at-most-once")
    parser.add_argument("--prefetch", type=int, metavar="N")
    parser.add_argument("--quorum", action="store_true")
    parser.add_argument("--exchange")
    parser.add_argument("--replicas", type=int, default=1, metavar="N")
    parser.add_argument("--group")
    parser.add_argument("--proto", metavar="FILE")
    parser.add_argument("--http", action="store_true")
    return parser


def parsed(line: str) -> argparse.Namespace:
    """The options of a first line, what stands behind %%service. Raises ServiceError for what cannot be."""
    try:
        options, unknown = _parser().parse_known_args(shlex.split(line))
    except ValueError as error:
        raise ServiceError(f"%%service: {error} in {line!r}") from None
    if unknown:
        _parser().error(f"unknown: {' '.join(unknown)}")
    if not options.on:
        _parser().error("--on is missing: tcp, grpc, or a variable that holds a broker, or an address")
    if not 1 <= options.replicas <= MOST_REPLICAS:
        raise ServiceError(f"%%service: --replicas takes 1 to {MOST_REPLICAS}, not {options.replicas}")
    own = options.on.partition("://")[0]
    if options.replicas > 1 and own in OWN_PORT:
        raise ServiceError(f"%%service: --replicas {options.replicas} --on {own}: {ONE_ON_TCP}")
    if options.replicas > 1 and options.http:
        raise ServiceError("%%service: --http goes with one replica only: one process owns the HTTP port")
    return options


class ServiceMagic:
    """The magic of one IPython shell: its services, and their live outputs."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.services: dict[str, ServiceHandle] = {}
        self.cells: dict[str, str] = {}  # service name -> id of its cell, where the front end tells it
        self.views: dict[str, View] = {}

    def __call__(self, line: str, cell: str) -> None:
        options = parsed(line)
        name = options.name
        self._check_name(name)
        source = f"# %%service {line}\n{cell}"  # keeps the line numbers of the cell
        plan = Plan(
            source,
            options.on,
            self._broker_url(options.on),
            options.delivery,
            options.group,
            options.replicas,
            options.http,
            self._proto(options),
            queue_options(options.delivery, options.prefetch, options.quorum, options.exchange),
        )
        plan.broker_url()  # an error, if there is no such broker
        self._compile(name, source)
        handle = self.services.setdefault(name, ServiceHandle(name, plan, self._knows))
        self.shell.user_ns[name] = handle
        self.cells[name] = self._cell_id()
        if name in self.views:
            self.views[name].close()
        handle.deploy(plan)
        self._show(handle)

    @staticmethod
    def _proto(options: argparse.Namespace) -> str | None:
        """The .proto file, found from where the notebook is."""
        if (options.proto is not None) != options.on.startswith("grpc"):
            raise ServiceError(
                f"%%service: --on {options.on} {'takes no' if options.proto else 'needs a'} --proto: the services of "
                "gRPC stand in a .proto file. For example: %%service heroes --on grpc --proto heroes.proto"
            )
        if options.proto is None:
            return None
        if not (path := Path(options.proto).resolve()).is_file():
            raise ServiceError(
                f"%%service: there is no file {options.proto}. A cell can write it: %%writefile heroes.proto"
            )
        return str(path)

    def _check_name(self, name: str) -> None:
        if not name.isidentifier() or keyword.iskeyword(name) or hasattr(builtins, name):
            raise ServiceError(
                f"%%service: {name!r} cannot be a service's name: its handle is bound to a variable of that name, so "
                "it is letters, digits and underscores, and no word of Python's own. For example: %%service users"
            )
        there = self.shell.user_ns.get(name)
        if there is not None and not isinstance(there, ServiceHandle):
            raise ServiceError(
                f"%%service: the notebook has a variable {name!r} already ({type(there).__name__}), which the handle "
                f"would replace. Choose another name for the service, or first: del {name}"
            )
        known, here, service = self.cells.get(name), self._cell_id(), self.services.get(name)
        up = service is not None and service.state in ("starting", "ready", "paused")
        if up and known and here and known != here:
            raise ServiceError(
                f"%%service: another cell of this notebook runs a service {name!r}, and it is still up. Give this one "
                f"a name of its own, or first: await {name}.stop()"
            )

    def _broker_url(self, on: str) -> Callable[[], str | None]:
        """How to get the address: looked up anew at each start, since the broker's cell may have been run again."""
        if on in OWN_PORT:
            return lambda: None
        if "://" in on:
            return lambda: on

        def look_up() -> str:
            found = self.shell.user_ns.get(on)
            if isinstance(found, ServiceHandle):
                raise ServiceError(
                    f"--on {on}: {on} is a service, not a broker. For a service of its own port: --on tcp"
                )
            if asyncio.iscoroutine(found):
                raise ServiceError(
                    f"--on {on}: {on} is no broker yet, since `await` is missing before the call that should start"
                    f' it: {on} = await start_broker("rabbitmq")'
                )
            if not isinstance(url := getattr(found, "url", None), str):
                raise ServiceError(
                    f"--on {on}: the notebook has no broker of that name. Start one first, for example "
                    f'{on} = await start_broker("rabbitmq"), or take --on tcp, or an address such as redis://host:6379'
                )
            return url

        return look_up

    def _compile(self, name: str, source: str) -> None:
        try:
            compile(source, "CELL", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            if isinstance(error, SyntaxError) and error.text is None and error.lineno:  # late checks leave it out
                error.text = source.splitlines()[error.lineno - 1]
            text = "".join(traceback.format_exception_only(error)).replace('File "CELL"', f"Cell {name}")
            up = self.services.get(name)
            text += f"{name} was not deployed. " if up else ""
            text += f"What ran before is still up: {up.state}." if up and up.alive else ""
            raise ServiceError(f"the cell is no valid Python module.\n{text.strip()}") from None

    def _knows(self, name: str) -> bool:
        return name in self.shell.user_ns

    def _cell_id(self) -> str:
        with contextlib.suppress(AttributeError, LookupError, TypeError):
            return str(self.shell.get_parent()["metadata"]["cellId"])
        return ""

    def _show(self, handle: ServiceHandle) -> None:
        first = not self.views
        view = self.views[handle.name] = View(self.shell, handle)
        view.show()
        if first and view.live:
            # an empty context: this cell's would make it the parent of all later updates
            Context().run(services_loop().call_soon_threadsafe, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH)
            for view in list(self.views.values()):
                with contextlib.suppress(Exception):  # the front end may be gone
                    view.show()


class View:
    """The live output of a cell: a display that is updated in place, as text and as HTML."""

    def __init__(self, shell: Any, handle: ServiceHandle) -> None:
        self.shell, self.handle = shell, handle
        self.ident = f"classroom-service-{handle.name}-{id(self)}"
        self.shown: str | None = None
        self.live = hasattr(shell, "kernel")  # a plain terminal shows the state once
        self.lock = threading.Lock()
        handle.on_change = self.show

    def close(self) -> None:
        """Show the end: from now on another view shows this service."""
        self.handle.on_change = lambda: None
        self.show("; replaced by a later run")
        self.live = False

    def show(self, end: str = "") -> None:
        """Show what is new, if anything is."""
        with self.lock:
            summary, log = self.handle.view(SHOWN_LINES)
            summary += end
            text = "\n".join([summary, *("    " + line for line in log)])
            if text != self.shown and (self.live or self.shown is None):
                data = {"text/plain": text, "text/html": as_html(summary, log)}
                update = self.shown is not None
                self.shown = text
                self.shell.display_pub.publish(data, transient={"display_id": self.ident}, update=update)


def register(shell: Any) -> None:
    """Make %%service known to an IPython shell; once is enough."""
    if "service" not in shell.magics_manager.magics["cell"]:
        shell.register_magic_function(ServiceMagic(shell), "cell", "service")
