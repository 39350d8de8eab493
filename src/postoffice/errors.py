"""What can go wrong, as a tree. Every error says whether the work may have happened.

    PostOfficeError
    ├── UsageError               the call itself is wrong; nothing was sent
    │   ├── PatternError         a pattern that cannot be an address
    │   ├── HandlerError         handlers that cannot be served as they are written
    │   ├── PayloadError         data that is no JSON, or larger than the transport carries
    │   └── UnsupportedError     asked for what this transport cannot do
    ├── ConnectError             nobody could be reached; nothing was sent
    ├── NoHandlerError           it arrived, and nobody handles that pattern; nothing was done
    ├── RpcError                 the handler ran and answered with an error
    │   └── PermanentError       trying again cannot help: to the dead-letter queue at once
    │       └── InvalidPayload   the data are not what the handler's parameter asks for; it did not run
    ├── RequestTimeout           no answer in time: it may have happened, or may happen yet
    └── ConnectionLost           the connection broke while waiting: it may have happened

Each module of a resilience pattern has its own below PostOfficeError: CircuitOpen, BulkheadFull, DeadlinePassed,
VersionConflict (nothing was done), KeyReused, InProgress, OutcomeUnknown (idempotency.py), SagaBusy, LeaseLost.

RequestTimeout and ConnectionLost are *indefinite*: after one of them only the owner of the effect knows whether it
took place. Retrying is safe only when doing the work twice is (idempotency). `error.may_have_happened` tells them
apart.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "ConnectError",
    "ConnectionLost",
    "HandlerError",
    "InvalidPayload",
    "NoHandlerError",
    "PatternError",
    "PayloadError",
    "PermanentError",
    "PostOfficeError",
    "RequestTimeout",
    "RpcError",
    "UnsupportedError",
    "UsageError",
]


class PostOfficeError(Exception):
    """The root of every error raised here."""

    may_have_happened: ClassVar[bool] = False
    """Whether the handler may have run (True), or certainly did not (False)."""


class UsageError(PostOfficeError, ValueError):
    """The call is wrong as it stands. Nothing was sent."""


class PatternError(UsageError):
    """A pattern that cannot be turned into an address (a channel, a subject, a key)."""


class HandlerError(UsageError):
    """Handlers that cannot be served: not async, two for one message pattern, a type that cannot be checked."""


class PayloadError(UsageError):
    """Data that cannot be written as JSON, or that is larger than the transport carries."""


class UnsupportedError(UsageError):
    """This transport cannot do what was asked; the message names one that can."""


class ConnectError(PostOfficeError, ConnectionError):
    """Nobody could be reached at that address. Nothing was sent."""


class NoHandlerError(PostOfficeError, LookupError):
    """The request arrived, and nobody handles its pattern. Nothing was done."""


class RpcError(PostOfficeError):
    """An error that a handler answers with, and that its caller receives.

    Raise it in a handler to tell the caller what is wrong. Any other exception reaches the caller as
    "Internal server error" only, so that no detail of a service leaks by accident.

    Args:
        error: a text, or a JSON object of your own. A text travels as `{"status": "error", "message": text}`.
    """

    may_have_happened = True

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error: Any = {"status": "error", "message": error} if isinstance(error, str) else error

    def __str__(self) -> str:
        if isinstance(self.error, dict) and isinstance(self.error.get("message"), str):
            return str(self.error["message"])
        return str(self.error)


class PermanentError(RpcError):
    """An error after which trying again cannot help, such as an order for an article that does not exist.

    Raise it in an event's handler: the event goes to the dead-letter queue at once, whatever its Retry says. In a
    request's handler it is an RpcError like any other.
    """


class InvalidPayload(PermanentError):
    """The data are not of the type that the handler's parameter asks for. The handler did not run."""

    may_have_happened = False


class RequestTimeout(PostOfficeError, TimeoutError):
    """No answer within the limit. The request may be lost, waiting, under way or done: nobody here can know."""

    may_have_happened = True


class ConnectionLost(PostOfficeError, ConnectionError):
    """The connection broke while the answer was awaited. The work may have happened."""

    may_have_happened = True
