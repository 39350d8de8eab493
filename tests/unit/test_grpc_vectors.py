"""Calls captured from NestJS, byte for byte: its client's requests to our service, and its answers to our client."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from grpc import aio
from grpc_help import Probe, write_proto

from postoffice import Client, NoHandlerError, RequestTimeout, RpcError, Service

CAPTURE = json.loads((Path(__file__).parents[1] / "vectors" / "grpc.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in CAPTURE["cases"]}
STREAMS = {"Count": (False, True), "CountErr": (False, True), "Collect": (True, False), "Chat": (True, True)}
LIMIT = 20.0
PREFIX = 5  # bytes before each message: not compressed, and its length


def messages_of(case: dict[str, Any], side: str) -> list[bytes]:
    """The messages in the captured body of a request or a response."""
    chunks = [base64.b64decode(one) for one in case[f"{side}_body"]]
    for one in chunks:
        assert one[:PREFIX] == b"\0" + (len(one) - PREFIX).to_bytes(4, "big")
    return [one[PREFIX:] for one in chunks]


def status_of(case: dict[str, Any]) -> tuple[int, str]:
    """The captured status and its text, which travel after the data, or alone as headers."""
    fields = case["trailers"] or case["response_headers"]
    text = unquote(fields["grpc-message"])
    return int(fields["grpc-status"]), "" if text == "OK" else text


def python_of(value: Any) -> Any:
    """A value as NestJS's loader gave it, in Python: Long is int, Buffer is bytes, and names are the .proto's."""
    if isinstance(value, dict) and value.keys() == {"low", "high", "unsigned"}:
        return value["high"] * 2**32 + value["low"]
    if isinstance(value, dict) and value.get("type") == "Buffer":
        return bytes(value["data"])
    if isinstance(value, dict):
        return {"big_count" if name == "bigCount" else name: python_of(one) for name, one in value.items()}
    return value


async def raw_call(channel: Any, case: dict[str, Any], timeout: float) -> tuple[list[bytes], int, str]:
    """Send a captured request as it is; the answer's messages, status and text."""
    takes, gives = STREAMS.get(case["method"].rpartition("/")[2], (False, False))
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    sent = messages_of(case, "request")
    metadata = [(name, value) for name, value in case["request_headers"].items() if name == "x-probe"]
    call = kinds[takes, gives](case["method"])(sent if takes else sent[0], timeout=timeout, metadata=metadata)
    got: list[bytes] = []
    try:
        if gives:
            async for one in call:
                got.append(one)
        else:
            got.append(await call)
    except aio.AioRpcError as error:
        return got, error.code().value[0], error.details() or ""
    return got, 0, ""


@pytest.mark.parametrize("name", CASES)
async def test_nestjs_clients_request_gets_nestjs_services_answer(name: str, tmp_path: Path) -> None:
    """The same messages, the same status, the same text."""
    case, deadline = CASES[name], CASES[name]["request_headers"].get("grpc-timeout")
    async with (
        Service(Probe(), url="grpc://127.0.0.1:0", proto=write_proto(tmp_path), grace=0.2) as service,
        aio.insecure_channel(service.url.removeprefix("grpc://")) as channel,
    ):
        got, status, text = await raw_call(channel, case, LIMIT if deadline is None else 0.3)
    if name == "deadline":
        assert deadline == "300m"
        assert (got, status) == ([], CAPTURE["client_outcomes"]["deadline"]["code"])
        return
    assert got == messages_of(case, "response")
    assert (status, text) == status_of(case)


class Answering(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A service that notes what it is sent, and answers with captured bytes."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.got: list[bytes] = []
        self.metadata: dict[str, Any] = {}

    def service(self, details: Any) -> Any:
        assert details.method == self.case["method"]
        return grpc.stream_stream_rpc_method_handler(self.answer)  # unary calls look the same on the wire

    async def answer(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.metadata = dict(context.invocation_metadata())
        async for one in requests:
            self.got.append(one)
        for one in messages_of(self.case, "response"):
            yield one
        status, text = status_of(self.case)
        if status:
            code = next(one for one in grpc.StatusCode if one.value[0] == status)
            await context.abort(code, text)


async def outcome(client: Client, case: dict[str, Any], data: Any) -> dict[str, Any]:
    """What our caller sees, in the words of the capture."""
    values: list[Any] = []
    name = case["method"].rpartition("/")[2]
    headers = {"x-probe": "meta-1"} if case["name"] == "metadata" else None
    call = getattr(client.service("Probe"), name)(data, headers=headers)
    try:
        if STREAMS.get(name, (False, False))[1]:
            async for one in call:
                values.append(one)
        else:
            values.append(await call)
    except NoHandlerError as error:
        return {"values": values, "end": "error", "code": 12, "text": str(error)}
    except RpcError as error:
        return {"values": values, "end": "error", "code": error.error["code"], "text": error.error["message"]}
    return {"values": values, "end": "complete"}


GIVEN = {  # what was given to NestJS's client, where the capture does not say
    "echo": {"text": "é🚀", "number": -5, "flag": True, "big_count": 2**53 + 1, "kind": 2, "raw": b"\0\xff"},
    "client_stream": [{"value": 1}, {"value": 2}],
    "bidi": [{"text": "a"}, {"text": "b"}],
}


@pytest.mark.parametrize("name", [name for name in CASES if name != "deadline"])
async def test_our_client_sends_and_sees_what_nestjs_client_did(name: str, tmp_path: Path) -> None:
    """Byte for byte the same request; from the captured answer the same values, code and text."""
    case, peer = CASES[name], Answering(CASES[name])
    server = aio.server()
    server.add_generic_rpc_handlers([peer])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        url = f"grpc://127.0.0.1:{port}"
        async with await Client.connect(url, proto=write_proto(tmp_path), timeout=LIMIT) as client:
            seen = await outcome(client, case, GIVEN.get(name, case["data"]))
    finally:
        await server.stop(None)
    assert peer.got == messages_of(case, "request")
    assert peer.metadata.get("x-probe") == case["request_headers"].get("x-probe")
    expected = CAPTURE["client_outcomes"][name]
    assert seen["values"] == [python_of(one) for one in expected["values"]]
    assert seen["end"] == expected["end"]
    if seen["end"] == "error":
        code, _, text = expected["error"]["message"].partition(" ")
        assert seen["code"] == int(code)
        assert text.partition(": ")[2] in seen["text"]


async def test_our_client_gives_up_as_nestjs_client_did(tmp_path: Path) -> None:
    """It tells the service its deadline, and the same status is a timeout."""
    left: list[float] = []

    async def answer(request: bytes, context: Any) -> bytes:
        left.append(context.time_remaining())
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded")
        return b""

    server = aio.server()
    handlers = {"Slow": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("probe.Probe", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with await Client.connect(f"grpc://127.0.0.1:{port}", proto=write_proto(tmp_path)) as client:
            with pytest.raises(RequestTimeout, match=r"no answer to probe\.Probe/Slow within 10 s"):
                await client.service("Probe").Slow(timeout=10)
    finally:
        await server.stop(None)
    assert 9 < left[0] < 11  # grpcio rounds it a little


def test_every_captured_case_is_played() -> None:
    """None is passed over: each has an outcome, and is a parameter of the tests above."""
    assert CASES.keys() == CAPTURE["client_outcomes"].keys()
    assert len(CASES) == 15
