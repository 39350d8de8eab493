"""What must hold on gRPC whoever is the client and whoever is the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .casework import ended, same
from .peers import Call, Pair

Case = Callable[[Pair], Awaitable[None]]
CASES: dict[str, Case] = {}

PARCELS: dict[str, dict[str, Any]] = {
    "every kind of field": {
        "name": "a box", "small": -7, "big": 2**40, "ok": True, "weight": 1.5, "tags": ["a", "b"],
        "inside": {"name": "a letter"}, "kind": 1, "counts": {"stamps": 2}, "postCode": "0042", "floor": 3,
    },
    "nothing set": {},
    "text beyond ASCII, and emoji": {"name": "naïve 郵便 🚀", "tags": ["ё", "👩‍👩‍👧"]},
    "1 MB": {"tags": ["é🚀" * 1000] * 170},
    "nested five deep": {"inside": {"inside": {"inside": {"inside": {"name": "the last"}}}}},
    "a zero that was set": {"floor": 0},
}  # fmt: skip
ERRORS = {
    "RpcException of text": ("text", {"code": 2, "message": "no such parcel: é🚀"}),
    "RpcException with a code": ("code", {"code": 5, "message": "no such parcel"}),
    "raised after an await": ("later", {"code": 9, "message": "later"}),
    "any other, whose text stays inside": ("plain", {"code": 2, "message": "Internal server error"}),
}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, f"two cases are called {name!r}"
        CASES[name] = function
        return function

    return add


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"value": value} for value in values]


for title, parcel in PARCELS.items():

    @case(f"data: {title}")
    async def _echo(pair: Pair, parcel: dict[str, Any] = parcel) -> None:
        outcome = await pair.call("Echo", parcel)
        same(outcome.end, "complete")
        (found,) = outcome.values
        same({name: value for name, value in found.items() if value not in ([], {}, None)}, parcel)


for title, (wish, expected) in ERRORS.items():

    @case(f"error: {title}")
    async def _error(pair: Pair, wish: str = wish, expected: Any = expected) -> None:
        ended(await pair.call("Fails", {"text": wish}), "error", [], expected)


@case("error: a handler that returns nothing")
async def _nothing(pair: Pair) -> None:
    outcome = await pair.call("Nothing", {"text": "x"})
    same([outcome.end, outcome.values, outcome.error["code"]], ["error", [], 13])


for count in (0, 1, 3):
    for method in ("CountTo", "CountSlowly"):

        @case(f"stream: {count} values, {'at once' if method == 'CountTo' else 'spread out'}")
        async def _stream(pair: Pair, count: int = count, method: str = method) -> None:
            ended(await pair.call(method, {"value": count}), "complete", numbers(*range(1, count + 1)))


@case("stream: 1,000 values, in order")
async def _long(pair: Pair) -> None:
    ended(await pair.call("CountTo", {"value": 1000}, limit=20.0), "complete", numbers(*range(1, 1001)))


@case("stream: fails half-way")
async def _fails(pair: Pair) -> None:
    ended(await pair.call("CountFails", {}), "error", numbers(1, 2), {"code": 10, "message": "half-way"})


for sent in ([1, 2, 3], [], list(range(500))):

    @case(f"stream: {len(sent)} values from the client")
    async def _total(pair: Pair, sent: list[int] = sent) -> None:
        outcome = await pair.call("Total", numbers(*sent))
        same(outcome.end, "complete")
        same(outcome.values[0].get("value", 0), sum(sent))


@case("stream: both ways")
async def _doubled(pair: Pair) -> None:
    ended(await pair.call("Doubled", numbers(1, 2, 3)), "complete", numbers(2, 4, 6))


@case("silence: nobody handles the method")
async def _missing(pair: Pair) -> None:
    ended(await pair.call("Missing", {"value": 1}), "nobody", [])


@case("silence: a deadline passes, and the next call is not harmed")
async def _deadline(pair: Pair) -> None:
    ended(await pair.call("Slow", {"value": 2000}, limit=0.2), "timeout", [])
    ended(await pair.call("Slow", {"value": 10}), "complete", numbers(10))


@case("beside the data: metadata")
async def _metadata(pair: Pair) -> None:
    ended(await pair.call("Besides", {}, headers={"tenant": "north"}), "complete", [{"text": "north"}])


@case("burst: 200 calls at once, each its own answer")
async def _burst(pair: Pair) -> None:
    outcomes = await pair.client.calls([Call("Echo", {"small": n + 1}, limit=10.0) for n in range(200)])
    same([one.values[0].get("small") for one in outcomes], list(range(1, 201)))
