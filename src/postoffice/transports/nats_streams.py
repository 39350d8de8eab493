"""JetStream as we use it: two streams, a consumer per service and pattern, and how all of them are named.

    stream `events`   events.<pattern>            what is emitted, for every service
                      again.<service>.<pattern>   what is sent once more, for this service only
    stream `dead`     dead.<queue>                dead letters

They keep what they have: limit them as the server's owner sees fit, by age or size.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote

from nats.errors import NoRespondersError
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServiceUnavailableError

from ..durable import HISTORY, Durable, History
from ..errors import PayloadError, UnsupportedError, UsageError

__all__ = [
    "DEAD",
    "EVENTS",
    "NAME",
    "again",
    "checked_headers",
    "copied",
    "ensure_consumer",
    "ensure_streams",
    "own_headers",
]

EVENTS, DEAD = "events", "dead"
NAME = "Nats-Msg-Id"  # the header by which the server knows a message that it has already
STREAMS = {EVENTS: ["events.>", "again.>"], DEAD: ["dead.>"]}
NOT_ENABLED = (10039, 10076)  # the server's codes for "JetStream not enabled", in the account or at all
MAX_NAME = 200  # characters of a consumer's name, which is a file's name too
HEADER_NAME = re.compile(r"[!-9;-~]+")
HEADER_VALUE = re.compile(r"[ -~]*")


def token(text: str) -> str:
    """A text as one token of a subject: without dots, wildcards and spaces.

    Without `%` too: NATS 2.10 takes no acknowledgements for a consumer with one in its name.
    """
    return quote(text, safe="").replace(".", "%2E").replace("%", "=")


def again(service: Durable, route: str) -> str:
    """The subject that only this service's consumer of this pattern takes."""
    return f"again.{token(service.service)}.{token(route)}"


def consumer_name(service: Durable, route: str) -> str:
    """The name of a service's consumer for a pattern; long ones end in a hash."""
    name = f"{token(service.service)}+{token(route)}"
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}+{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as NATS carries them. Raises PayloadError where they are more than printable ASCII."""
    for name, value in headers.items():
        if not (HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value)):
            raise PayloadError(
                f"the header {name!r}: {value!r} cannot travel: NATS has printable ASCII in headers only."
                " Nothing was sent. Quote it (urllib.parse.quote), or put it into the data."
            )
    return dict(headers)


def own_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The sender's headers, without the server's."""
    return {name: value for name, value in (headers or {}).items() if not name.startswith("Nats-")}


def copied(headers: Mapping[str, str], history: History) -> dict[str, str]:
    """The headers of a copy of a message that failed."""
    return {**own_headers(headers), HISTORY: history.header()}


async def ensure_streams(streams: JetStreamContext, url: str) -> None:
    """Make the streams where they are missing.

    Raises:
        UnsupportedError: the server has no JetStream. UsageError: streams of other properties are in the way.
    """
    for name, subjects in STREAMS.items():
        try:
            await _ensure_stream(streams, name, subjects)
        except (ServiceUnavailableError, NoRespondersError) as error:
            if getattr(error, "err_code", None) not in (None, *NOT_ENABLED):
                raise
            raise UnsupportedError(
                f"the NATS server at {url} runs without JetStream, so it stores nothing. Start it with the option -js,"
                " or use delivery='at-most-once'."
            ) from error


async def _ensure_stream(streams: JetStreamContext, name: str, subjects: list[str]) -> None:
    try:
        there = (await streams.stream_info(name)).config.subjects or []
    except NotFoundError:
        there = subjects
        try:
            await streams.add_stream(api.StreamConfig(name=name, subjects=subjects, storage=api.StorageType.FILE))
        except BadRequestError as error:
            raise UsageError(
                f"the stream {name!r} with {subjects} cannot be made: {error.description}. Does another stream take"
                " these subjects already?"
            ) from error
    if not set(subjects) <= set(there):
        raise UsageError(f"there is a stream {name!r} with {there}, and it must have {subjects}. Rename or delete it.")


async def ensure_consumer(streams: JetStreamContext, service: Durable, route: str) -> str:
    """The service's consumer for a pattern, made or brought up to date. Returns its name.

    The first service of a pattern gets what waits already, a later one what comes from then on.
    """
    name = consumer_name(service, route)
    subjects = [f"events.{route}", again(service, route)]
    try:
        policy = (await streams.consumer_info(EVENTS, name)).config.deliver_policy
    except NotFoundError:
        policy = api.DeliverPolicy.NEW if await _is_consumed(streams, subjects[0]) else api.DeliverPolicy.ALL
    config = api.ConsumerConfig(
        durable_name=name,
        filter_subjects=subjects,
        deliver_policy=policy,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=service.ack_wait,
        max_deliver=-1,  # past a limit the server would drop it: the service dead-letters it before
        max_ack_pending=-1,  # what waits for its next attempt counts too, and must not hold up the others
    )
    try:
        await streams.add_consumer(EVENTS, config)
    except APIError:  # another replica was quicker; where a consumer begins cannot be changed
        policy = (await streams.consumer_info(EVENTS, name)).config.deliver_policy
        await streams.add_consumer(EVENTS, config.evolve(deliver_policy=policy))
    return name


async def _is_consumed(streams: JetStreamContext, subject: str) -> bool:
    """Whether a service has a consumer for these events."""
    offset = 0
    while page := await streams.consumers_info(EVENTS, offset):
        if any(subject in (one.config.filter_subjects or ()) for one in page):
            return True
        offset += len(page)
    return False
