"""The dead letters of Kafka: a compacted topic, where each letter has a key of its own.

A record of a topic cannot be taken out. A letter is settled by a record with its key and no value, which tells whoever
reads the topic, and the broker, which forgets both when it next compacts the topic. A letter that is requeued goes to
the requeue topic of its group, so that only this group gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition

from .. import messages
from ..deadletters import DeadLetter, DeadLetters
from ..durable import HISTORY, MESSAGE_ID, History
from ..errors import ConnectError, NoHandlerError, UsageError
from .base import SECURE
from .kafka import FETCH_WAIT, POLL, KafkaTransport
from .kafka_driver import options, stop
from .kafka_records import KEY, NO_VALUE, Record, sent_record, to_json, with_text

__all__ = ["KafkaDeadLetters"]

SILENCE = 10.0  # seconds without a record after which the topic counts as unreadable


class KafkaDeadLetters(DeadLetters):
    """Every look reads the whole topic. Two who requeue one letter at the same time requeue it twice."""

    _transport: KafkaTransport

    async def _open(self) -> None:
        secure = urlsplit(self.url).scheme in SECURE
        self._transport = KafkaTransport(self.url, tls=self.tls if secure else None)
        await self._transport.connect()

    async def _close(self) -> None:
        await self._transport.close()

    @contextlib.asynccontextmanager
    async def _browse(self) -> AsyncIterator[list[DeadLetter]]:
        if self.name not in await self._transport.outbox.topics():
            raise UsageError(
                f"there is no topic {self.name!r} on this Kafka. A service that delivers at least once makes its topics"
                " of dead letters when it starts; is the name right?"
            )
        yield [_letter(key, record) for key, record in (await self._unsettled()).items()]

    async def _unsettled(self) -> dict[bytes, Any]:
        """The records of the letters that are not settled, by their keys, oldest first."""
        consumer = AIOKafkaConsumer(
            **options(self._transport),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT,
        )
        await consumer.start()
        try:
            return await self._read(consumer)
        except TimeoutError as error:
            raise ConnectError(
                f"the dead letters in {self.name!r} could not be read to their end: nothing came for {SILENCE:g} s."
            ) from error
        finally:
            await stop(consumer, consumer._client)

    async def _read(self, consumer: Any) -> dict[bytes, Any]:
        parts = [TopicPartition(self.name, one) for one in await self._transport.outbox.partitions(self.name)]
        consumer.assign(parts)
        async with asyncio.timeout(SILENCE) as limit:
            ends = await consumer.end_offsets(parts)
            found: dict[bytes, Any] = {}
            while [one for one in parts if await consumer.position(one) < ends[one]]:  # they begin at the first record
                for records in (await consumer.getmany(timeout_ms=POLL)).values():
                    for record in records:
                        _note(found, record)
                    limit.reschedule(asyncio.get_running_loop().time() + SILENCE)
        return dict(sorted(found.items(), key=lambda one: int(one[1].timestamp)))

    async def _send_back(self, letter: DeadLetter, body: bytes, headers: Mapping[str, Any]) -> None:
        if letter.source not in await self._transport.outbox.topics():
            raise NoHandlerError(
                f"the topic {letter.source!r}, by which {letter.id!r} goes back, is gone. Nothing was changed."
            )
        kept = letter.mark[1]
        given = [(name, value) for name, value in kept.headers if name not in (HISTORY, KEY, NO_VALUE)]
        key = next((value for name, value in kept.headers if name == KEY), None)
        value = sent_record(body, None).value
        if body is letter.body:  # as it was, be it text or not
            value = None if any(name == NO_VALUE for name, _ in kept.headers) else kept.value
        record = Record(value, [*given, (HISTORY, str(headers[HISTORY]).encode())], key)
        await self._transport.outbox.store(letter.source, record)

    async def _remove(self, letter: DeadLetter) -> None:
        await self._transport.outbox.store(self.name, Record(None, [], letter.mark[0]))


def _note(found: dict[bytes, Any], record: Any) -> None:
    """A letter, or that one is settled. What others wrote there may have no key: its place is one."""
    key = record.key if record.key is not None else f"{record.partition}-{record.offset}".encode()
    if record.value is None:
        found.pop(key, None)
    else:
        found[key] = record


def _letter(key: bytes, record: Any) -> DeadLetter:
    headers = with_text({name: value or b"" for name, value in record.headers}, None)
    known = History(headers.get(MESSAGE_ID) or key.decode("utf-8", "replace"))
    letter = DeadLetter.read(b"", headers, (key, record), known)
    value = None if any(name == NO_VALUE for name, _ in record.headers) else record.value
    body = b'{"pattern":' + messages.encode(letter.pattern) + b',"data":' + to_json(value) + b"}"
    return DeadLetter.read(body, headers, (key, record), known)
