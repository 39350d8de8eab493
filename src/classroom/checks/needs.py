"""What ends a check before its end: something that it needs is missing, or something breaks down on the way.

    need_broker(result, "rabbit", rabbit, "rabbitmq")   # where it is missing, that is said, and the check is over
    need_ledger(result, book)
    with no_verdict(result):                            # what breaks down in here is no mistake of the learner's
        ...

Either way `Over` is raised, which `Check.apply` catches: a judge goes on only where it can judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aio_pika.exceptions import AMQPError
from redis.exceptions import RedisError

from classroom.brokers import Broker, BrokerError
from classroom.checks.asking import is_function
from classroom.checks.result import Over, Result
from classroom.faults.link import LinkError
from classroom.ledger import Book, LedgerError
from classroom.service_handle import ServiceHandle
from classroom.service_plan import ServiceError
from postoffice import PostOfficeError

__all__ = ["FIRST_CELL", "need", "need_broker", "need_function", "need_ledger", "need_service", "no_verdict"]

FIRST_CELL = "run the first cell of this lab again, and the cells of your services after it."
BREAKS: tuple[type[Exception], ...] = (
    PostOfficeError, ServiceError, LedgerError, BrokerError, LinkError, AMQPError, RedisError, OSError,
    RuntimeError,  # of aio-pika and the event loop, when a connection ends under them
)  # fmt: skip


def need(result: Result, text: str, there: bool, *, seen: str = "", hint: str = "") -> None:
    """What must be so before a check can begin; told only where it is not. Raises Over then."""
    if not there:
        result.judge(text, False, seen=seen, hint=hint)
        raise Over


def need_broker(result: Result, name: str, broker: Any, kind: str, hint: str = FIRST_CELL) -> Broker:
    """The variable is a broker of this kind, and it runs."""
    text = f"{name} is a broker that runs"
    if not (isinstance(broker, Broker) and broker.kind == kind):
        result.judge(text, False, seen=f"{broker!r:.80}", hint=hint)
        raise Over
    need(result, text, broker.alive, seen=f"it is {broker.state}", hint=f"await {name}.restart()")
    return broker


def need_ledger(result: Result, book: Any, hint: str = FIRST_CELL) -> Book:
    """The variable `book` is a ledger, and it runs."""
    if isinstance(book, Book) and book.alive:
        return book
    result.judge("book is a ledger that runs", False, seen=f"{book!r:.80}", hint=hint)
    raise Over


def need_service(result: Result, name: str, service: Any, hint: str = "") -> ServiceHandle:
    """The variable is a service; whether it runs is not asked."""
    if isinstance(service, ServiceHandle):
        return service
    hint = hint or f"run the %%service {name} cell again."
    result.judge(f"{name} is a service", False, seen=f"{service!r:.80}", hint=hint)
    raise Over


def need_function(result: Result, name: str, function: Any, how: str) -> None:
    """The variable is a function; `how` its first line should look is the hint."""
    need(result, f"{name} is a function", is_function(function), seen=f"{function!r:.80}", hint=how)


@contextmanager
def no_verdict(result: Result, hint: Callable[[], str] = lambda: FIRST_CELL) -> Iterator[None]:
    """What breaks down inside, such as a broker, leaves the check without a verdict. Raises Over then."""
    try:
        yield
    except Exception as error:
        first = _first(error)
        if first is None:
            raise
        seen = f"{type(first).__name__}: {first}"[:500]
        result.judge("the check came to its end", None, seen=seen, hint=hint())
        raise Over from error


def _first(error: Exception) -> Exception | None:
    """The first of what broke; None where anything else is among it."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, BREAKS) else None
    found = [_first(one) for one in error.exceptions]
    return None if None in found else found[0]
