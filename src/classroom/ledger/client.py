"""What a service writes to the ledger with: `ledger`. It can write, and nothing else."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from classroom.ledger.wire import MAX_LINE, NoAnswer, Refused, address_of, ask
from postoffice.errors import (
    ConnectError,
    ConnectionLost,
    PayloadError,
    PermanentError,
    RequestTimeout,
    RpcError,
    UsageError,
)

__all__ = ["Ledger", "ledger"]

URL = "LEDGER_URL"  # the environment variables that a process of this kernel has
SERVICE, REPLICA = "CLASSROOM_SERVICE", "CLASSROOM_REPLICA"
PERMANENT = (400, 409, 413)
DEFAULT_TIMEOUT = 5.0  # seconds, as for any other call


class Ledger:
    """The outside world, as a service calls it.

    Each method returns the ledger's answer: `receipt` (the number of the effect), `kind`, `id`, `amount`, `at`. A call
    whose `idempotency_key` the ledger knows has no effect, and gets the first call's answer.

    Each raises:
        RequestTimeout, ConnectionLost: no answer within `timeout` seconds; the effect MAY have happened.
        ConnectError: nobody answers there; nothing was done.
        RpcError: the ledger refused, and nothing was done; its `error["status"]` is 503 when it was told to fail, 429
            when there are too many calls at once, 507 when it is full.
        PermanentError: the same, and trying again cannot help: 409 when the idempotency key was used for another
            payload, 400 or 413 when the call is no good.
        PayloadError: no JSON, or too large; nothing was sent. UsageError: there is no ledger, or a wrong argument.

    Args:
        url: its address, tcp://host:port; None: the one in LEDGER_URL, looked up at each call.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    async def charge(
        self,
        id: int | str,
        *,
        amount: float,
        idempotency_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        **fields: Any,
    ) -> dict[str, Any]:
        """Take money: `amount`, for the order `id`. `fields` are kept beside it."""
        return await self._call("charge", id, amount, idempotency_key, timeout, fields)

    async def ship(
        self, id: int | str, *, idempotency_key: str | None = None, timeout: float = DEFAULT_TIMEOUT, **fields: Any
    ) -> dict[str, Any]:
        """Send a parcel for the order `id`."""
        return await self._call("ship", id, None, idempotency_key, timeout, fields)

    async def mail(
        self, id: int | str, *, idempotency_key: str | None = None, timeout: float = DEFAULT_TIMEOUT, **fields: Any
    ) -> dict[str, Any]:
        """Send a mail about the order `id`."""
        return await self._call("mail", id, None, idempotency_key, timeout, fields)

    async def record(
        self,
        kind: str,
        id: int | str,
        *,
        amount: float | None = None,
        idempotency_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        **fields: Any,
    ) -> dict[str, Any]:
        """Have any other effect; `kind` is its name, e.g. "refund". A key stands for one effect of its kind."""
        return await self._call(kind, id, amount, idempotency_key, timeout, fields)

    async def _call(
        self, kind: str, ident: int | str, amount: float | None, key: str | None, timeout: float, fields: dict[str, Any]
    ) -> dict[str, Any]:
        host, port = self._address()
        line = _line({"kind": kind, "id": ident, "amount": amount, "key": key, "fields": fields, "caller": _caller()})
        where = f"the ledger at {host}:{port}"
        try:
            async with asyncio.timeout(timeout):
                answer: dict[str, Any] = await ask(host, port, line)
                return answer
        except TimeoutError:
            raise RequestTimeout(
                f"{where} did not answer {kind} {ident!r} within {timeout:g} s. It may have happened, or may happen"
                " yet. Repeat it with the same idempotency_key, and it happens once."
            ) from None
        except NoAnswer:
            raise ConnectionLost(
                f"the connection to {where} broke while the answer to {kind} {ident!r} was awaited. It may have"
                " happened. Repeat it with the same idempotency_key, and it happens once."
            ) from None
        except Refused as error:
            kind_of_error = PermanentError if error.status in PERMANENT else RpcError
            raise kind_of_error({"status": error.status, "message": str(error)}) from None
        except OSError as error:
            raise ConnectError(
                f"{where} cannot be reached ({error.strerror or error}). Nothing was done. Is it down? Try again later,"
                " or in the notebook: await book.up()"
            ) from error

    def _address(self) -> tuple[str, int]:
        url = self._url or os.environ.get(URL)
        if not url:
            raise UsageError(
                "there is no ledger: this process has no LEDGER_URL. Start one in a cell: book = await start_ledger(),"
                " and run the cell of this service again, so that it learns the address."
            )
        try:
            return address_of(url)
        except ValueError as error:
            raise UsageError(f"{error}. Nothing was sent.") from None

    def __repr__(self) -> str:
        return f"<the ledger at {self._url or os.environ.get(URL) or 'no address: there is none'}>"


def _caller() -> dict[str, Any]:
    replica = os.environ.get(REPLICA, "")
    name = os.environ.get(SERVICE, "")
    return {"service": name, "replica": int(replica) if replica.isdigit() else 0, "pid": os.getpid()}


def _line(call: dict[str, Any]) -> bytes:
    try:
        line = msgspec.json.encode(call)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"this cannot be written as JSON: {error}. Nothing was sent to the ledger.") from error
    if len(line) >= MAX_LINE:
        raise PayloadError(f"a call of {len(line) + 1:,} bytes exceeds the ledger's {MAX_LINE:,}. Nothing was sent.")
    return line


ledger = Ledger()
