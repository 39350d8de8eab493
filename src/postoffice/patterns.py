"""A pattern is what a message is about; its *route* is the one text that names it on the wire.

A string is its own route. A number is its text. An object becomes `{"key":value,...}` with the keys sorted at
every level, so that `{"cmd": "sum", "v": 1}` and `{"v": 1, "cmd": "sum"}` are one address. NestJS sorts with
JavaScript's localeCompare; we do the same for the keys where Python can know the order, and refuse the others.
"""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .errors import PatternError

__all__ = ["Pattern", "js_number", "route", "route_of_json"]

Pattern: TypeAlias = str | int | float | Mapping[str, Any] | Sequence[Any]

MAX_KEYS = 20  # NestJS: an object with more keys than this is "[TOO_MANY_KEYS]"
MAX_DEPTH = 5  # NestJS: what is nested deeper is "[MAX_DEPTH_REACHED]"; the top level is depth 0

# The order of printable ASCII in ICU's root collation, which localeCompare uses; letters follow, a < A < b.
ASCII_ORDER = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"
RANK = {char: rank for rank, char in enumerate(ASCII_ORDER)}


def route(pattern: Pattern) -> str:
    """The address of a pattern, character for character as NestJS computes it.

    Raises:
        PatternError: the pattern is None, a bool or another type that has no route, or two of its keys
            have an order that Python cannot know.
    """
    if isinstance(pattern, str):
        return pattern
    if isinstance(pattern, bool) or not isinstance(pattern, int | float | Mapping | list | tuple):
        raise PatternError(
            f"a pattern must be a string, a number, a dict or a list; got {pattern!r} ({type(pattern).__name__})."
            " Nothing was sent. Write for example {'cmd': 'sum'} or 'order.placed'."
        )
    return _text(pattern, 0)


def route_of_json(raw: bytes) -> str | None:
    """The route of a pattern as it came in a packet, or None where it has none.

    As in NestJS the text of a route is read as JSON once more, so that the object `{"cmd":"sum"}` and the
    string `'{"cmd":"sum"}'` are one address, and so are 42 and "42".
    """
    try:
        pattern = _parse(raw.decode())
        text = pattern if isinstance(pattern, str) else _text(pattern, 0)
    except (ValueError, RecursionError):
        return None
    try:
        again = _parse(text)
    except (ValueError, RecursionError):
        return text
    try:
        return None if isinstance(again, bool | None) else _text(again, 0)
    except (ValueError, RecursionError):
        return None


def js_number(number: float) -> str:
    """A number as JavaScript writes it: 42, 1.5, 1e+21, 1e-7 (ECMAScript, Number::toString).

    >>> js_number(1e21), js_number(1e-7), js_number(100.0)
    ('1e+21', '1e-7', '100')
    """
    if number != number or math.isinf(number):
        return "NaN" if number != number else ("Infinity" if number > 0 else "-Infinity")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    return sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    """Digits with the decimal point after the first `point` of them, in JavaScript's notation."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{point - 1:+d}"


def _text(value: Any, depth: int) -> str:
    """A pattern, or a part of one, as text. Only quotes and backslashes are escaped, as NestJS does."""
    match value:
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if depth else value
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case int() | float():
            if not -sys.float_info.max <= value <= sys.float_info.max:
                raise PatternError("a number in a pattern must be finite, and below 1.8e308 as a double is in JSON")
            return js_number(float(value))
        case Mapping():
            return _object(dict(value), depth)
        case list() | tuple():
            return _object({str(index): item for index, item in enumerate(value)}, depth)
    raise PatternError(f"a pattern may hold JSON values only; got {value!r} ({type(value).__name__})")


def _object(items: dict[Any, Any], depth: int) -> str:
    if depth > MAX_DEPTH:
        return "[MAX_DEPTH_REACHED]"
    if len(items) > MAX_KEYS:
        return "[TOO_MANY_KEYS]"
    keys = sorted(items, key=_collation) if len(items) > 1 else list(items)
    return "{" + ",".join(f"{_text(str(key), 1)}:{_text(items[key], depth + 1)}" for key in keys) + "}"


def _collation(key: str) -> tuple[list[int], list[str], list[bool]]:
    """Where a key sorts: by letters first, then by accents, then small letters before capitals."""
    letters: list[int] = []
    accents: list[str] = []
    capitals: list[bool] = []
    for char in unicodedata.normalize("NFD", str(key)):
        if unicodedata.combining(char) and accents:
            accents[-1] += char
            continue
        rank = RANK.get(char.lower())
        if rank is None or not char.isascii():
            raise PatternError(
                f"the key {key!r} of a pattern has {char!r}, and its place among other keys differs between"
                " Python and NestJS, so the two would not meet. Nothing was sent. Use ASCII keys, or one key only."
            )
        letters.append(rank)
        accents.append("")
        capitals.append(char.isupper())
    return letters, accents, capitals


def _parse(text: str) -> Any:
    """JSON as JavaScript reads it: every number is a double, and NaN is no JSON."""
    return json.loads(text, parse_int=float, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
