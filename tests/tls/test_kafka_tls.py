"""Kafka over TLS, with certificates of its own: the right ones are taken, each wrong one is refused by name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from broker_help import own_broker, replace
from test_tls import Papers, tls_front

from postoffice import Client, ConnectError, Service, Tls, message_pattern


@message_pattern("double")
async def double(data: str) -> int:
    return 2 * int(data)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@contextlib.asynccontextmanager
async def kafka_over_tls(ours: Tls, ca: Path) -> AsyncIterator[str]:
    """A Kafka whose clients must speak TLS, and show a certificate that `ca` has signed."""
    assert isinstance(ours.certificate, Path)
    assert isinstance(ours.key, Path)
    keys = ours.key.read_text() + ours.certificate.read_text()

    def configured(folder: Path) -> list[str]:
        (folder / "keys.pem").write_text(keys)
        properties = folder / "server.properties"
        replace(properties, "CLIENT:PLAINTEXT", "CLIENT:SSL")
        properties.write_text(
            properties.read_text()
            + "ssl.client.auth=required\nssl.keystore.type=PEM\nssl.keystore.location=keys.pem\n"
            + f"ssl.truststore.type=PEM\nssl.truststore.location={ca}\n"
        )
        return []

    async with own_broker("kafka", configured) as port:
        yield f"kafka+tls://127.0.0.1:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def good(papers: Papers) -> AsyncIterator[str]:
    async with kafka_over_tls(_key_of_kafka(papers, papers.good), papers.ca) as url:
        yield url


def _key_of_kafka(papers: Papers, tls: Tls) -> Tls:
    """The same, its key in the form that Java reads (PKCS #8)."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(str(tls.key)).read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = papers.folder / f"{Path(str(tls.key)).stem}.pkcs8"
    path.write_bytes(key.private_bytes(*form))
    return Tls(certificate=tls.certificate, key=path)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_right_certificates(good: str, papers: Papers) -> None:
    """Service and client over TLS, each with a certificate of its own."""
    tls = Tls(ca=papers.ca, certificate=papers.good.certificate, key=papers.good.key)
    async with Service(double, url=good, name="tls", tls=tls), await Client.connect(good, tls=tls) as client:
        assert await client.send("double", 21) == "42"


@pytest.mark.asyncio(loop_scope="module")
async def test_wrong_ones(good: str, papers: Papers) -> None:
    """An authority that is not trusted; no certificate of ours; no TLS at all."""
    with pytest.raises(ConnectError, match="signed by an authority that is not trusted here"):
        await Client.connect(good, tls=Tls(ca=papers.other_ca))
    with pytest.raises(ConnectError, match=r"certificate of ours.*Tls\(certificate="):
        await Client.connect(good, tls=Tls(ca=papers.ca))
    with pytest.raises(ConnectError, match="no Kafka broker could be reached"):
        await Client.connect(good.replace("kafka+tls", "kafka"))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("paper", "why"), [("expired", "has expired"), ("other_host", "another (host name|IP address)")]
)
async def test_wrong_ones_of_the_broker(papers: Papers, paper: str, why: str) -> None:
    """Refused before anything is sent. Kafka does not start with an expired one, so it is shown in front of it."""
    async with tls_front("kafka://127.0.0.1:9", getattr(papers, paper).for_server()) as port:
        with pytest.raises(ConnectError, match=why):
            await Client.connect(f"kafka+tls://127.0.0.1:{port}", tls=Tls(ca=papers.ca))
