"""TLS on every transport: the right certificate is taken, and every wrong one is refused by name."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import trustme
from broker_help import own_broker

from classroom.brokers import start_broker
from postoffice import (
    Client,
    ConnectError,
    ConnectionLost,
    PostOfficeError,
    Service,
    Tls,
    UsageError,
    grpc_method,
    message_pattern,
)
from postoffice.tls import explain

KINDS = ["tcp", "redis", "nats", "rabbitmq", "mqtt", "grpc"]
SCHEMES = {"tcp": "tls", "redis": "rediss", "nats": "nats+tls", "rabbitmq": "amqps", "mqtt": "mqtts"}


@message_pattern({"cmd": "double"})
async def double(data: int) -> int:
    return 2 * data


@grpc_method("Doubler", "Double")
async def double_by_grpc(data: dict[str, int]) -> dict[str, int]:
    return {"value": 2 * data["value"]}


class Papers:
    """An authority, and what it and a stranger have signed; all as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proto = folder / "doubler.proto"
        self.proto.write_text(
            'syntax = "proto3"; message Number { int32 value = 1; }'
            " service Doubler { rpc Double (Number) returns (Number); }"
        )
        self.authority, self.stranger = trustme.CA(), trustme.CA()
        self.ca = self._write("ca.pem", self.authority.cert_pem)
        self.other_ca = self._write("other.pem", self.stranger.cert_pem)
        self.good = self._issue("good", self.authority, "127.0.0.1")
        self.other_host = self._issue("host", self.authority, "elsewhere.invalid")
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        self.expired = self._issue("old", self.authority, "127.0.0.1", not_after=past)

    def _issue(self, name: str, authority: trustme.CA, host: str, **options: Any) -> Tls:
        issued = authority.issue_cert(host, **options)
        certificate = self.folder / f"{name}.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return Tls(certificate=certificate, key=self._write(f"{name}.key", issued.private_key_pem))

    def _write(self, name: str, blob: trustme.Blob) -> Path:
        path = self.folder / name
        path.write_bytes(blob.bytes())
        return path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def brokers() -> AsyncIterator[dict[str, str]]:
    """The addresses of brokers that speak plain text."""
    async with (
        await start_broker("redis", engine="process") as redis,
        await start_broker("rabbitmq", engine="process") as rabbitmq,
        await start_broker("mosquitto", engine="process") as mosquitto,
    ):
        yield {"redis": redis.url, "rabbitmq": rabbitmq.url, "mqtt": mosquitto.url}


@contextlib.asynccontextmanager
async def tls_front(url: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS and hands on to a broker that does not."""
    target = urlsplit(url)
    pumps: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)
        for one in (pump(reader, inner_writer), pump(inner_reader, writer)):
            task = asyncio.create_task(one)
            pumps.add(task)
            task.add_done_callback(pumps.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(pumps):
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@contextlib.asynccontextmanager
async def nats_over_tls(tls: Tls) -> AsyncIterator[str]:
    """A NATS server with TLS of its own: NATS begins in plain text and then changes over."""
    mutual = f'ca_file: "{tls.ca}", verify: true' if tls.ca else ""

    def configured(folder: Path) -> list[str]:
        (folder / "tls.conf").write_text(f'tls {{ cert_file: "{tls.certificate}", key_file: "{tls.key}", {mutual} }}\n')
        return ["-c", str(folder / "tls.conf")]

    async with own_broker("nats", configured) as port:
        yield f"nats+tls://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def secured(kind: str, brokers: dict[str, str], tls: Tls, own: Tls) -> AsyncIterator[str]:
    """The address of a service that is reached over TLS with the papers `tls`; the service itself holds `own`."""
    async with contextlib.AsyncExitStack() as stack:
        if kind == "tcp":
            service = Service(double, url="tls://127.0.0.1:0", tls=tls)
            await stack.enter_async_context(service)
            yield service.url
        elif kind == "grpc":
            service = Service(double_by_grpc, url="grpcs://127.0.0.1:0", proto=proto_beside(tls), tls=tls)
            await stack.enter_async_context(service)
            yield service.url
        elif kind == "nats":
            url = await stack.enter_async_context(nats_over_tls(tls))
            with contextlib.suppress(ConnectError):  # with bad papers the service is refused, as the client will be
                await stack.enter_async_context(Service(double, url=url, tls=own))
            yield url
        else:
            await stack.enter_async_context(Service(double, url=brokers[kind], name="doubler"))
            port = await stack.enter_async_context(tls_front(brokers[kind], tls.for_server()))
            yield f"{SCHEMES[kind]}://{'guest:guest@' if kind == 'rabbitmq' else ''}127.0.0.1:{port}"


def proto_beside(tls: Tls) -> Path:
    return Path(str(tls.certificate)).parent / "doubler.proto"


async def ask(kind: str, url: str, tls: Tls | None, proto: Path | None = None) -> Any:
    if kind == "grpc":
        assert proto is not None
        async with await Client.connect(url, proto=proto, tls=tls) as client:
            return (await client.service("Doubler").Double({"value": 21}))["value"]
    queue = "doubler" if kind == "rabbitmq" else None
    async with await Client.connect(url, queue=queue, tls=tls) as client:
        return await client.send({"cmd": "double"}, 21)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_wrong_paper_is_refused_by_name(kind: str, papers: Papers, brokers: dict[str, str]) -> None:
    """A good certificate is taken; an untrusted one and plain speech are refused, each with its reason."""
    async with secured(kind, brokers, papers.good, Tls(ca=papers.ca)) as url:
        assert await ask(kind, url, Tls(ca=papers.ca), papers.proto) == 42
        with pytest.raises(ConnectError, match="not trusted here"):
            await ask(kind, url, Tls(ca=papers.other_ca), papers.proto)
        with pytest.raises(ConnectError, match="not trusted here"):
            await ask(kind, url, None, papers.proto)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("which", "reason"), [("other_host", "another (host name|IP)"), ("expired", "has expired")])
async def test_a_certificate_that_does_not_fit(
    kind: str, which: str, reason: str, papers: Papers, brokers: dict[str, str]
) -> None:
    """A certificate for another host, and one that is out of date, are refused, each with its reason."""
    async with secured(kind, brokers, getattr(papers, which), Tls(ca=papers.ca)) as url:
        with pytest.raises(ConnectError, match=reason):
            await ask(kind, url, Tls(ca=papers.ca), papers.proto)


@pytest.mark.parametrize("kind", KINDS)
async def test_mutual_tls(kind: str, papers: Papers, brokers: dict[str, str]) -> None:
    """Where clients must show a certificate, one without is refused and told so."""
    server = Tls(papers.ca, papers.good.certificate, papers.good.key)
    async with secured(kind, brokers, server, server) as url:
        assert await ask(kind, url, server, papers.proto) == 42
        with pytest.raises((ConnectError, ConnectionLost), match=r"wants? a certificate of ours"):
            await ask(kind, url, Tls(ca=papers.ca), papers.proto)


async def test_plain_and_tls_mixed_up(papers: Papers) -> None:
    """TLS spoken to a plain port, and plain text to a TLS port, end in an error, not in silence."""
    async with Service(double, url="tcp://127.0.0.1:0") as plain:
        with pytest.raises(ConnectError, match="not speak TLS"):
            await ask("tcp", plain.url.replace("tcp", "tls"), Tls(ca=papers.ca))
    async with Service(double, url="tls://127.0.0.1:0", tls=papers.good) as secure:
        with pytest.raises(PostOfficeError):
            await ask("tcp", secure.url.replace("tls", "tcp"), None)


async def test_misuse_is_explained(papers: Papers) -> None:
    """tls= without a TLS scheme, a service without a certificate, and files that are none."""
    with pytest.raises(UsageError, match="without TLS"):
        await Client.connect("tcp://127.0.0.1:1", tls=Tls(ca=papers.ca))
    with pytest.raises(UsageError, match="shows a certificate"):
        await Service(double, url="tls://127.0.0.1:0").start()
    with pytest.raises(UsageError, match="files in PEM form"):
        await Client.connect("tls://127.0.0.1:1", tls=Tls(ca=papers.folder / "missing.pem"))


def test_a_chain_of_errors_that_leads_back_to_itself() -> None:
    """Drivers keep an error and raise it again inside another: looking for TLS's reason must end all the same."""
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert explain(first) is None
