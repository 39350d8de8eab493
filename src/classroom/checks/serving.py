"""A copy of a learner's service, that it is up, and a client of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from classroom.checks.needs import need_service
from classroom.checks.result import Over, Result
from classroom.service_handle import ServiceHandle
from postoffice import Client

LIMIT = 5.0  # seconds for one answer; a good service needs about a millisecond


@asynccontextmanager
async def copy_of(result: Result, name: str, service: Any) -> AsyncIterator[ServiceHandle]:
    """A copy of a service, of its own name and port, once it is up; gone at the end. Raises Over when it is not up."""
    twin = need_service(result, name, service).twin(f"{name}_{secrets.token_hex(3)}")
    try:
        await comes_up(result, name, twin)
        yield twin
    finally:
        twin.kill()


async def comes_up(result: Result, name: str, service: ServiceHandle) -> None:
    """Judge whether a service serves; the conditions after it make no sense otherwise. Raises Over then."""
    try:
        await service.ready()
    except Exception as error:
        lines = str(error).strip().splitlines()
        told = " … ".join(dict.fromkeys([lines[0], lines[-1]])).replace(service.name, name)
        hint = "read the traceback under the service's cell; its line numbers are the cell's."
        result.judge(f"{name} starts and is ready", False, seen=told, hint=hint)
        raise Over from error
    result.judge(f"{name} starts and is ready", True)


def process_ids(service: ServiceHandle) -> list[int]:
    """Who runs the service now: a process that died and was replaced has another id."""
    return [replica.pid for replica in service.replicas if replica.alive]


@asynccontextmanager
async def caller(service: ServiceHandle) -> AsyncIterator[Client]:
    """A client of a service, closed at the end."""
    async with await Client.connect(service.url, timeout=LIMIT) as client:
        yield client
