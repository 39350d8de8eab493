"""`postoffice run users.py --url tcp://127.0.0.1:3000`: a module of handlers as a process of its own.

It prints a line when it is ready. SIGTERM and Ctrl-C let it finish what is under way; a second one ends it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from . import tracing
from .durable import ACK_WAIT
from .errors import PostOfficeError, UsageError
from .service import Service
from .tls import Tls

__all__ = ["load", "main", "serve"]


def load(source: str) -> ModuleType:
    """The module in a file (`users.py`, `shop/users.py`) or of a dotted name (`shop.users`), run once.

    Raises:
        UsageError: there is no such file. Whatever the module raises while it is imported.
    """
    if not source.endswith(".py"):
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(source)
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"there is no file {source!r} in {os.getcwd()}. Give the path of a module that has handlers.")
    sys.path.insert(0, str(path.parent.resolve()))
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else "postoffice_module"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def serve(service: Service, app: Any = None, http: str | None = None, ready_fd: int | None = None) -> None:
    """Run a service, and an ASGI application beside it where one is given, until SIGTERM or SIGINT; then drain both.

    Raises as `Service.start`; UsageError when the application cannot listen.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _asked_to_stop, stop, number)
    async with service, _http(app, http, service.grace, stop):
        print(f"{service.name} is ready on {service.public_url}", flush=True)
        _tell_ready(service, ready_fd)
        await stop.wait()
        print(f"{service.name} finishes what is under way", flush=True)


def _asked_to_stop(stop: asyncio.Event, number: int) -> None:
    """The first signal asks; a second one is not handled any more, and ends the process."""
    stop.set()
    asyncio.get_running_loop().remove_signal_handler(number)


def _tell_ready(service: Service, descriptor: int | None) -> None:
    """One line of JSON for whoever started this process and waits."""
    if descriptor is not None:
        handlers = [
            {
                "kind": one.kind,
                "route": one.route,
                "dead_letter": one.dead_letter,
                "delays": one.retry.delays() if one.retry else (),
            }
            for one in service.handlers
        ]
        with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w") as pipe:
            print(json.dumps({"url": service.url, "pid": os.getpid(), "handlers": handlers}), file=pipe)


@contextlib.asynccontextmanager
async def _http(app: Any, address: str | None, grace: float, stop: asyncio.Event) -> Any:
    """The other door of a hybrid application: the ASGI app, on the same event loop."""
    if address is None:
        yield
        return
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:  # signals are ours: both doors close together
            yield

    host, _, port = address.rpartition(":")
    server = Server(
        uvicorn.Config(app, host, int(port), log_level="warning", timeout_graceful_shutdown=max(1, round(grace)))
    )
    running = asyncio.create_task(_until_exit(server, stop))
    try:
        while not server.started:
            if running.done():
                raise UsageError(f"the HTTP side could not listen on {address}: is that port in use?")
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await running


async def _until_exit(server: Any, stop: asyncio.Event) -> None:
    try:
        await server.serve()
    except SystemExit:  # uvicorn's way to say that it could not listen; it has logged why
        server.should_exit = True
    finally:
        stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="postoffice", description="Microservices, in the words and on the wire of NestJS."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve a module of handlers until SIGTERM or Ctrl-C")
    run.add_argument("module", help="a file (users.py) or a dotted name (shop.users)")
    run.add_argument(
        "--url",
        required=True,
        help="tcp://127.0.0.1:3000 (port 0: a free one), redis://, nats://, amqp://, mqtt://, kafka://, grpc://",
    )
    run.add_argument("--name", help="the service's name, and its queue on RabbitMQ; default: the module's name")
    run.add_argument("--group", help="replicas with one group share the messages (NATS, MQTT, Kafka)")
    run.add_argument("--exchange", help="take messages of this topic exchange (RabbitMQ)")
    run.add_argument("--wildcards", action="store_true", help="patterns may have wildcards (Redis)")
    run.add_argument("--delivery", default="at-most-once", choices=["at-most-once", "at-least-once"])
    run.add_argument("--prefetch", type=int, default=16, help="at least once: messages that may be unacknowledged")
    run.add_argument("--ack-wait", type=float, default=ACK_WAIT, help="at least once: seconds a replica may be silent")
    run.add_argument("--quorum", action="store_true", help="at least once: a quorum queue (RabbitMQ)")
    run.add_argument("--grace", type=float, default=10.0, help="seconds that handlers may take when it stops")
    run.add_argument("--http", metavar="HOST:PORT", help="also serve the module's ASGI application `app` there")
    run.add_argument("--proto", metavar="FILE", help="the .proto file of the handlers' services (gRPC)")
    run.add_argument("--tls-cert", metavar="FILE", help="our certificate, for a URL with TLS (PEM)")
    run.add_argument("--tls-key", metavar="FILE", help="its private key")
    run.add_argument("--tls-ca", metavar="FILE", help="whom to trust; with TCP: clients must show a certificate")
    run.add_argument("--ready-fd", type=int, help="write one line of JSON to this file descriptor when ready")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0 after a clean stop, 1 when it could not start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        name = options.name or Path(options.module).stem
        tracing.on(name)
        module = load(options.module)
        if options.http and not hasattr(module, "app"):
            raise UsageError(
                f"--http needs an ASGI application called `app` in {options.module}, for example app = FastAPI()"
            )
        tls = Tls(options.tls_ca, options.tls_cert, options.tls_key) if options.tls_ca or options.tls_cert else None
        service = Service(
            module,
            url=options.url,
            name=name,
            group=options.group,
            delivery=options.delivery,
            grace=options.grace,
            prefetch=options.prefetch,
            ack_wait=options.ack_wait,
            quorum=options.quorum,
            exchange=options.exchange,
            wildcards=options.wildcards,
            proto=options.proto,
            tls=tls,
        )
        asyncio.run(serve(service, getattr(module, "app", None), options.http, options.ready_fd))
    except PostOfficeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
