"""Typed parameters: a payload is checked before the handler runs."""

import dataclasses
from typing import Any, Literal, TypedDict

import msgspec
import pytest
from contract_help import Place
from pydantic import BaseModel, Field

from postoffice import Context, RpcError, message_pattern

ran: list[str] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Order(msgspec.Struct):
    id: int
    lines: list[Point]


class Named(TypedDict):
    name: str


class User(BaseModel):
    name: str = Field(min_length=1)
    age: int


def handler(pattern: str, wanted: Any) -> Any:
    """A handler whose parameter is of this type, and which says what it was given."""

    async def handle(data, ctx: Context):
        ran.append(pattern)
        return [type(data).__name__, data]

    handle.__annotations__["data"] = wanted
    return message_pattern(pattern)(handle)


CASES = [
    # type, good data, what comes back, bad data, what the error says
    (int, 1, ["int", 1], "1", "Expected `int`, got `str`"),
    (str, "é", ["str", "é"], 1, "Expected `str`, got `int`"),
    (float, 1, ["float", 1.0], "x", "Expected `float`, got `str`"),
    (bool, False, ["bool", False], 0, "Expected `bool`, got `int`"),
    (list[int], [1, 2], ["list", [1, 2]], [1, "2"], "Expected `int`, got `str` - at `$[1]`"),
    (dict[str, int], {"a": 1}, ["dict", {"a": 1}], {"a": None}, "got `null`"),
    (tuple[int, str], [1, "a"], ["tuple", [1, "a"]], [1], "Expected `array` of length 2"),
    (int | None, None, ["NoneType", None], "x", "Expected `int | null`"),
    (Literal["a", "b"], "a", ["str", "a"], "c", "Invalid enum value 'c'"),
    (Point, {"x": 1, "y": 0}, ["Point", {"x": 1, "y": 0}], {"y": 1}, "missing required field `x`"),
    (
        Order,
        {"id": 1, "lines": [{"x": 2, "y": 0}]},
        ["Order", {"id": 1, "lines": [{"x": 2, "y": 0}]}],
        [],
        "Expected `object`",
    ),
    (Named, {"name": "n"}, ["dict", {"name": "n"}], {"name": 1}, "got `int` - at `$.name`"),
    (
        User,
        {"name": "a", "age": 3},
        ["User", {"name": "a", "age": 3}],
        {"name": "", "age": "x"},
        "; age: Input should be a valid integer",
    ),
    (User | None, None, ["NoneType", None], {"name": "a"}, "age: Field required"),
    (list[User], [], ["list", []], [{}], "name: Field required"),
]


@pytest.mark.parametrize("kind", ["tcp", "rabbitmq"])
async def test_a_payload_is_what_the_parameter_asks_for_or_is_refused(place: Place) -> None:
    """Good data arrives as the type; bad data is a clear error to the caller, and the handler does not run."""
    await place.serve(*(handler(f"case {number}", case[0]) for number, case in enumerate(CASES)))
    client = await place.connect()
    for number, (_, good, back, bad, words) in enumerate(CASES):
        ran.clear()
        assert await client.send(f"case {number}", good) == back
        assert ran == [f"case {number}"]
        with pytest.raises(RpcError, match=r"^invalid payload: .*\. The handler did not run\.$") as caught:
            await client.send(f"case {number}", bad)
        assert words in str(caught.value)
        assert caught.value.error["status"] == "error"
        assert ran == [f"case {number}"]


@pytest.mark.parametrize("kind", ["tcp"])
async def test_an_object_is_anything(place: Place) -> None:
    """As it came, like data without a type."""
    await place.serve(handler("any", object))
    client = await place.connect()
    for data in (1, None, "é", [1, {"a": None}]):
        assert await client.send("any", data) == [type(data).__name__, data]


async def test_an_event_with_a_bad_payload_is_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody to tell; the service goes on."""
    ran.clear()
    await place.serve(handler("typed", int))
    client = await place.connect()
    await client.emit("typed", "x")
    await client.emit("typed", 1)
    assert await client.send("typed", 2) == ["int", 2]
    assert ran == ["typed"] * 2
    assert "invalid payload: Expected `int`, got `str`" in caplog.text


async def test_a_handler_may_take_nothing(place: Place) -> None:
    """Whatever was sent."""

    @message_pattern("nothing")
    async def nothing():
        return "done"

    await place.serve(nothing)
    assert await (await place.connect()).send("nothing", {"any": 1}) == "done"
