"""Requests and their answers, on every transport."""

import asyncio

import pytest
from contract_help import KAFKA_TOO, Place

from postoffice import Client, Context, NoHandlerError, RequestTimeout, RpcError, message_pattern

VALUES = [
    "text",
    "",
    'é🚀 ﷽ \u2028 \x00 "\\',
    0,
    -7,
    2**53,
    1.5,
    True,
    False,
    None,
    [],
    {},
    [1, "two", None, [3.5]],
    {"a": {"b": [True, None]}, "": "empty key", "é": 1},
]


@message_pattern("echo")
async def echo(data):
    return data


@message_pattern({"service": "math", "op": {"v": 2, "name": "mul"}})
async def twice(data):
    return data * 2


@message_pattern(42)
async def number(data):
    return {"num": data}


@message_pattern("boom")
async def boom(data):
    raise RpcError(data)


@message_pattern("leak")
async def leak():
    raise ValueError("the password is swordfish")


@message_pattern("context")
async def context(data, ctx: Context):
    return [ctx.pattern, dict(ctx.headers), ctx.correlation_id, ctx.attempt, ctx.transport]


@message_pattern("slow")
async def slow(data: float):
    await asyncio.sleep(data)
    return data


@pytest.fixture
async def client(place: Place) -> Client:
    """A client of a service with the handlers above; on Kafka an object is no address."""
    objects = [] if place.kind == "kafka" else [twice]
    await place.serve(echo, number, boom, leak, context, slow, *objects)
    return await place.connect()


@KAFKA_TOO
async def test_every_shape_of_json_comes_back_as_it_went(client: Client, place: Place) -> None:
    """Falsy values, null, non-ASCII, nested data: nothing is changed or taken for absent."""
    for value in VALUES:
        answer = await client.send("echo", value)
        assert answer == place.arrives(value)
        assert type(answer) is type(place.arrives(value))


async def test_patterns_that_are_objects_or_numbers(client: Client) -> None:
    """Keys in any order, a number or its text: one address."""
    assert await client.send({"op": {"name": "mul", "v": 2}, "service": "math"}, 21) == 42
    assert await client.send({"service": "math", "op": {"v": 2, "name": "mul"}}, 4) == 8
    assert await client.send(42, 7) == await client.send("42", 7) == {"num": 7}


@KAFKA_TOO
async def test_a_large_message_arrives_whole(client: Client) -> None:
    """Half a million characters, some of them outside ASCII."""
    text = "0123456789é🚀" * 40_000
    assert await client.send("echo", text) == text


@KAFKA_TOO
@pytest.mark.parametrize(
    ("raised", "received"),
    [
        ("no such user", {"status": "error", "message": "no such user"}),
        ({"code": 404, "é": [1]}, {"code": 404, "é": [1]}),
    ],
)
async def test_an_rpc_error_reaches_its_caller(client: Client, raised: object, received: object) -> None:
    """A text or an object of one's own."""
    with pytest.raises(RpcError) as caught:
        await client.send("boom", raised)
    assert caught.value.error == received
    assert caught.value.may_have_happened


@KAFKA_TOO
async def test_any_other_error_leaks_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The caller reads "Internal server error"; the service's log has the details."""
    with pytest.raises(RpcError) as caught:
        await client.send("leak")
    assert caught.value.error == {"status": "error", "message": "Internal server error"}
    assert "swordfish" in caplog.text


@pytest.mark.parametrize("kind", ["tcp", "redis", "nats", "rabbitmq", "kafka"])
async def test_a_pattern_that_nobody_handles_fails_at_once(client: Client) -> None:
    """No timeout is waited for, and the error says that nothing was done."""
    with pytest.raises(NoHandlerError, match="nobody handles 'nope'") as caught:
        await asyncio.wait_for(client.send("nope", timeout=1000), 10)
    assert not caught.value.may_have_happened
    assert await client.send("echo", "on") == "on"


@pytest.mark.parametrize("kind", ["mqtt"])
async def test_a_pattern_that_nobody_handles_times_out_where_no_broker_tells(client: Client) -> None:
    """MQTT tells a sender nothing of who is subscribed."""
    with pytest.raises(RequestTimeout, match="no answer to 'nope'"):
        await client.send("nope", timeout=0.2)
    assert await client.send("echo", 1) == 1


@KAFKA_TOO
async def test_headers_and_id_arrive_in_the_context(client: Client) -> None:
    """In the transport's own headers, or beside the data where it has none."""
    pattern, headers, identity, attempt, transport = await client.send("context", headers={"x-trace": "abc"})
    assert (pattern, headers, attempt) == ("context", {"x-trace": "abc"}, 1)
    assert identity
    assert transport in ("TCP", "Redis", "NATS", "RabbitMQ", "MQTT", "Kafka")
    assert (await client.send("context"))[1] == {}


@KAFKA_TOO
async def test_a_burst_gets_each_its_own_answer(client: Client, place: Place) -> None:
    """200 at once, of which the first handler to finish is not the first that started."""
    delays = [0.05 if number % 3 else 0.0 for number in range(200)]
    calls = [client.send("echo", number) for number in range(200)] + [client.send("slow", delay) for delay in delays]
    assert await asyncio.gather(*calls) == [*map(place.arrives, [*range(200), *delays])]


@KAFKA_TOO
async def test_a_slow_request_does_not_hold_up_a_quick_one(client: Client, place: Place) -> None:
    """Answers come in the order of finishing."""
    slow_call = asyncio.create_task(client.send("slow", 0.5))
    for value in range(5):
        assert await client.send("echo", value) == place.arrives(value)
    assert not slow_call.done()
    assert await slow_call == place.arrives(0.5)


@KAFKA_TOO
async def test_two_clients_do_not_get_each_others_answers(place: Place) -> None:
    """Some transports share one reply channel between all callers of a pattern."""
    await place.serve(echo)
    one, two = await place.connect(), await place.connect()
    answers = await asyncio.gather(
        *(client.send("echo", f"{name} {n}") for n in range(50) for name, client in (("one", one), ("two", two)))
    )
    assert answers == [f"{name} {n}" for n in range(50) for name in ("one", "two")]
    await one.close()
    assert await two.send("echo", "still here") == "still here"
