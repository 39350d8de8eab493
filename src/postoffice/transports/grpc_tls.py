"""TLS for gRPC: credentials as grpcio wants them, and the reason of a refusal, which grpcio does not tell."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from ..tls import Tls

__all__ = ["for_client", "for_server", "refusal"]

REFUSAL_TIMEOUT = 1.0  # seconds in which the other side may say what it did not like


def for_client(tls: Tls) -> Any:
    """What a client's channel needs.

    Raises:
        UsageError: a file that cannot be read, or that is no certificate.
    """
    trusted = tls.for_client().get_ca_certs(binary_form=True)
    roots = "".join(map(ssl.DER_cert_to_PEM_cert, trusted)).encode() or None
    return grpc.ssl_channel_credentials(roots, *_own(tls))


def for_server(tls: Tls) -> Any:
    """What a service needs.

    Raises:
        UsageError: no certificate, or a file that cannot be read.
    """
    tls.for_server()  # it checks the files, and says what is wrong with them
    roots = Path(tls.ca).read_bytes() if tls.ca else None
    return grpc.ssl_server_credentials([_own(tls)], roots, require_client_auth=roots is not None)


def _own(tls: Tls) -> tuple[bytes | None, bytes | None]:
    """Our key and our certificate."""
    if tls.certificate is None:
        return None, None
    return Path(tls.key or tls.certificate).read_bytes(), Path(tls.certificate).read_bytes()


async def refusal(host: str, port: int, tls: Tls) -> Exception | None:
    """Why a service refuses us, or we it: one more handshake, by Python's own TLS, whose errors say it."""
    context = tls.for_client()
    context.set_alpn_protocols(["h2"])
    writer = None
    try:
        async with asyncio.timeout(REFUSAL_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            if await reader.read(1):  # with TLS 1.3 a service refuses a client's certificate after the handshake
                return None
            return ConnectionResetError("it closed the connection")
    except (OSError, TimeoutError) as error:
        return error
    finally:
        if writer is not None:
            writer.close()
