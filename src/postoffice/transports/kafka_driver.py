"""The driver's side of Kafka: its connections, ending them, the groups that share partitions, and commits."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.conn import create_conn
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

from .base import CONNECT_TIMEOUT, Transport
from .logins import login_of

__all__ = ["Membership", "NestRoundRobin", "committed", "gone", "options", "reach", "stop"]

AGAIN = 0.05  # seconds after which a connection that has ended is opened again
STOP_TIMEOUT = 1.0  # seconds that a driver may take to say goodbye to a broker that does not answer

if not logging.getLogger("aiokafka").level:  # it logs each attempt to connect; what matters reaches us as exceptions
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def options(transport: Transport) -> dict[str, Any]:
    """How a driver reaches the broker of a transport, and who it says that it is."""
    host, port = transport.address(9092)
    user, password = login_of(transport.url)
    found: dict[str, Any] = {"bootstrap_servers": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}
    found["client_id"] = f"postoffice-{secrets.token_hex(4)}"
    found["security_protocol"] = ("SASL_" if user else "") + ("SSL" if transport.secure else "PLAINTEXT")
    if transport.secure:
        found["ssl_context"] = transport.tls.for_client()
    if user:
        found |= {"sasl_mechanism": "PLAIN", "sasl_plain_username": user, "sasl_plain_password": password or ""}
    return found


async def reach(transport: Transport) -> None:
    """Connect once by hand: the driver does not tell why it could not.

    Raises:
        OSError: nobody there, a certificate that is refused. SaslAuthenticationFailed: the user or the password is.
    """
    host, port = transport.address(9092)
    _, writer = await asyncio.open_connection(host, port, ssl=transport.tls.for_client() if transport.secure else None)
    writer.close()
    if login_of(transport.url)[0] is not None:
        given = options(transport)
        del given["bootstrap_servers"]
        (await create_conn(host, port, **given)).close()


async def gone(transport: Transport) -> BaseException | None:
    """Wait until the broker has gone: a connection to it has ended and no other can be made. The reason for that.

    Kafka ends a connection that is silent for ten minutes, so the end of one does not tell.
    """
    host, port = transport.address(9092)
    context = transport.tls.for_client() if transport.secure else None
    while True:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
        except (OSError, TimeoutError) as error:
            return error
        try:
            await reader.read()  # nothing is sent; it ends when the broker does
        except OSError:
            pass
        finally:
            writer.close()
        await asyncio.sleep(AGAIN)


async def stop(driver: Any, connections: Any) -> None:
    """Stop a producer or a consumer. Where the broker does not answer, what waits for it is given up."""
    stopping = asyncio.create_task(driver.stop())
    await asyncio.wait([stopping], timeout=STOP_TIMEOUT)
    if not stopping.done():
        if isinstance(driver, AIOKafkaProducer):
            await _abandon(driver)
        await connections.close()
        await asyncio.wait([stopping], timeout=STOP_TIMEOUT)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


class NestRoundRobin(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka has no type information
    """The driver's round robin by the name that NestJS's driver has for its own: members of a group must agree on one.

    With it a Python service can be a replica of a NestJS service, given that both handle the same topics.
    """

    name = "RoundRobinAssigner"


async def _abandon(producer: Any) -> None:
    """End a producer's tasks, and give up its batches: by itself it would try to send them for `DELIVERY`."""
    sender = producer._sender.sender_task
    for _ in range(100):  # each time, it goes on to wait for another request of its own
        if sender.done():
            break
        sender.cancel()
        await asyncio.sleep(0)
    waiting = producer._message_accumulator
    waiting._pending_batches.update(batch for batches in waiting._batches.values() for batch in batches)
    for batch in list(waiting._pending_batches):
        batch.future.cancel()


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type information
    """Told by the driver when partitions are given to this replica."""

    def __init__(self) -> None:
        self.changed = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        """What was read of them is committed already."""

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.changed = True


async def committed(consumer: Any, offsets: dict[TopicPartition, int]) -> bool:
    """Commit; False when the group has changed: whoever has the partitions now reads on from the commit before."""
    try:
        await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError):
        return False
    return True
