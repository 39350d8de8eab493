"""Options of one call: what a message carries for the broker, as NestJS's record builders have it.

    await client.emit("parcel.sent", parcel, options={"priority": 5, "expiration": 1.5})

RabbitMQ (RmqRecordBuilder):

    priority      0 to 255. It counts in a queue that was made with x-max-priority; a quorum queue knows two, above 4
                  and not (RabbitMQ 4); elsewhere the broker only carries it.
    expiration    seconds after which the broker drops the message, if it still waits. At least once an event has none.
    persistent    whether a broker that ends and comes back still has it. At least once always, else False as it stands.
    content_type, type, app_id
                  text of at most 255 bytes for the receiver.

MQTT (MqttRecordBuilder):

    qos           0, 1 or 2. With 1 and 2 the call goes on when the broker has confirmed, or raises ConnectionLost. What
                  a service receives is at most the QoS that it subscribed with. An event at least once has 1.
    retain        whether the broker keeps the message and gives it to whoever subscribes later; only for `emit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from .transports.base import Transport

__all__ = ["MQTT", "RABBITMQ", "Options", "checked"]

Options: TypeAlias = Mapping[str, Any]
LONGEST = 4_294_967  # seconds: AMQP brokers count a message's milliseconds in 32 bits


class _Value(NamedTuple):
    fits: Callable[[Any], bool]
    wanted: str


def _whole(low: int, high: int) -> _Value:
    return _Value(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


_FLAG = _Value(lambda value: isinstance(value, bool), "True or False")
_TEXT = _Value(
    lambda value: isinstance(value, str) and value.isprintable() and len(value.encode()) <= 255,
    "printable text of at most 255 bytes",
)
_SECONDS = _Value(
    lambda value: type(value) in (int, float) and 0 < value <= LONGEST, f"seconds, more than 0 and up to {LONGEST:,}"
)
_VALUES = {
    "priority": _whole(0, 255),
    "expiration": _SECONDS,
    "persistent": _FLAG,
    "content_type": _TEXT,
    "type": _TEXT,
    "app_id": _TEXT,
    "qos": _whole(0, 2),
    "retain": _FLAG,
}
RABBITMQ = ("priority", "expiration", "persistent", "content_type", "type", "app_id")
MQTT = ("qos", "retain")
_WHO = f"RabbitMQ (amqp://) has {', '.join(RABBITMQ)}; MQTT (mqtt://) has {', '.join(MQTT)}"


def checked(options: Options | None, transport: Transport, event: bool) -> Options | None:
    """The options of a call, once they are known to fit; None where there are none.

    Raises:
        UnsupportedError: the transport has no such option, or not for this call. UsageError: a value does not fit.
    """
    if not options:
        return None
    known = transport.capabilities.options
    if not known:
        raise UnsupportedError(f"{transport.name} has no options of a call. {_WHO}. Nothing was sent.")
    for name, value in options.items():
        if name not in known:
            raise UnsupportedError(f"{transport.name} has no option {name!r}. {_WHO}. Nothing was sent.")
        if not _VALUES[name].fits(value):
            raise UsageError(f"the option {name!r} is {_VALUES[name].wanted}; got {value!r}. Nothing was sent.")
        if reason := _refused(name, value, event, transport.durable is not None):
            raise UnsupportedError(f"the option {name}={value!r} is refused here: {reason}. Nothing was sent.")
    return options


def _refused(name: str, value: Any, event: bool, durable: bool) -> str:
    """Why what fits may not be all the same; "" where it may."""
    if name == "retain" and value and not event:
        return "each service that subscribes later would do the request again. Use it with emit"
    if not (event and durable):
        return ""
    if name == "persistent" and not value:
        return "at least once the broker keeps an event until it was handled. Leave it out"
    if name == "expiration":
        return (
            "an event that expires is dropped without a word, and at least once drops none. Put the time into the data,"
            " and let the handler decide; or send it at most once"
        )
    if name == "qos" and value != 1:
        return "at least once an event goes with QoS 1, whose confirmation says that somebody takes it. Leave it out"
    return ""
