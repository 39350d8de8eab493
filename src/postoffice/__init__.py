"""postoffice: microservices in the words and on the wire of NestJS, over all its transports.

TCP, Redis, NATS, RabbitMQ, MQTT, Kafka and gRPC:

    @message_pattern({"cmd": "sum"})
    async def add(data: list[int]) -> int:
        return sum(data)

    async with Service(add, url="tcp://127.0.0.1:3000"):
        client = await Client.connect("tcp://127.0.0.1:3000")
        assert await client.send({"cmd": "sum"}, [1, 2]) == 3

Read it in this order: messages, patterns, handlers, dispatch, service, client, then transports/base and one transport.
What is imported by its own name: deadlines, budget, breaker, bulkhead, idempotency and its stores, outbox, saga,
eventstore. Each is one pattern, with its guarantee and where that ends.
"""

from .client import Client
from .context import Context
from .deadletters import DeadLetter, DeadLetters, dead_letters
from .errors import (
    ConnectError,
    ConnectionLost,
    HandlerError,
    InvalidPayload,
    NoHandlerError,
    PatternError,
    PayloadError,
    PermanentError,
    PostOfficeError,
    RequestTimeout,
    RpcError,
    UnsupportedError,
    UsageError,
)
from .handlers import event_pattern, grpc_method, message_pattern
from .retry import Retry
from .service import Service
from .tls import Tls

__all__ = [
    "Client",
    "ConnectError",
    "ConnectionLost",
    "Context",
    "DeadLetter",
    "DeadLetters",
    "HandlerError",
    "InvalidPayload",
    "NoHandlerError",
    "PatternError",
    "PayloadError",
    "PermanentError",
    "PostOfficeError",
    "RequestTimeout",
    "Retry",
    "RpcError",
    "Service",
    "Tls",
    "UnsupportedError",
    "UsageError",
    "dead_letters",
    "event_pattern",
    "grpc_method",
    "message_pattern",
]
