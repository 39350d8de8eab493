"""Decorators say what a function handles. They attach that, and do nothing else: there is no registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal, TypeVar

from .errors import HandlerError
from .messages import decode
from .patterns import Pattern, route
from .payloads import json_reader, text_reader, value_reader
from .retry import Retry

__all__ = ["Handler", "collect", "event_pattern", "grpc_method", "message_pattern"]

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["message", "event", "method"]
MARKS = "__postoffice_patterns__"
_WORDS = {"message": "message pattern", "method": "gRPC method"}


def message_pattern(pattern: Pattern) -> Callable[[F], F]:
    """Answer requests with this pattern: what the function returns is the reply its caller waits for.

    An async generator replies with a stream: each value it yields is one packet.
    A function may bear several patterns, one decorator each. At most one handler serves a message pattern.
    """
    address = route(pattern)
    return lambda function: _attach(function, "message", address)


def event_pattern(pattern: Pattern, *, retry: Retry | None = None, dead_letter: str | None = None) -> Callable[[F], F]:
    """Take events with this pattern: nobody waits, and what the function returns is dropped.

    Several handlers may take one event; all run, started in the order they are defined.

    Args:
        retry: at least once only: when the event is tried again after the function raised. Where one of several
            handlers fails, all of them get the event again.
        dead_letter: at least once only: the queue that takes it when it is given up; `<service>.dead` where none is
            named.

    Raises HandlerError: `retry` is no Retry, or `dead_letter` no name.
    """
    if not (retry is None or isinstance(retry, Retry)):
        raise HandlerError(f"retry={retry!r} says nothing to go by: write retry=Retry(attempts=3), and import Retry.")
    if not (dead_letter is None or (isinstance(dead_letter, str) and dead_letter)):
        raise HandlerError(f"dead_letter is the name of a queue, such as 'orders.dead'; got {dead_letter!r}.")
    address = route(pattern)
    return lambda function: _attach(function, "event", address, retry, dead_letter)


def grpc_method(service: str, method: str | None = None) -> Callable[[F], F]:
    """Answer calls of a method of a gRPC service; `method` is the function's name, capitalised: find_one -> FindOne.

    Data come as a dict, as an async iterator of dicts where the .proto says that the caller sends a stream. What the
    function returns is the reply; where the .proto says that the service sends a stream, it is an async generator.
    A plain dict has only the fields that are set; a typed parameter gets proto3's zero values for the others.
    A handler whose caller has gone, or whose deadline has passed, is cancelled.
    """

    def attach(function: F) -> F:
        name = method or "".join(part[:1].upper() + part[1:] for part in _inner(function).__name__.split("_"))
        return _attach(function, "method", f"{service}/{name}")

    return attach


def _attach(function: F, kind: Kind, address: str, retry: Retry | None = None, dead_letter: str | None = None) -> F:
    inner = _inner(function)
    setattr(inner, MARKS, [*getattr(inner, MARKS, []), (kind, address, retry, dead_letter)])
    return function


@dataclass(frozen=True, slots=True)
class Handler:
    """A function, what it handles, and how to call it; everything that can be found out is found out once.

    `decode` turns the JSON text of the data (on gRPC a dict, or a stream of them) into what the function's first
    parameter asks for; `typed` says that on gRPC it asks for every field. `retry` and `dead_letter` are an event's.
    """

    kind: Kind
    route: str
    function: Callable[..., Any]
    decode: Callable[[Any], Any]
    parameters: int
    is_stream: bool
    typed: bool = False
    retry: Retry | None = None
    dead_letter: str | None = None

    @property
    def wants_context(self) -> bool:
        return self.parameters == 2

    def __repr__(self) -> str:
        return f"<{self.kind} {self.route!r}: {_where(self.function)}>"


def collect(*targets: Any, methods: bool = False, texts: bool = False) -> list[Handler]:
    """The handlers of modules, functions and objects, checked: those of patterns, or with `methods` those of gRPC.

    With `texts`, data that is a number or a boolean arrives as text, as on Kafka.

    Raises:
        HandlerError: no handler at all; a function that is not async, takes more than (data, context), or asks
            for data of a type that cannot be checked; two handlers for one message pattern.
    """
    handlers = [one for target in targets for one in _of(target) if (one.kind == "method") == methods]
    if not handlers:
        marks = "@grpc_method, as gRPC needs" if methods else "@message_pattern or @event_pattern"
        raise HandlerError(
            f"there is no handler to serve: no function here bears {marks}."
            " Decorate one, or pass the module, function or object that has it."
        )
    taken: dict[str, Handler] = {}
    for handler in handlers:
        if handler.kind != "event" and (first := taken.setdefault(handler.route, handler)) is not handler:
            raise HandlerError(
                f"two handlers for the {_WORDS[handler.kind]} {handler.route!r}: {_where(first.function)} and"
                f" {_where(handler.function)}. A request gets one answer: give one of them another pattern."
            )
    return [replace(one, decode=text_reader(one.decode)) for one in handlers] if texts else handlers


def _of(target: Any) -> Iterator[Handler]:
    """The handlers of one target; one that hides in two places is taken once."""
    seen: set[int] = set()
    for function in _functions(target):
        inner = inspect.unwrap(_inner(function))
        if id(inner) not in seen:
            seen.add(id(inner))
            for kind, address, retry, dead_letter in reversed(getattr(function, MARKS)):  # applied from the bottom up
                yield replace(_handler(kind, address, function), retry=retry, dead_letter=dead_letter)


def _functions(target: Any) -> Iterator[Callable[..., Any]]:
    if inspect.isclass(target):
        raise HandlerError(f"{target.__name__} is a class; pass an object of it: Service({target.__name__}())")
    if isinstance(target, ModuleType):
        yield from (value for value in vars(target).values() if inspect.isfunction(value) and hasattr(value, MARKS))
    elif callable(target) and hasattr(target, MARKS):
        yield target
    else:
        names = dict.fromkeys(name for base in reversed(type(target).__mro__) for name in vars(base))
        marked = (name for name in names if hasattr(_inner(inspect.getattr_static(target, name)), MARKS))
        yield from (getattr(target, name) for name in marked)


def _inner(function: Any) -> Any:
    """The function inside a method, a static method or a class method."""
    return getattr(function, "__func__", function)


def _handler(kind: Kind, address: str, function: Callable[..., Any]) -> Handler:
    is_stream = inspect.isasyncgenfunction(function)
    if not (is_stream or inspect.iscoroutinefunction(function)):
        raise HandlerError(
            f"the handler {_where(function)} is not async: one that waits would stop every other message."
            f" Write `async def {getattr(function, '__name__', 'handler')}(...)`."
        )
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    positional = [one for one in parameters if one.kind in kinds]
    needed = [one for one in parameters if one.default is one.empty and one.kind in (*kinds, one.KEYWORD_ONLY)]
    if len(needed) > 2 or any(one.kind is one.KEYWORD_ONLY for one in needed):
        raise HandlerError(
            f"the handler {_where(function)} asks for {len(needed)} arguments ({', '.join(p.name for p in needed)})."
            " A handler is called with the data and the context: write (), (data) or (data, ctx)."
        )
    read, typed = _reader(kind, function, positional[0].name) if positional else (decode, False)
    return Handler(kind, address, function, read, min(len(positional), 2), is_stream, typed)


def _reader(kind: Kind, function: Callable[..., Any], name: str) -> tuple[Callable[[Any], Any], bool]:
    try:
        return value_reader(function, name) if kind == "method" else (json_reader(function, name), False)
    except (NameError, TypeError) as error:
        raise HandlerError(
            f"the handler {_where(function)} wants `{name}` of a type that cannot be checked: {error}."
            " Use plain types, a dataclass, a TypedDict, a msgspec Struct or a pydantic model."
        ) from error


def _where(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(_inner(function))
    code = getattr(inner, "__code__", None)
    name = getattr(inner, "__qualname__", repr(inner))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
