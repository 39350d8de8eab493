"""Plain data as a line of JSON and back, types kept: what passes between the grader and code that it does not trust.

None, bool, int, float and str are themselves; the others are a list of a letter and a value: bytes ["b", base64], list
["l", [...]], tuple ["t", [...]], dict ["d", [[key, value], ...]], and `...` ["e"]. Decoding makes nothing else, so
whatever comes in is of exactly these types.
"""

from __future__ import annotations

import base64
import json
from typing import Any

__all__ = ["decode", "encode"]

SINGLE = (bool, int, float, str)


def encode(value: Any) -> bytes:
    """A line, without its newline. Raises TypeError for what is no plain data, RecursionError for what is too deep."""
    return json.dumps(_tagged(value)).encode("ascii")


def decode(line: bytes) -> Any:
    """The value. Raises ValueError or RecursionError for anything else than `encode` makes."""
    return _value(json.loads(line))


def _tagged(value: Any) -> Any:
    if value is None or type(value) in SINGLE:
        return value
    if type(value) is bytes:
        return ["b", base64.b64encode(value).decode("ascii")]
    if type(value) in (list, tuple):
        return [type(value).__name__[0], [_tagged(one) for one in value]]
    if type(value) is dict:
        return ["d", [[_tagged(key), _tagged(one)] for key, one in value.items()]]
    if value is ...:
        return ["e"]
    raise TypeError(f"a {type(value).__name__} is no plain data")


def _value(found: Any) -> Any:
    if not isinstance(found, (list, dict)):
        return found
    match found:
        case ["e"]:
            return ...
        case ["b", str(text)]:
            return base64.b64decode(text, validate=True)
        case ["l", list(items)]:
            return [_value(one) for one in items]
        case ["t", list(items)]:
            return tuple([_value(one) for one in items])
        case ["d", list(pairs)]:
            return _mapping(pairs)
    raise ValueError("this is no plain data")


def _mapping(pairs: list[Any]) -> dict[Any, Any]:
    made = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("this is no plain data")
        key = _value(pair[0])
        if isinstance(key, (list, dict)):
            raise ValueError("a key is a single value")
        try:
            made[key] = _value(pair[1])
        except TypeError as error:  # a tuple with a list in it
            raise ValueError(str(error)) from None
    return made
