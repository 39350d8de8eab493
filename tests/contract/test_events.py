"""Events: nobody answers, several may listen."""

import asyncio
import types

import pytest
from contract_help import Place, eventually

from postoffice import Context, RpcError, event_pattern, message_pattern


class Office:
    """A service that notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @event_pattern("placed")
    async def first(self, data):
        self.seen.append(("first", data))

    @event_pattern("placed")
    async def second(self, data, ctx: Context):
        self.seen.append(("second", data, dict(ctx.headers)))

    @event_pattern({"evt": "created", "at": 1})
    async def created(self, data):
        self.seen.append(("created", data))

    @event_pattern("broken")
    async def broken(self):
        self.seen.append("broken")
        raise ValueError("it broke")

    @event_pattern("broken")
    async def beside_the_broken(self):
        self.seen.append("beside")

    @event_pattern("refused")
    async def refused(self):
        raise RpcError("not today")

    @event_pattern("several")
    async def several(self):
        for value in range(3):
            self.seen.append(value)
            yield value

    @message_pattern("ask")
    async def ask(self, data):
        self.seen.append(("asked", data))
        return data


@pytest.fixture
async def office(place: Place) -> Office:
    office = Office()
    await place.serve(office)
    return office


async def test_every_handler_of_an_event_runs_in_order(place: Place, office: Office) -> None:
    """Both get the same data; one also takes the headers."""
    client = await place.connect()
    await client.emit("placed", {"id": "é🚀"}, headers={"x": "y"})
    await eventually(lambda: len(office.seen) == 2)
    assert office.seen == [("first", {"id": "é🚀"}), ("second", {"id": "é🚀"}, {"x": "y"})]


async def test_an_event_with_an_object_as_its_pattern(place: Place, office: Office) -> None:
    """The order of its keys does not matter."""
    client = await place.connect()
    await client.emit({"evt": "created", "at": 1}, 7)
    await client.emit({"at": 1, "evt": "created"}, None)
    await eventually(lambda: office.seen == [("created", 7), ("created", None)], f"two events in {office.seen}")


async def test_events_arrive_in_the_order_they_were_emitted(place: Place, office: Office) -> None:
    """One sender, one connection: 500 of them, none lost while all is well."""
    client = await place.connect()
    for number in range(500):
        await client.emit("ask", number)
    await eventually(lambda: len(office.seen) == 500, "all 500 events")
    assert office.seen == [("asked", number) for number in range(500)]


async def test_an_event_that_nobody_handles_does_no_harm(
    place: Place, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped (and logged where it reaches a service at all), and the service goes on."""
    client = await place.connect()
    await client.emit("nobody.listens", 1)
    assert await client.send("ask", 1) == 1
    if place.kind in ("tcp", "rabbitmq"):
        await eventually(lambda: "nobody.listens" in caplog.text, "a line in the log")


async def test_a_handler_that_fails_does_not_stop_the_others(
    place: Place, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with its cause; the handler beside it runs, and so does what comes next."""
    client = await place.connect()
    await client.emit("broken")
    await client.emit("refused")
    await eventually(lambda: "it broke" in caplog.text and "not today" in caplog.text, "both errors in the log")
    assert await client.send("ask", 1) == 1
    assert office.seen == ["broken", "beside", ("asked", 1)]


async def test_an_event_sent_to_a_message_handler_runs_it(place: Place, office: Office) -> None:
    """Without a reply; the next request gets its own."""
    client = await place.connect()
    await client.emit("ask", "event")
    await eventually(lambda: office.seen)
    assert await client.send("ask", "request") == "request"
    assert office.seen == [("asked", "event"), ("asked", "request")]


async def test_a_request_sent_to_event_handlers_is_answered_with_an_end(place: Place, office: Office) -> None:
    """All of them have run by then; there is no value."""
    client = await place.connect()
    assert await client.send("placed", 1) is None
    assert [what[0] for what in office.seen] == ["first", "second"]
    assert [value async for value in client.stream("placed", 2)] == []


async def test_an_event_handler_that_yields_runs_to_its_end(place: Place, office: Office) -> None:
    """By an event and by a request alike, though nobody takes what it yields."""
    client = await place.connect()
    await client.emit("several")
    await eventually(lambda: office.seen == [0, 1, 2])
    assert await client.send("several") is None
    assert office.seen == [0, 1, 2] * 2


async def test_a_request_to_an_event_handler_that_fails_is_answered_with_its_error(place: Place) -> None:
    """Its caller does not wait for nothing."""
    office = Office()
    await place.serve(office)
    client = await place.connect()
    with pytest.raises(RpcError, match="Internal server error"):
        await client.send("broken")
    with pytest.raises(RpcError, match="not today"):
        await client.send("refused")


async def test_modules_functions_and_objects_serve_side_by_side(place: Place) -> None:
    """One service, three kinds of targets, and a function under two patterns."""
    module = types.ModuleType("handlers")
    source = """
from postoffice import message_pattern

@message_pattern("module")
async def handle(data):
    return ["module", data]
"""
    exec(source, module.__dict__)

    @message_pattern("function")
    @message_pattern("other.name")
    async def function(data):
        return ["function", data]

    office = Office()
    await place.serve(module, function, office)
    client = await place.connect()
    answers = await asyncio.gather(*(client.send(name, 1) for name in ("module", "function", "other.name", "ask")))
    assert answers == [["module", 1], ["function", 1], ["function", 1], 1]
