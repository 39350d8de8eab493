"""The four who meet on gRPC, where there are methods of a .proto in place of patterns."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from postoffice import Client, Context, NoHandlerError, RequestTimeout, RpcError, Service, UsageError, grpc_method

from .node import HERE
from .peers import Call, Nest, Outcome, Place

PROTO = HERE / "nest" / "office.proto"
UNIMPLEMENTED, DEADLINE_EXCEEDED = 12, 4


class Office:
    """The methods of office.proto, but Missing."""

    @grpc_method("Office")
    async def echo(self, parcel: Any) -> Any:
        return parcel

    @grpc_method("Office")
    async def fails(self, wish: Any) -> Any:
        match wish["text"]:
            case "text":
                raise RpcError("no such parcel: é🚀")
            case "code":
                raise RpcError({"code": 5, "message": "no such parcel"})
            case "later":
                await asyncio.sleep(0.02)
                raise RpcError({"code": 9, "message": "later"})
        raise ValueError("the secret of the house")

    @grpc_method("Office")
    async def nothing(self, wish: Any) -> None:
        pass

    @grpc_method("Office")
    async def besides(self, wish: Any, ctx: Context) -> Any:
        return {"text": ctx.headers["tenant"]}

    @grpc_method("Office")
    async def slow(self, number: Any) -> Any:
        await asyncio.sleep(number["value"] / 1000)
        return number

    @grpc_method("Office")
    async def count_to(self, number: Any) -> AsyncIterator[Any]:
        for value in range(1, number.get("value", 0) + 1):
            yield {"value": value}

    @grpc_method("Office")
    async def count_slowly(self, number: Any) -> AsyncIterator[Any]:
        for value in range(1, number.get("value", 0) + 1):
            await asyncio.sleep(0.02)
            yield {"value": value}

    @grpc_method("Office")
    async def count_fails(self, number: Any) -> AsyncIterator[Any]:
        yield {"value": 1}
        yield {"value": 2}
        raise RpcError({"code": 10, "message": "half-way"})

    @grpc_method("Office")
    async def total(self, numbers: Any) -> Any:
        return {"value": sum([one.get("value", 0) async for one in numbers])}

    @grpc_method("Office")
    async def doubled(self, numbers: Any) -> AsyncIterator[Any]:
        async for one in numbers:
            yield {"value": 2 * one["value"]}


class OurService:
    """postoffice's Service."""

    nest = False

    def __init__(self, place: Place) -> None:
        self._service = Service(Office(), url=place.url, name="office", proto=PROTO, grace=2.0)

    async def start(self) -> str:
        await self._service.start()
        return self._service.url

    async def seen(self, forget: bool = False) -> list[list[Any]]:
        return []

    async def stop(self) -> None:
        await self._service.stop()


class OurClient:
    """postoffice's Client."""

    nest = False

    def __init__(self, place: Place) -> None:
        self._place = place

    async def start(self) -> None:
        self._client = await Client.connect(self._place.url, proto=PROTO)
        self._office = self._client.service("Office")

    async def calls(self, calls: list[Call]) -> list[Outcome]:
        return await asyncio.gather(*map(self._call, calls))

    async def _call(self, call: Call) -> Outcome:
        outcome = Outcome([])
        try:
            headers = call.extras.get("headers")
            answer = getattr(self._office, call.pattern)(call.data, timeout=call.limit, headers=headers)
            if isinstance(answer, AsyncIterator):
                async for value in answer:
                    outcome.values.append(value)
            else:
                outcome.values.append(await answer)
        except RpcError as error:
            outcome.end, outcome.error = "error", error.error
        except (NoHandlerError, RequestTimeout, UsageError) as error:
            outcome.end = {NoHandlerError: "nobody", RequestTimeout: "timeout"}.get(type(error), "refused")
        return outcome

    async def stop(self) -> None:
        await self._client.close()


class NestGrpc(Nest):
    """A NestJS process beside its .proto."""

    def copy(self) -> None:
        super().copy()
        shutil.copy(PROTO, self._folder)


class NestService(NestGrpc):
    """A NestJS microservice, on a port that was free a moment ago: NestJS does not tell which one it took."""

    script = "grpc_service.mjs"

    async def start(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._place = replace(self._place, url=f"grpc://127.0.0.1:{free.getsockname()[1]}")
        return await super().start()

    async def seen(self, forget: bool = False) -> list[list[Any]]:
        return []


class NestClient(NestGrpc):
    """A NestJS ClientGrpc."""

    script = "grpc_client.mjs"

    async def calls(self, calls: list[Call]) -> list[Outcome]:
        asked = [{"pattern": one.pattern, "data": one.data, "limit": one.limit * 1000, **one.extras} for one in calls]
        return [_outcome(**answer) for answer in await self.ask(asked)]


def _outcome(values: list[Any], end: str, error: Any = None) -> Outcome:
    ends = {UNIMPLEMENTED: "nobody", DEADLINE_EXCEEDED: "timeout"}
    if end == "error" and error.get("code") in ends:
        return Outcome(values, ends[error["code"]])
    return Outcome(values, end, error)
