"""Accounts at a broker that runs for a whole grading run: each sees its own virtual host only, and manages nothing.

RabbitMQ has virtual hosts and users: they are made by the broker's own `rabbitmqctl`, many in one call, since a call
takes a second or more. The well-known login guest:guest is locked out first. Other brokers have nothing of the kind;
they start in a moment, so each task of a submission gets one of its own, and Redis loses the commands by which it would
connect to other machines or load code (`tame`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from urllib.parse import urlsplit

from classroom.brokers import Broker, start_broker

__all__ = ["Accounts", "tame"]

BATCH = 12  # virtual hosts made in one call
FEW = 5  # left, when more are made
LIMITS = r'<<"{\"max-connections\": 200, \"max-queues\": 200}">>'
ADMIN = '<<"classroom">>'
FORBIDDEN = (
    "shutdown",
    "replicaof",
    "slaveof",
    "migrate",
    "failover",
    "cluster",
    "psync",
    "sync",
    "module",
    "debug",
    "config",
    "acl",
)


class Accounts:
    """A warm RabbitMQ, and fresh accounts at it. `async with Accounts() as accounts: url = await accounts.take()`."""

    def __init__(self) -> None:
        self._free: list[str] = []
        self._used: list[str] = []
        self._broker: Broker | None = None
        self._making: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Accounts:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._making is not None:
            await asyncio.wait({self._making})
        if self._broker is not None:
            await self._broker.stop()

    @property
    def alive(self) -> bool:
        """Whether its broker runs."""
        return self._broker is not None and self._broker.alive

    async def take(self) -> str:
        """The address of an account that nobody has used. Raises BrokerError."""
        if not self.alive:
            await self._start()
        if len(self._free) <= FEW and self._making is None:
            self._making = asyncio.create_task(self._make())
        while not self._free:
            assert self._making
            await self._making
        return self._free.pop()

    def give_back(self, url: str) -> None:
        """It was used: its virtual host will be deleted with the next call."""
        self._used.append(urlsplit(url).path[1:])

    async def _start(self) -> None:
        if self._making is not None:
            await asyncio.wait({self._making})  # at the broker that has ended
        if self._broker is not None:
            await self._broker.stop()
        self._free, self._used = [], []
        self._broker = await start_broker("rabbitmq", name="grading")
        await self._evaluate(f'rabbit_auth_backend_internal:change_password(<<"guest">>, {_text(24)}, {ADMIN}).')

    async def _make(self) -> None:
        assert self._broker
        names = [f"lab-{secrets.token_hex(6)}" for _ in range(BATCH)]
        words = {name: secrets.token_hex(16) for name in names}
        gone, self._used = self._used, []
        try:
            steps = [_new(name, word) for name, word in words.items()] + [_delete(name) for name in gone]
            await self._evaluate(f"{', '.join(steps)}.")
            host = urlsplit(self._broker.url)
            self._free += [f"amqp://{name}:{word}@{host.hostname}:{host.port}/{name}" for name, word in words.items()]
        finally:
            self._making = None

    async def _evaluate(self, expression: str) -> None:
        assert self._broker
        await self._broker.control("rabbitmqctl", "-q", "eval", expression)


def _new(name: str, word: str) -> str:
    """Erlang: a virtual host, its one user, who may do all in it and nothing else."""
    host, user = f'<<"{name}">>', f'<<"{name}">>'
    internal = "rabbit_auth_backend_internal"
    return ", ".join([
        f"rabbit_vhost:add({host}, {ADMIN})",
        f"rabbit_vhost_limit:parse_set({host}, {LIMITS}, {ADMIN})",
        f'{internal}:add_user({user}, <<"{word}">>, {ADMIN})',
        f'{internal}:set_permissions({user}, {host}, <<".*">>, <<".*">>, <<".*">>, {ADMIN})',
    ])  # fmt: skip


def _delete(name: str) -> str:
    internal = "rabbit_auth_backend_internal"
    return f'catch rabbit_vhost:delete(<<"{name}">>, {ADMIN}), catch {internal}:delete_user(<<"{name}">>, {ADMIN})'


def _text(length: int) -> str:
    return f'<<"{secrets.token_hex(length)}">>'


async def tame(broker: Broker) -> None:
    """Take from a Redis, for all who connect, the commands by which it would reach beyond itself. For good: `acl` too.

    Raises redis.RedisError when it cannot be reached.
    """
    from redis.asyncio import Redis
    from redis.exceptions import ResponseError

    async with Redis.from_url(broker.url) as connection:
        for name in FORBIDDEN:
            with contextlib.suppress(ResponseError):  # this server has no such command
                await connection.acl_setuser("default", enabled=True, commands=[f"-{name}"])
