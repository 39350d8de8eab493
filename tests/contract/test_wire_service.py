"""Our service, and bytes that a real NestJS client sent: it answers what NestJS's service answered."""

import asyncio
from typing import Any

import aiormq
import pytest
from contract_help import LIMIT, Place, eventually
from wire_callers import raw_caller
from wire_help import FILES, FOLDER, bytes_of, cases_of, load, one_shape, packet_of
from wire_probe import ExchangeProbe, MqttProbe, NatsProbe, Probe, RedisProbe

OPENING = "how NestJS's driver opens or closes its connection; the broker accepts ours, which is all that counts"
NOT_PLAYED = {
    "service.startup": OPENING,
    "service.shutdown": OPENING,
    "client.connect": OPENING,
    "client.close": OPENING,
    "record.headers": "a header has one value in our Context, and a list of them in NestJS's",
    "record.qos_properties": "QoS and MQTT 5's user properties are not in our Context",
    "record.options": "priority and content type are not in our Context; test_requests.py covers headers",
}
SERVED: dict[str, tuple[type[Probe], dict[str, Any]]] = {  # what was served when a file was captured, and how
    "nats": (NatsProbe, {}),
    "nats-queue": (NatsProbe, {"group": "workers"}),
    "mqtt": (MqttProbe, {}),
    "mqtt5": (MqttProbe, {}),
    "redis-wildcards": (RedisProbe, {"wildcards": True}),
    "rmq-wildcards": (ExchangeProbe, {"exchange": "a name of its own"}),
    "rmq-manual-ack": (Probe, {"delivery": "at-least-once", "prefetch": 5}),
}
PLAYED_ELSEWHERE = ("grpc", "kafka", "patterns")  # test_grpc_vectors.py, test_kafka_records.py, test_patterns.py
NO_RESPONDERS = {"headers": "503"}  # what the NATS server itself answers


def request_of(case: dict[str, Any]) -> dict[str, Any] | None:
    """A captured message if it is one for the service."""
    return case if case["direction"] in ("client->service", "hand-made->service") else None


def answers_to(request: dict[str, Any], cases: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """What NestJS's service, or the broker, answered to a captured request."""
    if request["direction"] == "hand-made->service":
        return [_answer(one if isinstance(one, dict) else {"payload": one}, kind) for one in request.get("replies", ())]
    identity = packet_of(request).get("id")
    answers = [_answer(case, kind) for case in cases if case["direction"] == "service->client" and "payload" in case]
    answers += [
        NO_RESPONDERS for case in cases if case["direction"] == "broker->client" and "503" in case["headers_raw"]
    ]
    return [one for one in answers if one.get("correlationId", one.get("id", identity)) == identity]


def _answer(case: dict[str, Any], kind: str) -> dict[str, Any]:
    """A captured answer: its packet, and where the transport says more, that."""
    answer = packet_of(case)
    if kind == "rabbitmq":
        answer["correlationId"] = case["properties"].get("correlationId")
    return answer | {name: case[name] for name in ("channel", "topic") if kind in ("redis", "mqtt") and name in case}


@pytest.mark.parametrize(("file", "kind"), FILES.items())
async def test_what_a_nestjs_client_sent_gets_the_answers_that_nestjs_gave(place: Place, file: str) -> None:
    """Every captured message in its order: the same packets, key by key, in the same order."""
    probe, options = SERVED.get(file, (Probe, {}))
    if "exchange" in options:
        options = {"exchange": place.name}
    service = await place.serve(probe(), **options)
    async with raw_caller(place) as caller:
        for name, cases in cases_of(file).items():
            if name in NOT_PLAYED or (place.kind == "tcp" and name.startswith("raw.")):
                continue
            requests = [case for case in cases if request_of(case)]
            assert requests, f"{name} has no message to play: give the reason in NOT_PLAYED"
            for request in requests:
                expected = answers_to(request, cases, place.kind)
                answers = await caller.ask(request, answered=bool(expected))
                assert one_shape(answers) == one_shape(expected), name
        assert caller.unexpected == []
    await service.stop()
    assert place.kind != "rabbitmq" or await waiting_in(place) == 0, "a message was not settled"


async def waiting_in(place: Place) -> int:
    """How many messages the service's queue has; those it had not settled have come back by now."""
    connection = await aiormq.connect(place.url)
    declared = await (await connection.channel()).queue_declare(place.name, passive=True)
    await connection.close()
    assert declared.message_count is not None
    return declared.message_count


RAW = {case["name"]: case for case in load("tcp")["cases"] if case["name"].startswith("raw.")}
UNDEFINED = {"raw.data_missing": b'{"response":null,"isDisposed":true,"id":"i"}'}  # our None travels as null


@pytest.mark.parametrize("kind", ["tcp"])
@pytest.mark.parametrize("name", RAW)
async def test_bytes_made_by_hand_are_treated_as_nestjs_treated_them(place: Place, name: str) -> None:
    """Answered alike; the connection closed where NestJS closed it, and open where it stayed open."""
    case = RAW[name]
    await place.serve(Probe())
    host, port = place.url.removeprefix("tcp://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    pieces = int(case["written_as"].split()[0])
    data = bytes_of(case)
    for start in range(0, len(data), -(-len(data) // pieces)):
        writer.write(data[start : start + -(-len(data) // pieces)])
        await writer.drain()
        await asyncio.sleep(0.01 if pieces > 1 else 0)
    expected = case["reply"].encode()
    if name in UNDEFINED:
        expected = b"%d#%b" % (len(UNDEFINED[name]), UNDEFINED[name])
    async with asyncio.timeout(LIMIT):
        assert await reader.readexactly(len(expected)) == expected
        if case["connection_closed"]:
            assert await reader.read() == b""
    if not case["connection_closed"]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()


@pytest.mark.parametrize("kind", ["tcp"])
async def test_what_logs_an_error_in_nestjs_logs_one_here(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The unknown event, the handler that fails, the frames that make no sense: as often as in NestJS's log."""
    await place.serve(Probe())
    async with raw_caller(place) as caller:
        for case in load("tcp")["cases"]:
            if case["name"] in ("error.plain", "event.handler_throws", "event.unknown") and request_of(case):
                await caller.ask(case, answered=case["name"] == "error.plain")
    await eventually(lambda: len(caplog.records) == 3)
    assert "secret detail" in caplog.text
    assert "event handler failed" in caplog.text
    assert "probe.evt.unknown" in caplog.text


def test_no_captured_case_is_passed_over_in_silence() -> None:
    """A reason is given for exactly those that are not played, and no reason outlives its case."""
    assert {path.stem for path in FOLDER.glob("*.json")} == {*FILES, *PLAYED_ELSEWHERE}
    names = {name for file in FILES for name in cases_of(file)}
    assert names.issuperset(NOT_PLAYED)
    assert len(names - NOT_PLAYED.keys()) >= 70, "the files are the whole capture"
