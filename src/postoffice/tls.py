"""TLS by URL scheme: `tls://`, `rediss://`, `nats+tls://`, `amqps://`, `mqtts://`, `kafka+tls://`, `grpcs://`.

The scheme asks for it; `Tls` says whom to trust and who we are. There is no way to switch verification off.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

__all__ = ["Tls", "explain"]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form.

    Attributes:
        ca: the authorities to trust; None: those of this machine. On a service, a `ca` also means that every
            client must show a certificate that one of them has signed (mutual TLS).
        certificate: our own certificate, with its chain. A service over TCP or gRPC needs one.
        key: its private key; None: it stands in the certificate's file.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def for_client(self) -> ssl.SSLContext:
        """What a client needs: it verifies the other side's certificate and its host name.

        Raises:
            UsageError: a file that cannot be read, or that is no certificate.
        """
        return self._loaded(ssl.Purpose.SERVER_AUTH)

    def for_server(self) -> ssl.SSLContext:
        """What a service that listens needs.

        Raises:
            UsageError: no certificate, or a file that cannot be read.
        """
        if self.certificate is None:
            raise UsageError("a service over TLS shows a certificate, so it needs one: Tls(certificate='server.pem')")
        context = self._loaded(ssl.Purpose.CLIENT_AUTH)
        if self.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _loaded(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"cannot use {self}: {error}. They are files in PEM form.") from error
        return context


def explain(error: BaseException | None) -> str | None:
    """Why TLS refused, in words, where it did; None for an error that is none of TLS's.

    The cause may be wrapped by a driver, so the chain of causes is searched.
    """
    seen: set[int] = set()  # a chain can lead back to itself, when a driver raises again what it had kept
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return _VERIFICATION.get(error.verify_code, f"its certificate was refused: {error.verify_message}")
        if isinstance(error, ssl.SSLError):
            return _alert(error)
        error = error.__cause__ or error.__context__
    return None


# X.509 verification codes, from OpenSSL's x509_vfy.h
_UNKNOWN_CA = "its certificate was signed by an authority that is not trusted here; give the right one: Tls(ca=...)"
_VERIFICATION = {
    9: "its certificate is not valid yet; compare the clocks",
    10: "its certificate has expired",
    18: _UNKNOWN_CA,
    19: _UNKNOWN_CA,
    20: _UNKNOWN_CA,
    21: _UNKNOWN_CA,
    62: "its certificate is for another host name than the one in the URL",
    64: "its certificate is for another IP address than the one in the URL",
}


def _alert(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).upper()
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "it wants a certificate of ours, and got none: Tls(certificate=..., key=...)"
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
        return "it does not trust the certificate that we showed"
    if "CERTIFICATE_EXPIRED" in reason:
        return "it says that the certificate that we showed has expired"
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "it does not speak TLS there; use the URL scheme without TLS, or the TLS port"
    return f"TLS failed: {error}"
