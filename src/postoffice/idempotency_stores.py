"""Where idempotency keys are kept: in memory, in a SQLite file, in Redis. Choose by what may die.

    MemoryKeys   one process; forgets everything at a restart, so that a redelivery after a crash is done again
    SqliteKeys   processes of one machine; survives kill -9. Effects in the same file can share its transaction
    RedisKeys    any number of machines; survives what Redis' persistence survives (appendfsync always: all of it;
                 the default snapshots: up to an hour of keys is gone after kill -9)

`ttl`: seconds that a finished record is kept; None keeps it for good. It must be longer than a message can come back.
A record that is started and not finished is never forgotten: nobody knows its outcome yet.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from . import messages
from .database import Database
from .idempotency import OutcomeUnknown, Record, answer_of, fingerprint, reused

__all__ = ["MemoryKeys", "RedisKeys", "SqliteKeys"]

SWEEP = 1000  # keys in memory before expired ones are looked for; then whenever there are twice as many as were left


class MemoryKeys:
    """Keys in this process: forgotten when it ends, and unknown to its replicas. For trying out, and for tests."""

    def __init__(self, ttl: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl = math.inf if ttl is None else ttl
        self._clock = clock
        self._records: dict[str, dict[str, Any]] = {}
        self._sweep_at = SWEEP

    def __repr__(self) -> str:
        return f"<MemoryKeys: {len(self._records)} keys, forgotten when this process ends>"

    async def claim(self, key: str, fingerprint: str, owner: str, lease: float) -> Record:
        now = self._clock()
        if len(self._records) >= self._sweep_at:
            self._records = {name: one for name, one in self._records.items() if one["expires"] > now}
            self._sweep_at = max(SWEEP, 2 * len(self._records))
        one = self._records.get(key)
        if one is None or one["expires"] <= now:
            one = {"fingerprint": fingerprint, "reply": None, "expires": math.inf}
            self._records[key] = {**one, "owner": owner, "until": now + lease}
            return Record("mine", fingerprint)
        if one["reply"] is not None:
            return Record("done", one["fingerprint"], one["reply"])
        if one["until"] > now:
            return Record("busy", one["fingerprint"])
        one.update(owner=owner, until=now + lease)
        return Record("unknown", one["fingerprint"])

    async def renew(self, key: str, owner: str, lease: float) -> None:
        if (one := self._records.get(key)) and one["owner"] == owner:
            one["until"] = self._clock() + lease

    async def give_up(self, key: str, owner: str) -> None:
        if (one := self._records.get(key)) and one["owner"] == owner:
            one["until"] = -math.inf

    async def finish(self, key: str, fingerprint: str, reply: bytes) -> bytes:
        one = self._records[key]
        if one["reply"] is None:
            one.update(reply=reply, expires=self._clock() + self._ttl)
        return bytes(one["reply"])


class SqliteKeys:
    """Keys in a SQLite file (table idempotency_keys): they survive kill -9, for all processes that use the file.

    A lease goes by the machine's clock. Expired records are removed as others are claimed.
    """

    def __init__(self, db: Database, ttl: float | None = None) -> None:
        self._db = db
        self._ttl = math.inf if ttl is None else ttl
        db.tables(_TABLE, "CREATE INDEX IF NOT EXISTS idempotency_expiry ON idempotency_keys (expires)")

    def __repr__(self) -> str:
        return f"<SqliteKeys in {self._db.path}>"

    async def claim(self, key: str, fingerprint: str, owner: str, lease: float) -> Record:
        return await self._db.run(lambda tx: self._claim(tx, key, fingerprint, owner, lease))

    async def renew(self, key: str, owner: str, lease: float) -> None:
        await self._db.run(lambda tx: tx.execute(_LEASE, (time.time() + lease, key, owner)))

    async def give_up(self, key: str, owner: str) -> None:
        await self._db.run(lambda tx: tx.execute(_LEASE, (0.0, key, owner)))

    async def finish(self, key: str, fingerprint: str, reply: bytes) -> bytes:
        return await self._db.run(lambda tx: self._finish(tx, key, reply))

    async def transact(self, key: str, data: Any, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """The reply of `work(tx)` for this key: effect and key are one transaction, so an outcome is never unknown.

        For effects that are rows of the same file (an inbox). `work` is a plain function; what it raises undoes both.

        Raises:
            KeyReused: the key came with other data. OutcomeUnknown: `once` began under this key and did not finish.
        """
        mark = fingerprint(data)

        def both(tx: sqlite3.Connection) -> bytes:
            record = self._claim(tx, key, mark, "", math.inf)
            if record.fingerprint != mark:
                raise reused(key)
            if record.state == "done":
                return record.reply
            if record.state != "mine":
                raise OutcomeUnknown(f"a call outside a transaction began under the key {key!r} and did not finish.")
            return self._finish(tx, key, messages.encode({"reply": work(tx)}))

        return answer_of(await self._db.run(both))

    def _claim(self, tx: sqlite3.Connection, key: str, fingerprint: str, owner: str, lease: float) -> Record:
        now = time.time()
        tx.execute("DELETE FROM idempotency_keys WHERE expires <= ?", (now,))
        row = tx.execute("SELECT fingerprint, reply, until FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
        if row is None:
            values = (key, fingerprint, owner, now + lease)
            tx.execute("INSERT INTO idempotency_keys (key, fingerprint, owner, until) VALUES (?, ?, ?, ?)", values)
            return Record("mine", fingerprint)
        first, reply, until = row
        if reply is not None:
            return Record("done", first, reply)
        if until > now:
            return Record("busy", first)
        tx.execute("UPDATE idempotency_keys SET owner = ?, until = ? WHERE key = ?", (owner, now + lease, key))
        return Record("unknown", first)

    def _finish(self, tx: sqlite3.Connection, key: str, reply: bytes) -> bytes:
        values = (reply, time.time() + self._ttl, key)
        tx.execute("UPDATE idempotency_keys SET reply = ?, expires = ? WHERE key = ? AND reply IS NULL", values)
        [stands] = tx.execute("SELECT reply FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
        return bytes(stands)


_TABLE = """CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, reply BLOB, owner TEXT NOT NULL, until REAL NOT NULL, expires REAL
)"""
_LEASE = "UPDATE idempotency_keys SET until = ? WHERE key = ? AND owner = ? AND reply IS NULL"


class RedisKeys:
    """Keys in Redis, one hash each, named `idempotency:<name>:<key>`. Leases go by Redis' clock, so skew is no matter.

    Each step is one Lua script, which Redis runs alone. After a crash of Redis it knows what its persistence kept:
    with the default snapshots a key, and the effect's only guard, may be gone.

    Args:
        client: a `redis.asyncio.Redis`. name: whose keys these are, such as the service's name.
    """

    def __init__(self, client: Any, name: str, ttl: float | None = None) -> None:
        self._redis = client
        self._prefix = f"idempotency:{name}:"
        self._ttl = "" if ttl is None else str(math.ceil(ttl * 1000))

    def __repr__(self) -> str:
        return f"<RedisKeys {self._prefix}*>"

    async def claim(self, key: str, fingerprint: str, owner: str, lease: float) -> Record:
        state, first, reply = await self._run(_CLAIM, key, fingerprint, owner, lease * 1000)
        return Record(state.decode(), first.decode(), reply)

    async def renew(self, key: str, owner: str, lease: float) -> None:
        await self._run(_RENEW, key, owner, lease * 1000)

    async def give_up(self, key: str, owner: str) -> None:
        await self._run(_RENEW, key, owner, 0)

    async def finish(self, key: str, fingerprint: str, reply: bytes) -> bytes:
        return bytes(await self._run(_FINISH, key, fingerprint, reply, self._ttl))

    async def _run(self, script: str, key: str, *arguments: Any) -> Any:
        return await self._redis.eval(script, 1, self._prefix + key, *arguments)


_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
_CLAIM = (
    _NOW
    + """local one = redis.call('HMGET', KEYS[1], 'fingerprint', 'reply', 'until')
if not one[1] then
    redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2], 'until', now + ARGV[3])
    return {'mine', ARGV[1], ''}
end
if one[2] then return {'done', one[1], one[2]} end
if tonumber(one[3]) > now then return {'busy', one[1], ''} end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'until', now + ARGV[3])
return {'unknown', one[1], ''}"""
)
_RENEW = (
    _NOW
    + """if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'reply') == 0 then
    redis.call('HSET', KEYS[1], 'until', ARGV[2] == '0' and 0 or now + ARGV[2])
end"""
)
_FINISH = """redis.call('HSETNX', KEYS[1], 'fingerprint', ARGV[1])
if redis.call('HSETNX', KEYS[1], 'reply', ARGV[2]) == 1 and ARGV[3] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HGET', KEYS[1], 'reply')"""
