"""gRPC between a client and a service of ours, over a real connection."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc_help import Probe, write_proto

from postoffice import (
    Client,
    ConnectError,
    ConnectionLost,
    HandlerError,
    NoHandlerError,
    PayloadError,
    RequestTimeout,
    RpcError,
    Service,
    UnsupportedError,
    UsageError,
    grpc_method,
    message_pattern,
)

LIMIT = 20.0  # seconds that any wait may take
HERE = "grpc://127.0.0.1:0"


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    return write_proto(tmp_path)


@pytest.fixture
async def served(proto: Path) -> AsyncIterator[tuple[Service, Probe]]:
    probe = Probe()
    async with Service(probe, url=HERE, proto=proto, grace=0.3) as service:
        yield service, probe


@pytest.fixture
async def client(served: tuple[Service, Probe], proto: Path) -> AsyncIterator[Client]:
    async with await Client.connect(served[0].url, proto=proto, timeout=LIMIT) as client:
        yield client


async def test_every_kind_of_field_comes_back(client: Client) -> None:
    """As a dict with the .proto's names; what is not set, or is proto3's zero, is absent."""
    probe = client.service("Probe")
    whole = {
        "text": "é🚀",
        "number": -5,
        "flag": True,
        "big_count": 2**53 + 1,
        "kind": 2,
        "raw": b"\x00\xff",
        "by_name": {"a": {"value": 1}},
        "list": [{"value": 1}, {}],
        "one": {},
        "maybe": 0,
    }
    assert await probe.Echo(whole) == whole
    assert await probe.Echo({"kind": "TWO", "number": 0, "text": None}) == {"kind": 2}
    assert await probe.Echo() == {}


async def test_streams_in_every_direction(client: Client) -> None:
    """A list or an async iterator of dicts goes out; `async for` takes what comes."""
    probe = client.service("probe.Probe")

    async def said() -> AsyncIterator[dict[str, str]]:
        for text in "ab":
            yield {"text": text}

    assert [one async for one in probe.Count({"values": [1, 0, 3]})] == [{"value": 1}, {}, {"value": 3}]
    assert await probe.Collect([{"value": 1}, {"value": 2}]) == {"value": 3}
    assert [one async for one in probe.Chat(said())] == [{"text": "you said a"}, {"text": "you said b"}]


async def test_a_conversation_takes_turns(client: Client) -> None:
    """Each side sends after it has heard the other: nothing waits for the end of a stream."""
    questions: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def ask() -> AsyncIterator[dict[str, str]]:
        while (question := await questions.get())["text"] != "bye":
            yield question

    answers = client.service("Probe").Chat(ask())
    for number in range(3):
        questions.put_nowait({"text": str(number)})
        assert await anext(answers) == {"text": f"you said {number}"}
    questions.put_nowait({"text": "bye"})
    assert [one async for one in answers] == []


async def test_errors_become_statuses_and_errors_again(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A text is UNKNOWN (2), a code is that code, and any other error tells its caller nothing."""
    probe = client.service("Probe")
    for call, expected in [
        (probe.ErrString, {"code": 2, "message": "boom"}),
        (probe.ErrObject, {"code": 5, "message": "thing not found"}),
        (probe.ErrPlain, {"code": 2, "message": "Internal server error"}),
        (probe.Nothing, {"code": 13, "message": "Error serializing response"}),
    ]:
        with pytest.raises(RpcError) as caught:
            await call()
        assert caught.value.error == expected
    assert "secret detail" in caplog.text
    replies = probe.CountErr()
    assert await anext(replies) == {"value": 1}
    with pytest.raises(RpcError, match="mid-stream") as caught:
        await anext(replies)
    assert caught.value.error["code"] == 9


async def test_a_method_without_a_handler(client: Client) -> None:
    """Nothing was done, and the error says where to look."""
    with pytest.raises(NoHandlerError, match=r"nobody handles probe\.Probe/NoHandler .*Nothing was done"):
        await client.service("Probe").NoHandler({})


async def test_the_deadline_travels(served: tuple[Service, Probe], client: Client) -> None:
    """The service knows what is left; when it has passed, the caller gets a timeout and the handler is cancelled."""
    probe = served[1]
    with pytest.raises(RequestTimeout, match=r"no answer to probe\.Probe/Slow within 0\.3 s") as caught:
        await client.service("Probe").Slow(timeout=0.3)
    assert caught.value.may_have_happened
    assert probe.remaining is not None
    assert 0 < probe.remaining < 0.4  # grpcio rounds it a little
    await _until(lambda: probe.gone == ["slow"])
    assert await client.service("Probe").Sum({"values": [1, 2]}) == {"value": 3}


async def test_a_caller_that_goes_cancels_its_handler(served: tuple[Service, Probe], client: Client) -> None:
    """Cancelled here is cancelled there."""
    probe = served[1]
    call = asyncio.create_task(client.service("Probe").Slow())
    await asyncio.wait_for(probe.begun.wait(), LIMIT)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await _until(lambda: probe.gone == ["slow"])


async def test_closing_a_client_ends_its_calls(served: tuple[Service, Probe], client: Client) -> None:
    """As lost: the work may have happened."""
    call = asyncio.create_task(client.service("Probe").Slow())
    await asyncio.wait_for(served[1].begun.wait(), LIMIT)
    await client.close()
    with pytest.raises(ConnectionLost, match=r"closed while probe\.Probe/Slow was under way"):
        await asyncio.wait_for(call, LIMIT)
    with pytest.raises(UsageError, match="this client is closed"):
        client.service("Probe")


async def test_headers_and_a_burst(client: Client) -> None:
    """Headers are gRPC's metadata; 200 calls at once get each their own reply."""
    probe = client.service("Probe")
    assert await probe.Meta(headers={"X-Probe": "meta-1"}) == {"text": "meta-1"}
    replies = await asyncio.gather(*(probe.Sum({"values": [number]}) for number in range(1, 201)))
    assert replies == [{"value": number} for number in range(1, 201)]


async def test_stopping_lets_calls_finish(proto: Path) -> None:
    """What is under way is answered, what needs longer than the grace is told so, and then nobody is there."""
    begun, go = asyncio.Event(), asyncio.Event()

    @grpc_method("Probe")
    async def sum(data):
        begun.set()
        await go.wait()
        return {"value": 7}

    service = Service(sum, url=HERE, proto=proto, grace=LIMIT)
    await service.start()
    async with await Client.connect(service.url, proto=proto, timeout=LIMIT) as client:
        probe = client.service("Probe")
        call = asyncio.create_task(probe.Sum())
        await asyncio.wait_for(begun.wait(), LIMIT)
        stopping = asyncio.create_task(service.stop())
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.wait_for(call, LIMIT) == {"value": 7}
        await asyncio.wait_for(stopping, LIMIT)
        with pytest.raises((ConnectError, ConnectionLost)):
            await probe.Sum(timeout=2)


async def test_a_service_that_starts_again(proto: Path) -> None:
    """After it was stopped, on the port it had."""
    service = Service(Probe(), url=HERE, proto=proto)
    for _ in range(2):
        async with service, await Client.connect(service.url, proto=proto) as client:
            assert await client.service("Probe").Sum({"values": [1]}) == {"value": 1}


async def test_a_handler_that_outlasts_the_grace(served: tuple[Service, Probe], client: Client) -> None:
    """It is cancelled, and its caller is told so."""
    service, probe = served
    call = asyncio.create_task(client.service("Probe").Slow())
    await asyncio.wait_for(probe.begun.wait(), LIMIT)
    await asyncio.wait_for(service.stop(), LIMIT)
    with pytest.raises((RpcError, ConnectionLost), match=r"cancelled|broke"):
        await asyncio.wait_for(call, LIMIT)
    assert probe.gone == ["slow"]


@dataclass
class Values:
    values: list[int]


@dataclass
class Small:
    value: int


@dataclass
class Never:
    text: int


async def test_typed_parameters_are_checked_and_whole(proto: Path) -> None:
    """A class gets proto3's zero values; what does not fit is INVALID_ARGUMENT (3), and the handler does not run."""
    seen: list[Any] = []

    @grpc_method("Probe")
    async def sum(data: Values):
        seen.append(data)
        return Small(len(data.values))

    @grpc_method("Probe")
    async def collect(data: AsyncIterator[Small]):
        return Small([one.value async for one in data][-1])

    @grpc_method("Probe")
    async def echo(data: Never):
        seen.append(data)

    async with AsyncExitStack() as opened:
        service = await opened.enter_async_context(Service(sum, collect, echo, url=HERE, proto=proto))
        client = await opened.enter_async_context(await Client.connect(service.url, proto=proto))
        probe = client.service("Probe")
        assert await probe.Sum({}) == {}
        assert await probe.Collect([{"value": 1}, {"value": 0}]) == {}
        with pytest.raises(RpcError, match=r"invalid payload: Expected `int`, got `str` - at `\$.text`") as caught:
            await probe.Echo({"text": "x"})
    assert caught.value.error["code"] == 3
    assert seen == [Values([])]


async def test_a_process_that_is_killed(proto: Path, tmp_path: Path) -> None:
    """In mid-call: lost, perhaps done. Afterwards: nobody there. Started again on its port: the client goes on."""
    module = tmp_path / "slow_office.py"
    module.write_text(
        "import asyncio\nfrom postoffice import grpc_method\n"
        "@grpc_method('Probe')\nasync def slow(data):\n    print('begun', flush=True)\n    await asyncio.sleep(3600)\n"
        "@grpc_method('Probe')\nasync def sum(data):\n    return {'value': 1}\n"
    )

    async def run(url: str) -> tuple[asyncio.subprocess.Process, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "postoffice", "run", str(module), "--url", url, "--proto", str(proto)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), LIMIT)).decode()
        assert " is ready on " in line
        return process, line.split(" is ready on ")[1].strip()

    process, url = await run(HERE)
    try:
        async with await Client.connect(url, proto=proto, timeout=LIMIT) as client:
            probe = client.service("Probe")
            call = asyncio.create_task(probe.Slow())
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), LIMIT) == b"begun\n"
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionLost, match="The work may have happened"):
                await asyncio.wait_for(call, LIMIT)
            await process.wait()
            with pytest.raises(ConnectError, match="Nothing was sent"):
                await probe.Sum()
            process, _ = await run(url)
            await _until_answered(probe)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_cannot_be_sent_is_said(client: Client) -> None:
    """Which field, why, and that nothing was sent; sizes with both numbers."""
    probe = client.service("Probe")
    for data, text in [
        ({"nope": 1}, r"probe\.Numbers has no field 'nope'; it has values\. Nothing was sent"),
        ({"values": ["x"]}, r"\['x'\] does not fit the field 'values' of probe\.Numbers: .*Nothing was sent"),
        ({"values": [2**40]}, r"does not fit the field 'values'.*Nothing was sent"),
        ([1], r"a probe\.Numbers is written as a dict of its fields; got \[1\]"),
        ({"values": [1] * 5_000_000}, r"5,000,\d+ bytes exceeds what gRPC takes in one message, 4,194,304"),
    ]:
        with pytest.raises(PayloadError, match=text):
            await probe.Sum(data)
    with pytest.raises(UsageError, match="takes a stream: give an iterable of dicts"):
        await probe.Collect({"value": 1})

    async def broken() -> AsyncIterator[dict[str, Any]]:
        yield {"value": 1}
        yield {"value": "x"}

    with pytest.raises(PayloadError, match="'x' does not fit the field 'value'"):
        await probe.Collect(broken())
    with pytest.raises(AttributeError, match="has no method 'Summ'; it has Sum, Echo"):
        getattr(probe, "Summ")  # noqa: B009  # as a caller writes it: probe.Summ
    assert "Sum" in dir(probe)
    assert "Chat(stream of Text) -> stream of Text" in repr(probe)


async def test_there_is_no_send_and_no_emit(client: Client) -> None:
    """And the error names what there is."""
    with pytest.raises(UnsupportedError, match=r"neither send nor emit.*probe\.Probe.*client\.service"):
        await client.send("sum", 1)
    with pytest.raises(UnsupportedError, match="neither send nor emit"):
        await client.emit("sum", 1)
    assert not client._pending


async def test_proto_belongs_to_grpc(proto: Path, tmp_path: Path) -> None:
    """Missing, in the wrong place, not there, or broken: each is said, with the compiler's own line number."""
    with pytest.raises(UsageError, match=r"gRPC knows its messages from a \.proto file.*proto='hero\.proto'"):
        await Client.connect("grpc://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"TCP sends JSON and needs no \.proto file"):
        await Client.connect("tcp://127.0.0.1:1", proto=proto)
    with pytest.raises(UsageError, match=r"there is no \.proto file"):
        await Client.connect("grpc://127.0.0.1:1", proto=tmp_path / "none.proto")
    broken = tmp_path / "broken.proto"
    broken.write_text('syntax = "proto3";\nmessag X {}\n')
    with pytest.raises(UsageError, match=r"is no valid \.proto file: .*broken\.proto:2:1"):
        await Client.connect("grpc://127.0.0.1:1", proto=broken)
    with pytest.raises(ConnectError, match=r"no gRPC service answers at 127\.0\.0\.1:1 .*Nothing was sent"):
        await Client.connect("grpc://127.0.0.1:1", proto=proto)
    assert sorted(os.listdir(tmp_path)) == ["broken.proto", "probe.proto"]


async def test_handlers_that_fit_no_method(proto: Path) -> None:
    """Said at start, each with what the .proto has."""

    @grpc_method("Nobody")
    async def one(data): ...

    @grpc_method("Probe")
    async def two(data): ...

    @grpc_method("Probe")
    async def count(data):
        return {}

    @grpc_method("Probe", "Sum")
    async def three(data):
        yield {}

    @message_pattern("x")
    async def pattern(data): ...

    for handler, text in [
        (one, "no service called 'Nobody'; it has probe.Probe"),
        (two, "Probe has no method 'Two'; it has Sum, Echo"),
        (count, r"says that probe\.Probe/Count sends a stream, so its handler is an async generator"),
        (three, r"says that probe\.Probe/Sum sends one reply, so its handler returns"),
    ]:
        with pytest.raises(HandlerError, match=text):
            await Service(handler, url=HERE, proto=proto).start()
    with pytest.raises(HandlerError, match="bears @grpc_method, as gRPC needs"):
        Service(pattern, url=HERE, proto=proto)
    with pytest.raises(HandlerError, match="two handlers for the gRPC method"):
        Service(Probe(), Probe(), url=HERE, proto=proto)


async def test_a_port_in_use(served: tuple[Service, Probe], proto: Path) -> None:
    """Two services do not share a port by accident."""
    with pytest.raises(ConnectError, match=r"cannot listen on 127\.0\.0\.1"):
        await Service(Probe(), url=served[0].url, proto=proto).start()


async def _until(condition: Any) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110  # what is awaited sets no event
            await asyncio.sleep(0.005)


async def _until_answered(probe: Any) -> None:
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                assert await probe.Sum() == {"value": 1}
                return
            except (ConnectError, ConnectionLost):
                await asyncio.sleep(0.02)


def test_importing_postoffice_loads_no_grpc() -> None:
    """The driver is loaded by its own transport only."""
    code = "import sys, postoffice; sys.exit(any(name in sys.modules for name in ('grpc', 'google.protobuf')))"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
