"""Decorators say what a function handles. They attach that, and do nothing else: there is no registry."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeVar

import msgspec

from .errors import HandlerError, RpcError
from .messages import decode
from .patterns import Pattern, route

__all__ = ["Handler", "collect", "event_pattern", "message_pattern"]

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["message", "event"]
MARKS = "__postoffice_patterns__"


def message_pattern(pattern: Pattern) -> Callable[[F], F]:
    """Answer requests with this pattern: what the function returns is the reply its caller waits for.

    An async generator replies with a stream: each value it yields is one packet.
    A function may bear several patterns, one decorator each. At most one handler serves a message pattern.
    """
    return _mark("message", pattern)


def event_pattern(pattern: Pattern) -> Callable[[F], F]:
    """Take events with this pattern: nobody waits, and what the function returns is dropped.

    Several handlers may take one event; all run, started in the order they are defined.
    """
    return _mark("event", pattern)


def _mark(kind: Kind, pattern: Pattern) -> Callable[[F], F]:
    address = route(pattern)

    def attach(function: F) -> F:
        marks = [*getattr(function, MARKS, []), (kind, address)]
        setattr(function, MARKS, marks)
        return function

    return attach


@dataclass(frozen=True, slots=True)
class Handler:
    """A function, what it handles, and how to call it; everything that can be found out is found out once.

    `decode` turns the JSON text of the data into what the function's first parameter asks for.
    """

    kind: Kind
    route: str
    function: Callable[..., Any]
    decode: Callable[[bytes | msgspec.Raw], Any]
    parameters: int
    is_stream: bool

    @property
    def wants_context(self) -> bool:
        return self.parameters == 2

    def __repr__(self) -> str:
        return f"<{self.kind} {self.route!r}: {_where(self.function)}>"


def collect(*targets: Any) -> list[Handler]:
    """The handlers of modules, functions and objects, checked.

    Raises:
        HandlerError: no handler at all; a function that is not async, takes more than (data, context), or asks
            for data of a type that cannot be checked; two handlers for one message pattern.
    """
    handlers = [handler for target in targets for handler in _of(target)]
    if not handlers:
        raise HandlerError(
            "there is no handler to serve: no function here bears @message_pattern or @event_pattern."
            " Decorate one, or pass the module, function or object that has it."
        )
    taken: dict[str, Handler] = {}
    for handler in handlers:
        if handler.kind == "message" and (first := taken.setdefault(handler.route, handler)) is not handler:
            raise HandlerError(
                f"two handlers for the message pattern {handler.route!r}: {_where(first.function)} and"
                f" {_where(handler.function)}. A request gets one answer: give one of them another pattern."
            )
    return handlers


def _of(target: Any) -> Iterator[Handler]:
    """The handlers of one target; one that hides in two places is taken once."""
    seen: set[int] = set()
    for function in _functions(target):
        inner = inspect.unwrap(getattr(function, "__func__", function))
        if id(inner) not in seen:
            seen.add(id(inner))
            for kind, address in reversed(getattr(function, MARKS)):  # decorators apply from the bottom up
                yield _handler(kind, address, function)


def _functions(target: Any) -> Iterator[Callable[..., Any]]:
    if inspect.isclass(target):
        raise HandlerError(f"{target.__name__} is a class; pass an object of it: Service({target.__name__}())")
    if isinstance(target, ModuleType):
        yield from (value for value in vars(target).values() if inspect.isfunction(value) and hasattr(value, MARKS))
    elif callable(target) and hasattr(target, MARKS):
        yield target
    else:
        names = dict.fromkeys(name for base in reversed(type(target).__mro__) for name in vars(base))
        marked = (name for name in names if hasattr(inspect.getattr_static(target, name), MARKS))
        yield from (getattr(target, name) for name in marked)


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
    decoder = _decoder(function, positional[0].name) if positional else decode
    return Handler(kind, address, function, decoder, min(len(positional), 2), is_stream)


def _decoder(function: Callable[..., Any], name: str) -> Callable[[bytes | msgspec.Raw], Any]:
    """How to read data for a parameter: checked against its annotation, taken as it is without one."""
    try:
        wanted = typing.get_type_hints(inspect.unwrap(function), include_extras=True).get(name, Any)
        read = decode if wanted is Any else _pydantic_reader(wanted) or _msgspec_reader(wanted)
    except (NameError, TypeError) as error:
        raise HandlerError(
            f"the handler {_where(function)} wants `{name}` of a type that cannot be checked: {error}."
            " Use plain types, a dataclass, a TypedDict, a msgspec Struct or a pydantic model."
        ) from error

    def checked(raw: bytes | msgspec.Raw) -> Any:
        try:
            return read(bytes(raw) or b"null")
        except (ValueError, RecursionError) as error:  # msgspec's and pydantic's errors are ValueErrors
            raise RpcError(f"invalid payload: {_plain(error)}. The handler did not run.") from error

    return checked


def _pydantic_reader(wanted: Any) -> Callable[[bytes], Any] | None:
    """pydantic's validation, where the type is a pydantic model or holds one; pydantic loads only then."""
    parts = [wanted]
    while parts:
        part = parts.pop()
        if hasattr(part, "__pydantic_validator__"):
            from pydantic import TypeAdapter

            return TypeAdapter(wanted).validate_json
        parts += typing.get_args(part)
    return None


def _msgspec_reader(wanted: Any) -> Callable[[bytes], Any]:
    """msgspec's validation. A class that JSON has no form for would refuse every message: that is said at start."""
    try:
        msgspec.json.schema(wanted)
    except TypeError as error:
        raise TypeError(
            f"{getattr(wanted, '__name__', wanted)} is, or holds, a class that JSON knows no form of"
        ) from error
    return msgspec.json.Decoder(wanted).decode


def _plain(error: Exception) -> str:
    """A validation error in a line: where, and what was expected."""
    if hasattr(error, "errors"):  # pydantic lists them
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in error.errors())
    return str(error)


def _where(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(inner, "__code__", None)
    name = getattr(inner, "__qualname__", repr(inner))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
