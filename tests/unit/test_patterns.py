"""From a pattern to its route, and back from the bytes of a packet."""

import json
from pathlib import Path
from unicodedata import combining, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postoffice import PatternError
from postoffice.patterns import js_number, route, route_of_json

CAPTURED = json.loads((Path(__file__).parents[1] / "vectors" / "patterns.json").read_text(encoding="utf-8"))
KEYS = st.text("abcXYZ012_-. $", max_size=4)
VALUES = st.integers(-(2**53), 2**53) | st.booleans() | st.none() | st.text('ab"\\{}:é🚀 ', max_size=4)
OBJECTS = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda part: st.dictionaries(KEYS, part | VALUES, max_size=4),
    max_leaves=5,
)


def sortable(pattern: object) -> bool:
    """Whether Python can know the order of all keys: ASCII, accents aside, or alone at their level."""
    if isinstance(pattern, dict):
        plain = [char for key in pattern for char in normalize("NFD", key) if not combining(char)]
        return (len(pattern) < 2 or all(map(str.isascii, plain))) and all(map(sortable, pattern.values()))
    return all(map(sortable, pattern)) if isinstance(pattern, list) else True


@pytest.mark.parametrize("case", CAPTURED["route"], ids=lambda case: str(case["input"])[:40])
def test_a_route_is_what_nestjs_computes(case: dict[str, object]) -> None:
    """Character for character; where keys have an order that Python cannot know, it says so instead."""
    if sortable(case["input"]):
        assert route(case["input"]) == case["route"]  # type: ignore[arg-type]
    else:
        with pytest.raises(PatternError, match=r"place among other keys differs.*Nothing was sent\. Use ASCII keys"):
            route(case["input"])  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CAPTURED["lookups"], ids=str)
def test_a_packets_pattern_finds_the_handlers_that_nestjs_finds(case: dict[str, object]) -> None:
    """Text that is JSON is read once more, so "true" or " 5" as a handler's pattern is never reached."""
    handlers = {one["registered_and_sent"] for one in CAPTURED["lookups"] if "registered_and_sent" in one}
    sent = case.get("registered_and_sent", case.get("sent_pattern"))
    found = route_of_json(json.dumps(sent).encode()) in handlers
    assert found is case.get("found", "err" not in case["got"])  # type: ignore[operator]


@given(OBJECTS)
def test_the_order_of_keys_does_not_matter(pattern: dict[str, object]) -> None:
    """One address however the object was written."""
    turned = dict(reversed(pattern.items()))
    assert route(pattern) == route(turned) == route_of_json(json.dumps(turned).encode())


@given(OBJECTS)
def test_an_object_and_its_route_as_text_are_one_address(pattern: dict[str, object]) -> None:
    """TCP events carry the route as a string, and arrive at the same handler."""
    text = route(pattern)
    assert route_of_json(json.dumps(text).encode()) == text


@given(st.binary(max_size=60))
def test_any_bytes_have_a_route_or_none(raw: bytes) -> None:
    """No bytes of a packet make the router fail."""
    assert route_of_json(raw) is None or isinstance(route_of_json(raw), str)


@pytest.mark.parametrize("raw", [b"[" * 50_000 + b"]" * 50_000, b"9" * 100_000, b'"\\ud800"', b"1e999", b'{"a":1e999}'])
def test_hostile_patterns_find_no_handler(raw: bytes) -> None:
    """Deep nesting, digits without end, a lone surrogate, numbers beyond a double."""
    assert route_of_json(raw) in (None, "\ud800")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_javascript_writes_it_reads_as_the_same_number(number: float) -> None:
    """Nothing is lost between the notations."""
    assert float(js_number(number)) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (-1e-7, "-1e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_numbers_in_javascripts_notation(number: float, text: str) -> None:
    """Values that ECMAScript's own tables name."""
    assert js_number(number) == text


@pytest.mark.parametrize("pattern", [None, True, b"x", object(), {"a": object()}, {"a": {1}}])
def test_what_is_no_pattern_is_refused(pattern: object) -> None:
    """The error names the value and its type."""
    with pytest.raises(PatternError, match="; got "):
        route(pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [10**400, float("inf"), float("nan")])
def test_a_number_that_json_does_not_know_is_refused(number: float) -> None:
    """At the top and inside; it would travel as another pattern than its route."""
    for pattern in (number, {"v": number}):
        with pytest.raises(PatternError, match="must be finite"):
            route(pattern)
