"""Clients and services used wrongly, and what each error tells a person; errors that nobody waits for."""

import asyncio
import gc
import socket
from typing import Any

import pytest

import postoffice
from postoffice import (
    Client,
    ConnectError,
    ConnectionLost,
    NoHandlerError,
    PostOfficeError,
    RequestTimeout,
    RpcError,
    Service,
    UsageError,
    errors,
    message_pattern,
)

URL = "tcp://127.0.0.1:0"


@message_pattern("echo")
async def echo(data):
    return data


@message_pattern("never")
async def never():
    await asyncio.sleep(3600)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:3000", "", "kafkaesque://x", "TCP//x"])
async def test_an_unknown_scheme(url: str) -> None:
    """The known ones are listed, for a client and a service alike."""
    words = r"no transport for .*: its scheme is .*\. Known are tcp://, redis://, nats://, .*Nothing was sent"
    with pytest.raises(UsageError, match=words):
        await Client.connect(url)
    with pytest.raises(UsageError, match=words):
        Service(echo, url=url, name="x")


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:-1"])
async def test_a_port_that_is_none(url: str) -> None:
    """With an example of the right form."""
    with pytest.raises(UsageError, match=r"has no valid port: .*Write for example"):
        await Client.connect(url)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", None])
async def test_a_time_limit_that_is_none(timeout: Any) -> None:
    """Of a client, where None is none either, and of a call."""
    async with Service(echo, url=URL) as service:
        with pytest.raises(UsageError, match="timeout is a positive number of seconds; got"):
            await Client.connect(service.url, timeout=timeout)
        async with await Client.connect(service.url) as client:
            if timeout is not None:
                with pytest.raises(UsageError, match="timeout is a positive number of seconds; got"):
                    await client.send("echo", 1, timeout=timeout)
            assert await client.send("echo", 1) == 1


async def test_a_delivery_that_is_none() -> None:
    """Both words that are one are named."""
    for make in (
        lambda: Service(echo, url=URL, delivery="exactly-once"),
        lambda: Service(echo, url=URL, delivery=None),
    ):
        with pytest.raises(UsageError, match="delivery is 'at-most-once' or 'at-least-once'; got"):
            make()


async def test_nobody_listens() -> None:
    """The address, the reason and what to look at; nothing was sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ConnectError, match=r"nobody answers at 127.*Refused.*Nothing was sent.*Is the service running"
        ):
            await Client.connect(url)


async def test_a_port_in_use() -> None:
    """The second service says what to do; the first goes on."""
    async with Service(echo, url=URL) as first:
        second = Service(echo, url=first.url)
        with pytest.raises(
            ConnectError, match=r"cannot listen on .*Another process may have that port: .*port 0 takes"
        ):
            await second.start()
        await second.stop()
        async with await Client.connect(first.url) as client:
            assert await client.send("echo", 1) == 1


async def test_a_service_that_never_started_stops_all_the_same() -> None:
    """And one that stops twice; a stopped one may start again."""
    service = Service(echo, url=URL)
    await service.stop()
    await service.start()
    await service.stop()
    await service.stop()
    await service.start()
    async with await Client.connect(service.url) as client:
        assert await client.send("echo", 1) == 1
    await service.stop()


async def test_what_is_printed_of_clients_and_services() -> None:
    """Where, how many handlers, whether it runs."""
    service = Service(echo, never, url=URL, name="users")
    assert repr(service) == "<Service 'users' at tcp://127.0.0.1:0, 2 handlers, not started>"
    async with service:
        assert repr(service) == f"<Service 'users' at {service.url}, 2 handlers, started>"
        client = await Client.connect(service.url)
        assert repr(client) == f"<Client of {service.url}>"
        await client.close()
        assert repr(client) == f"<Client of {service.url}, closed>"


async def test_a_client_is_closed_once_its_block_is_left() -> None:
    """Also by an error; a second close is harmless."""
    async with Service(echo, url=URL) as service:
        with pytest.raises(KeyError):
            async with await Client.connect(service.url) as client:
                raise KeyError
        with pytest.raises(UsageError, match="this client is closed"):
            await client.send("echo", 1)
        await client.close()


async def test_an_error_that_nobody_waits_for_is_not_reported_later() -> None:
    """A stream that was left, a call that was cancelled, a connection that then breaks: no late complaints."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    service = Service(echo, never, url=URL, grace=0.01)
    await service.start()
    client = await Client.connect(service.url)
    stream = client.stream("never", timeout=0.05)
    with pytest.raises(RequestTimeout):
        await anext(stream)
    await stream.aclose()
    call = asyncio.create_task(client.send("never", timeout=0.05))
    await asyncio.sleep(0.01)
    call.cancel()
    waiting = client.stream("never")
    left = asyncio.create_task(anext(waiting))
    await asyncio.sleep(0.01)
    left.cancel()
    await asyncio.gather(call, left, return_exceptions=True)
    await waiting.aclose()
    await service.stop()
    await client.close()
    del call, left, waiting, stream
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_client_that_lost_its_service_connects_again() -> None:
    """By itself, with the next call; many at once share one new connection."""
    service = Service(echo, url=URL)
    await service.start()
    async with await Client.connect(service.url) as client:
        assert await client.send("echo", 1) == 1
        url = service.url
        await service.stop()
        async with Service(echo, url=url) as again:
            while True:
                try:
                    await client.send("echo", 1)
                    break
                except ConnectionLost:
                    continue
            assert await asyncio.gather(*(client.send("echo", n) for n in range(50))) == list(range(50))
            assert len(again._transport._callers) == 1


def test_the_tree_of_errors() -> None:
    """As the docstring of errors draws it; each is also what Python's own name for it is."""
    assert {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__} == {
        "PostOfficeError": "Exception",
        "UsageError": "PostOfficeError",
        "PatternError": "UsageError",
        "HandlerError": "UsageError",
        "PayloadError": "UsageError",
        "UnsupportedError": "UsageError",
        "ConnectError": "PostOfficeError",
        "NoHandlerError": "PostOfficeError",
        "RpcError": "PostOfficeError",
        "PermanentError": "RpcError",
        "InvalidPayload": "PermanentError",
        "RequestTimeout": "PostOfficeError",
        "ConnectionLost": "PostOfficeError",
    }
    for name in errors.__all__:
        assert name in str(errors.__doc__)
        assert getattr(postoffice, name) is getattr(errors, name)
    assert [issubclass(RequestTimeout, TimeoutError), issubclass(ConnectionLost, ConnectionError)] == [True] * 2


def test_every_error_says_whether_the_work_may_have_happened() -> None:
    """Four may; the others say that nothing was done."""
    indefinite = {name for name in errors.__all__ if getattr(errors, name).may_have_happened}
    assert indefinite == {"RpcError", "PermanentError", "RequestTimeout", "ConnectionLost"}
    assert not PostOfficeError.may_have_happened
    assert not NoHandlerError.may_have_happened


@pytest.mark.parametrize(
    ("given", "travels", "text"),
    [
        ("no", {"status": "error", "message": "no"}, "no"),
        ({"code": 1, "message": "m"}, {"code": 1, "message": "m"}, "m"),
        ({"code": 1}, {"code": 1}, "{'code': 1}"),
        ([1], [1], "[1]"),
        (7, 7, "7"),
    ],
)
def test_what_an_rpc_error_carries(given: Any, travels: Any, text: str) -> None:
    """A text becomes NestJS's object; anything else travels as it is."""
    error = RpcError(given)
    assert (error.error, str(error)) == (travels, text)
