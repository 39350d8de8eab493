"""What has to happen in one step on a Redis stream: scripts in Lua, which Redis runs without anything in between.

An entry that is fetched stays *pending* in its group, under the name of the consumer that has it, until XACK. Redis
counts its deliveries and knows how long its consumer has been silent about it (idle).
"""

from __future__ import annotations

__all__ = ["BEAT", "BURY", "CLAIM", "GIVE_BACK", "JOIN", "LEAVE", "MOVE", "RETRY", "SEND_BACK", "TIDY"]

_NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

# Makes the group where it is missing. The first group of a stream gets what is there, a later one what comes.
# keys: stream; arguments: group
JOIN = """
local groups = redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}
for _, group in ipairs(groups) do
  if group[2] == ARGV[1] then return 0 end
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], #groups == 0 and '0' or '$', 'MKSTREAM')
return 1
"""

# The failed entry becomes a copy that waits; nothing where it is settled already. An empty id: it is no entry.
# keys: stream, waiting copies; arguments: group, id, body, headers, milliseconds, a token that no other copy has
RETRY = (
    _NOW
    + """
if ARGV[2] ~= '' and redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], now() + ARGV[5], cmsgpack.pack({ARGV[6], ARGV[3], ARGV[4]}))
return 1
"""
)

# The same, where the copy goes to a stream at once: the dead letters.
# keys: stream, dead letters; arguments: group, id, body, headers
BURY = """
if ARGV[2] ~= '' and redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'body', ARGV[3], 'headers', ARGV[4])
return 1
"""

# A dead letter goes back; nothing where it is no dead letter any longer.
# keys: dead letters, stream; arguments: id, body, headers
SEND_BACK = """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'body', ARGV[2], 'headers', ARGV[3])
return 1
"""

# Copies that have waited long enough go to the group's own stream. Answers the milliseconds until the next one, or -1.
# keys: waiting copies, stream
MOVE = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, 100)
for _, member in ipairs(due) do
  local copy = cmsgpack.unpack(member)
  redis.call('XADD', KEYS[2], '*', 'body', copy[2], 'headers', copy[3])
  redis.call('ZREM', KEYS[1], member)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then return -1 end
return math.max(0, math.ceil(first[2] - now()))
"""
)

# Says that the consumer lives and works on these entries. Answers those that it does not have any longer.
# keys: stream; arguments: group, consumer, ids
BEAT = """
local lost = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if pending and pending[2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  else
    table.insert(lost, ARGV[i])
  end
end
return lost
"""

# Takes over what silent consumers hold. An entry that was delivered twice already may be what kills them: only one of
# those at a time, so that it takes no others with it. Answers entries, each with its number of deliveries.
# keys: stream; arguments: group, consumer, milliseconds of silence, how many, how many suspects are under way
CLAIM = """
local taken, suspects = {}, tonumber(ARGV[5])
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', 1000)) do
  if #taken >= tonumber(ARGV[4]) then break end
  if pending[4] < 2 or suspects == 0 then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], pending[1])[1]
    if entry then
      table.insert(taken, {entry[1], entry[2], pending[4] + 1})
      if pending[4] >= 2 then suspects = suspects + 1 end
    end
  end
end
return taken
"""

# What was fetched and not begun: at once for anybody, as if it had not been delivered.
# keys: stream; arguments: group, consumer, id, its deliveries before
GIVE_BACK = """
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', 86400000, 'RETRYCOUNT', ARGV[4], 'JUSTID')
"""

# The consumer ends: what it still has is at once for anybody. A consumer that is removed takes its entries with it,
# so only one without any is. keys: stream; arguments: group, consumer
LEAVE = """
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000, ARGV[2])
for _, pending in ipairs(held) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, pending[1], 'IDLE', 86400000, 'JUSTID')
end
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
"""

# Removes consumers that are gone and hold nothing, and old entries that every group has settled.
# keys: stream; arguments: group, consumer, milliseconds after which one counts as gone, milliseconds that entries stay
TIDY = (
    _NOW
    + """
local function fields(list)
  local named = {}
  for i = 1, #list, 2 do named[list[i]] = list[i + 1] end
  return named
end
local function before(one, other)
  local ms, number = one:match('(%d+)-(%d+)')
  local other_ms, other_number = other:match('(%d+)-(%d+)')
  if ms == other_ms then return tonumber(number) < tonumber(other_number) end
  return tonumber(ms) < tonumber(other_ms)
end
for _, list in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = fields(list)
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end
local keep = string.format('%.0f-0', math.max(0, now() - ARGV[4]))
for _, list in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = fields(list)
  local first = group['last-delivered-id']
  if group.pending > 0 then first = redis.call('XPENDING', KEYS[1], group.name)[2] end
  if before(first, keep) then keep = first end
end
return redis.call('XTRIM', KEYS[1], 'MINID', keep)
"""
)
