"""The ledger: the outside world, where an effect cannot be taken back. Charges, shipments, mails.

In a notebook, where it is started, read and broken:

    book = await start_ledger()
    await book.rows()                         # every call that came
    async with book.slow(0.5): ...            # also book.failing(times=3, after_effect=True), book.down()

In a service, which can only write:

    from classroom.ledger import ledger
    await ledger.charge(data["id"], amount=data["total"], idempotency_key=ctx.message_id)

It records every call. Two calls with one idempotency key are one effect; without a key, every call is an effect.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classroom.ledger.book import Book, LedgerError, start_ledger
    from classroom.ledger.client import Ledger, ledger
    from classroom.ledger.rows import Row, Rows

__all__ = ["Book", "Ledger", "LedgerError", "Row", "Rows", "ledger", "start_ledger"]

_HOMES = {"Ledger": "client", "ledger": "client", "Row": "rows", "Rows": "rows"}


def __getattr__(name: str) -> Any:
    """Load on first use: a service loads no more than it writes with."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'book')}"), name)
