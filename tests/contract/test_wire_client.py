"""Our client, and a NestJS service's captured answers: it sends what NestJS's client sent, and sees what it saw."""

import asyncio
import json
from typing import Any

import pytest
from contract_help import LIMIT, Place, eventually
from wire_help import FILES, bytes_of, cases_of, load, packet_of
from wire_services import raw_service

from postoffice import Client, NoHandlerError, RequestTimeout, RpcError

OPENING = "how NestJS's driver opens or closes its connection; the broker accepts ours, which is all that counts"
NOT_PLAYED = {
    "service.startup": OPENING,
    "service.shutdown": OPENING,
    "client.connect": OPENING,
    "client.close": OPENING,
    "record.headers": "several values for one header: ours are text by name",
    "record.options": "options of a call; test_options.py has this capture",
    "record.qos_properties": "MQTT 5's user properties cannot be given to our send; the QoS is in test_options.py",
    "record.event_retain": "options of a call; test_options.py has this capture",
    "record.event": "headers beside an event; test_events.py covers them",
}
BESIDE = "where the transport has headers, ours travel there and not in the packet"
UNSORTED = (
    "NestJS's client gives the exchange the keys of an object unsorted, and nobody is bound to that; ours are sorted"
)
NOT_PLAYED_HERE = {
    **{file: {"dispatch_hook_metadata": BESIDE} for file, kind in FILES.items() if kind in ("nats", "rabbitmq")},
    "rmq-wildcards": {
        "dispatch_hook_metadata": BESIDE,
        "send.nested_pattern_unsorted": UNSORTED,
        "event.nested_unsorted": UNSORTED,
    },
}
UNHEARD = {"probe.unknown", "probe.evt.unknown"}  # where the broker knows addresses, nobody listens to these
EMITTED = {"values": [None], "end": "complete"}  # NestJS's way to say that an emit is done
NOBODY = {"values": [], "end": "nobody"}  # NestJS has a text, an object or, on Redis, a wait without end for it


def played(file: str) -> dict[str, list[dict[str, Any]]]:
    """The cases of a file that a client takes part in."""
    skipped = NOT_PLAYED.keys() | NOT_PLAYED_HERE.get(file, {}).keys()
    return {
        name: cases for name, cases in cases_of(file).items() if name not in skipped and not name.startswith("raw.")
    }


async def outcome(client: Client, case: dict[str, Any], name: str) -> dict[str, Any]:
    """What our caller sees, in the words of the capture."""
    values: list[Any] = []
    headers = {"trace": "abc"} if name == "dispatch_hook_metadata" else None
    timeout = 0.2 if name in ("client_timeout_late_reply", "unknown_message") else LIMIT
    try:
        async for value in client.stream(case["pattern"], case["data"], timeout=timeout, headers=headers):
            values.append(value)
    except NoHandlerError:
        return NOBODY
    except RpcError as error:
        return {"values": values, "end": "error", "error": error.error}
    except RequestTimeout:
        return {"values": values, "end": "timeout"}
    return {"values": values, "end": "complete"}


def address_of(request: dict[str, Any]) -> str | None:
    """Where NestJS's client sent it: None on TCP, and on RabbitMQ without an exchange everything goes to the queue."""
    key = request["routing_key"] if request.get("exchange") else None
    return request.get("channel") or request.get("subject") or request.get("topic") or key


def given(request: dict[str, Any]) -> dict[str, Any]:
    """What was given to NestJS's send; the case of two requests at once notes it in the packet only."""
    packet = packet_of(request)
    return {"pattern": request.get("pattern", packet["pattern"]), "data": packet["data"]}


async def play(client: Client, request: dict[str, Any], cases: list[dict[str, Any]], arrived: Any) -> Any:
    """Send what NestJS's client sent, compare the two packets, answer as captured; what our caller sees."""
    name, captured = request["name"], packet_of(request)
    if "id" in captured:
        call = asyncio.create_task(outcome(client, given(request), name))
    else:
        await client.emit(**given(request))
    if address_of(request) in UNHEARD:
        return await call if "id" in captured else EMITTED
    ours = await asyncio.wait_for(arrived.get(), LIMIT)
    assert ours.packet.keys() == captured.keys(), name
    assert ours.packet | {"id": 0} == captured | {"id": 0}, name
    assert ours.address == address_of(request), name
    if "id" not in captured:
        return EMITTED
    assert ours.can_answer, name
    if name == "client_timeout_late_reply":
        await eventually(call.done)
    for answer in answers_to(captured["id"], cases):
        await ours.reply(with_id(answer, ours.packet["id"]))
    return await call


@pytest.mark.parametrize(("file", "kind"), FILES.items())
async def test_our_client_sends_and_takes_what_nestjs_client_did(place: Place, file: str) -> None:
    """Packet for packet, ids aside, at the same address; then the captured answers, and the same outcome."""
    seen_by_nestjs = load(file)["client_outcomes"]
    cases = {name: [case for case in found if "payload" in case] for name, found in played(file).items()}
    requests = {name: [one for one in found if one["direction"] == "client->service"] for name, found in cases.items()}
    addresses = {address for found in requests.values() for one in found if (address := address_of(one))} - UNHEARD
    async with raw_service(place, addresses) as arrived:
        client = await place.connect(**({"queue": None, "exchange": place.name} if file == "rmq-wildcards" else {}))
        for name in cases:
            assert requests[name], f"{name} has nothing to play: give the reason in NOT_PLAYED"
            outcomes = [await play(client, one, cases[name], arrived) for one in requests[name]]
            expected = seen_by_nestjs[name]
            if name == "unknown_message" and place.kind != "mqtt":
                expected = NOBODY
            if isinstance(expected, dict):
                expected = [expected]
            # sorted, since of two requests at once NestJS's MQTT client sent the second first
            assert sorted(outcomes, key=repr) == sorted(expected, key=repr), name
        assert arrived.empty()
        assert not client._pending


def answers_to(identity: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The captured replies to a request."""
    replies = [case for case in cases if case["direction"] == "service->client" and "payload" in case]
    return [
        one for one in replies if one.get("properties", {}).get("correlationId", packet_of(one).get("id")) == identity
    ]


def with_id(answer: dict[str, Any], identity: str) -> bytes:
    """A captured reply, letter for letter but for its id."""
    text = bytes_of(answer).decode()
    body = text.partition("#")[2] if "framing" in answer else text
    captured = json.loads(body).get("id")
    return (body.replace(f'"id":"{captured}"', f'"id":"{identity}"') if captured else body).encode()


def test_no_captured_case_is_passed_over_in_silence() -> None:
    """A reason is given for exactly those that are not played, and no reason outlives its case."""
    names = {name for file in FILES for name in cases_of(file)}
    assert names.issuperset(NOT_PLAYED)
    left_out = {name for name in names if not any(name in played(file) for file in FILES)}
    assert left_out == {*NOT_PLAYED, *(name for name in names if name.startswith("raw."))}
    assert len(played("tcp")) >= 40
