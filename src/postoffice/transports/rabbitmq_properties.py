"""What a message of RabbitMQ carries beside its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pamqp.commands import Basic

from ..durable import HISTORY, History
from ..options import Options

__all__ = ["copied_properties", "new_properties"]


def new_properties(
    headers: Mapping[str, str] | None, message_id: str, persistent: bool, options: Options | None, **more: Any
) -> Basic.Properties:
    """Of a new message; what the options say goes first. `persistent`: written to disk, where no option decides."""
    made = Basic.Properties(headers=dict(headers or {}), delivery_mode=1 + persistent, message_id=message_id, **more)
    if options:
        _add(made, options)
    return made


def _add(made: Basic.Properties, options: Options) -> None:
    if "persistent" in options:
        made.delivery_mode = 1 + options["persistent"]
    if "expiration" in options:
        made.expiration = str(max(1, round(options["expiration"] * 1000)))  # AMQP has text of milliseconds
    made.priority = options.get("priority")
    made.content_type = options.get("content_type")
    made.message_type = options.get("type")
    made.app_id = options.get("app_id")


def copied_properties(kept: Basic.Properties, history: History) -> Basic.Properties:
    """Of a failed message's copy: as it was, with its history, persistent. It has arrived, so it expires no more."""
    headers = {**(kept.headers or {}), HISTORY: history.header()}
    headers.pop("x-delivery-count", None)
    return Basic.Properties(
        headers=headers,
        delivery_mode=2,
        message_id=history.id,
        content_type=kept.content_type,
        correlation_id=kept.correlation_id,
        priority=kept.priority,
        message_type=kept.message_type,
        app_id=kept.app_id,
    )
