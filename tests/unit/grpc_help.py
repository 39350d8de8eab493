"""The service of the gRPC vectors, and a place to serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from postoffice import Context, RpcError, grpc_method

PROTO = """
syntax = "proto3";
package probe;
service Probe {
  rpc Sum (Numbers) returns (Number);
  rpc Echo (Everything) returns (Everything);
  rpc ErrString (Empty) returns (Number);
  rpc ErrObject (Empty) returns (Number);
  rpc ErrPlain (Empty) returns (Number);
  rpc ErrGrpc (Empty) returns (Number);
  rpc NoHandler (Empty) returns (Number);
  rpc Nothing (Empty) returns (Number);
  rpc Meta (Empty) returns (Text);
  rpc Count (Numbers) returns (stream Number);
  rpc CountErr (Empty) returns (stream Number);
  rpc Collect (stream Number) returns (Number);
  rpc Chat (stream Text) returns (stream Text);
  rpc Slow (Empty) returns (Number);
}
enum Kind { NONE = 0; ONE = 1; TWO = 2; }
message Empty {}
message Numbers { repeated int32 values = 1; }
message Number { int32 value = 1; }
message Text { string text = 1; }
message Everything {
  string text = 1;
  int32 number = 2;
  bool flag = 3;
  int64 big_count = 4;
  Kind kind = 5;
  bytes raw = 6;
  map<string, Number> by_name = 7;
  repeated Number list = 8;
  Number one = 9;
  optional int32 maybe = 10;
}
"""


def write_proto(folder: Path) -> Path:
    path = folder / "probe.proto"
    path.write_text(PROTO, encoding="utf-8")
    return path


class Probe:
    """What NestJS served when the vectors were captured."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gone: list[str] = []
        self.remaining: float | None = None

    @grpc_method("Probe")
    async def sum(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"value": sum(data.get("values", []))}

    @grpc_method("probe.Probe")
    async def echo(self, data):
        return data

    @grpc_method("Probe")
    async def err_string(self):
        raise RpcError("boom")

    @grpc_method("Probe", "ErrObject")
    async def any_name(self):
        raise RpcError({"code": 5, "message": "thing not found"})

    @grpc_method("Probe")
    async def err_plain(self):
        raise ValueError("secret detail")

    @grpc_method("Probe")
    async def err_grpc(self):
        raise LookupError("typed not found")

    @grpc_method("Probe")
    async def nothing(self):
        return None

    @grpc_method("Probe")
    async def meta(self, data, ctx: Context):
        return {"text": ctx.headers.get("x-probe", "none")}

    @grpc_method("Probe")
    async def count(self, data):
        for value in data["values"]:
            yield {"value": value}

    @grpc_method("Probe")
    async def count_err(self):
        yield {"value": 1}
        raise RpcError({"code": 9, "message": "mid-stream"})

    @grpc_method("Probe")
    async def collect(self, data: AsyncIterator[dict[str, Any]]) -> dict[str, int]:
        return {"value": sum([one["value"] async for one in data])}

    @grpc_method("Probe")
    async def chat(self, data):
        async for one in data:
            yield {"text": f"you said {one['text']}"}

    @grpc_method("Probe")
    async def slow(self, data, ctx: Context):
        self.remaining = ctx.remaining
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.gone.append("slow")
