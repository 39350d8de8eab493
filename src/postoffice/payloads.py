"""From data as it came to what a handler's parameter asks for: checked against its annotation, once it is known.

Most transports bring JSON text; gRPC brings dicts, and streams of them.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from .errors import InvalidPayload
from .messages import decode

__all__ = ["json_reader", "text_reader", "value_reader"]

INVALID_ARGUMENT = 3  # gRPC's status code
STREAMS = ("AsyncIterator", "AsyncIterable", "AsyncGenerator")


def json_reader(function: Callable[..., Any], name: str) -> Callable[[bytes | msgspec.Raw], Any]:
    """How to read JSON text for a parameter: taken as it is where it has no annotation.

    Raises:
        NameError, TypeError: its type cannot be checked.
    """
    wanted = _wanted(function, name)
    adapter = _pydantic(wanted)
    read = decode if wanted in (Any, object) else adapter.validate_json if adapter else _msgspec_reader(wanted)

    def checked(raw: bytes | msgspec.Raw) -> Any:
        try:
            return read(bytes(raw) or b"null")
        except (ValueError, RecursionError) as error:  # msgspec's and pydantic's errors are ValueErrors
            raise InvalidPayload(f"invalid payload: {_plain(error)}. The handler did not run.") from error

    return checked


def text_reader(read: Callable[[bytes | msgspec.Raw], Any]) -> Callable[[bytes | msgspec.Raw], Any]:
    """The same where numbers and booleans arrive as text: what is refused as a text is read as what stands in it."""

    def lenient(raw: bytes | msgspec.Raw) -> Any:
        try:
            return read(raw)
        except InvalidPayload as refused:
            text = decode(raw) if bytes(raw)[:1] == b'"' else None
            if not text:
                raise
            try:
                return read(text.encode())
            except InvalidPayload:
                raise refused from None

    return lenient


def value_reader(function: Callable[..., Any], name: str) -> tuple[Callable[[Any], Any], bool]:
    """How to read a dict, or a stream of dicts, for a parameter; and whether its type asks for every field.

    Raises:
        NameError, TypeError: its type cannot be checked.
    """
    wanted = _wanted(function, name)
    if getattr(typing.get_origin(wanted), "__name__", "") in STREAMS:
        wanted = typing.get_args(wanted)[0]
    if wanted in (Any, object, dict, Mapping) or typing.get_origin(wanted) in (dict, Mapping):
        return lambda data: data, False
    adapter = _pydantic(wanted)
    _msgspec_reader(wanted) if adapter is None else None
    convert = adapter.validate_python if adapter else functools.partial(msgspec.convert, type=wanted)

    def checked(data: Any) -> Any:
        if isinstance(data, AsyncIterator):
            return (checked(one) async for one in data)
        try:
            return convert(data)
        except (ValueError, RecursionError) as error:
            text = f"invalid payload: {_plain(error)}."
            raise InvalidPayload({"code": INVALID_ARGUMENT, "message": text}) from error

    return checked, True


def _wanted(function: Callable[..., Any], name: str) -> Any:
    return typing.get_type_hints(inspect.unwrap(function), include_extras=True).get(name, Any)


def _pydantic(wanted: Any) -> Any:
    """pydantic's adapter, where the type is a pydantic model or holds one; pydantic loads only then."""
    parts = [wanted]
    while parts:
        part = parts.pop()
        if hasattr(part, "__pydantic_validator__"):
            from pydantic import TypeAdapter

            return TypeAdapter(wanted)
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
