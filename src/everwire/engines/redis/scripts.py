"""What happens inside Redis: each of these scripts is one step that nothing comes between.

The log of a channel is a stream, its entries have the id ``OFFSET-DEADLINE`` (milliseconds since 1970) and
the fields ``d``, the publication, and, where it is not the offset before it, ``p``, the previous offset.

The hash of a channel has the fields ``e``: epoch, ``o``: top offset, ``g``: the *generation* of the server
that wrote last, ``f`` and ``x``: when the first and the last entry expire, ``k``: until when the keys are
kept, ``v`` and ``w``: the last version and its epoch.

A generation ends when another server becomes the master, or the same one starts again: then what it wrote
last may be lost. The next offset is the time in microseconds then, above any that was ever given. Who has
seen what is lost is at an offset that no entry follows on; all others go on as if nothing had happened.
"""

from __future__ import annotations

from hashlib import sha1

__all__ = [
    "ADD_PRESENCE",
    "HISTORY",
    "PRESENCE",
    "PRESENCE_STATS",
    "PUBLISH",
    "REMOVE_HISTORY",
    "REMOVE_PRESENCE",
    "SCRIPTS",
    "Script",
]


class Script:
    """A script, and what it is called by once the server has it."""

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()


COMMON = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# Lua has all numbers as doubles, and writes those of 15 digits and more with an exponent unless told
# otherwise: offsets may be as long, milliseconds are not.
LOG = """
local function integer(number)
  return string.format('%.0f', number)
end
-- Removes what has expired from the front of a log; returns when what is first then expires.
local function expire(log)
  while true do
    local entries = redis.call('XRANGE', log, '-', '+', 'COUNT', 64)
    if #entries == 0 then return nil end
    for _, entry in ipairs(entries) do
      local deadline = tonumber(string.match(entry[1], '%d+$'))
      if deadline > now then
        redis.call('XTRIM', log, 'MINID', '=', entry[1])
        return deadline
      end
    end
    local last = tonumber(string.match(entries[#entries][1], '^%d+'))
    redis.call('XTRIM', log, 'MINID', '=', integer(last + 1) .. '-0')
  end
end
"""

# How often Redis is called from it is what it costs: so keys are given more time than they need, and seldom.
PUBLISH = Script(
    COMMON
    + LOG
    + """
-- KEYS: meta, log, tail [, once]
-- ARGV: publication, size, ttl, meta_ttl, new epoch, generation, 'd' or '-', PUBLISH or SPUBLISH
--       [, ttl of the key, version, version's epoch [, expected offset, expected epoch]]
-- Returns {0: appended, 1: a duplicate, 2: stale, 3: conflict; offset, epoch}
local once = KEYS[4]
if once then
  local found = redis.call('GET', once)
  if found then
    local offset, epoch = string.match(found, '^(%d+) (.*)$')
    return {1, tonumber(offset), epoch}
  end
end
local top, previous, epoch = '0', '0', ''
if ARGV[2] ~= '0' then
  local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 'g', 'f', 'x', 'k', 'v', 'w')
  local known = meta[1]
  if known then epoch, previous = known, meta[2] end
  local version = ARGV[10] or '0'
  if version ~= '0' and known then
    -- Versions have more digits than a double: longer is larger, else the first digit that differs decides.
    local last = meta[7] or '0'
    if (#version < #last or (#version == #last and version <= last))
      and (ARGV[11] == '' or ARGV[11] == (meta[8] or '')) then
      return {2, tonumber(previous), epoch}
    end
  end
  local expected = ARGV[12]
  if expected and not (expected == previous and ARGV[13] == epoch)
    and not (expected == '0' and ARGV[13] == '' and previous == '0') then
    return {3, tonumber(previous), epoch}
  end
  local offset = tonumber(previous) + 1
  local deadline, first = now + ARGV[3], nil
  if not known then
    epoch = ARGV[5]
    redis.call('DEL', KEYS[1], KEYS[2])
  else
    if meta[3] ~= ARGV[6] then offset = math.max(offset, clock[1] * 1000000 + clock[2]) end
    local newest = tonumber(meta[5] or '0')
    if newest > now then
      deadline = math.max(deadline, newest)
      first = tonumber(meta[4])
      if first <= now then first = expire(KEYS[2]) end
    elseif newest > 0 then
      redis.call('DEL', KEYS[2])
      meta[6] = '0'
    end
  end
  top = integer(offset)
  if tonumber(previous) == offset - 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], top .. '-' .. deadline, 'd', ARGV[1])
  else
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], top .. '-' .. deadline, 'd', ARGV[1], 'p', previous)
  end
  if meta[3] ~= ARGV[6] then redis.call('HSET', KEYS[1], 'e', epoch, 'g', ARGV[6]) end
  if version ~= '0' then redis.call('HSET', KEYS[1], 'v', version, 'w', ARGV[11]) end
  local kept = tonumber(meta[6] or '0')
  if kept < deadline then
    kept = deadline + math.ceil(ARGV[3] / 10)
    redis.call('PEXPIRE', KEYS[2], kept - now)
    if ARGV[4] == '0' then
      redis.call('PERSIST', KEYS[1])
    else
      redis.call('PEXPIRE', KEYS[1], kept - deadline + math.max(tonumber(ARGV[4]), deadline - now))
    end
    redis.call('HSET', KEYS[1], 'o', top, 'f', first or deadline, 'x', deadline, 'k', kept)
  else
    redis.call('HSET', KEYS[1], 'o', top, 'f', first or deadline, 'x', deadline)
  end
end
if once then redis.call('SET', once, top .. ' ' .. epoch, 'PX', ARGV[9]) end
local head = 'p' .. ARGV[7] .. ' ' .. top .. ' ' .. previous .. ' ' .. epoch .. ' '
redis.call(ARGV[8], KEYS[3], head .. ARGV[1])
return {0, tonumber(top), epoch}
"""
)

HISTORY = Script(
    COMMON
    + LOG
    + """
-- KEYS: meta, log
-- ARGV: new epoch, generation, meta_ttl, meta_ttl of an unused log, limit or '-1', '1' if reverse
--       [, since offset, since epoch]
-- Returns {epoch, top, 1 if complete, entries}
local function previous_of(entry)
  local fields = entry[2]
  for index = 1, #fields, 2 do
    if fields[index] == 'p' then return tonumber(fields[index + 1]) end
  end
  return nil
end
local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end
local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 'f', 'x')
local epoch, top = meta[1], tonumber(meta[2] or '0')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'g', ARGV[2])
end
local keep = tonumber(top > 0 and ARGV[3] or ARGV[4])
if keep > 0 then
  local left = redis.call('PTTL', KEYS[1])
  if left < keep / 2 and (left > 0 or top == 0) then redis.call('PEXPIRE', KEYS[1], keep) end
end
local newest = tonumber(meta[4] or '0')
if newest > now then
  local first = tonumber(meta[3])
  if first <= now then
    first = expire(KEYS[2])
    if first then redis.call('HSET', KEYS[1], 'f', integer(first)) end
  end
elseif newest > 0 then
  redis.call('DEL', KEYS[2])
  redis.call('HDEL', KEYS[1], 'f', 'x', 'k')
end
local limit, reverse = tonumber(ARGV[5]), ARGV[6] == '1'
local since = ARGV[7] and tonumber(ARGV[7])
if since and ((ARGV[8] ~= '' and ARGV[8] ~= epoch) or since > top + (reverse and 1 or 0)) then
  return {epoch, top, 0, {}}
end
local low, high, complete = '-', '+', true
if since and reverse then
  if since <= 1 then return {epoch, top, 1, {}} end
  high = integer(since - 1) .. '-18446744073709551615'
elseif since then
  low = integer(since + 1) .. '-0'
end
-- The first is read even if none is asked for: it tells whether something is missing before it.
local entries
local command, from, to = 'XRANGE', low, high
if reverse then command, from, to = 'XREVRANGE', high, low end
if limit < 0 then
  entries = redis.call(command, KEYS[2], from, to)
else
  entries = redis.call(command, KEYS[2], from, to, 'COUNT', math.max(limit, 1))
end
if since and reverse then
  local at = redis.call('XRANGE', KEYS[2], integer(since), integer(since), 'COUNT', 1)
  local previous = at[1] and previous_of(at[1]) or since - 1
  complete = #entries > 0 and offset_of(entries[1]) == previous
elseif since and #entries == 0 then
  complete = since == top
elseif since then
  complete = (previous_of(entries[1]) or offset_of(entries[1]) - 1) == since
end
return {epoch, top, complete and 1 or 0, limit == 0 and {} or entries}
"""
)

REMOVE_HISTORY = Script(
    """
-- KEYS: meta, log
redis.call('HDEL', KEYS[1], 'f', 'x', 'k')
return redis.call('DEL', KEYS[2])
"""
)

# The value of a client is the length of its user's name in four bytes, that name, and the rest.
LEASES = (
    COMMON
    + """
local function count(user, change)
  if redis.call('HINCRBY', KEYS[3], user, change) <= 0 then redis.call('HDEL', KEYS[3], user) end
end
local function remove(client)
  local value = redis.call('HGET', KEYS[1], client)
  if value then
    local length = struct.unpack('>I4', value)
    count(string.sub(value, 5, 4 + length), -1)
    redis.call('HDEL', KEYS[1], client)
  end
  redis.call('ZREM', KEYS[2], client)
end
-- KEYS: clients, leases, users
while true do
  local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 500)
  if #over == 0 then break end
  for _, client in ipairs(over) do remove(client) end
end
"""
)

ADD_PRESENCE = Script(
    LEASES
    + """
-- ARGV: client, user, value, ttl
remove(ARGV[1])
count(ARGV[2], 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[1])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[4]) then
  for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ARGV[4]) end
end
return 1
"""
)

REMOVE_PRESENCE = Script(LEASES + "\nremove(ARGV[1])\nreturn 1\n")

PRESENCE = Script(LEASES + "\nreturn redis.call('HVALS', KEYS[1])\n")

PRESENCE_STATS = Script(LEASES + "\nreturn {redis.call('HLEN', KEYS[1]), redis.call('HLEN', KEYS[3])}\n")

SCRIPTS = (PUBLISH, HISTORY, REMOVE_HISTORY, ADD_PRESENCE, REMOVE_PRESENCE, PRESENCE, PRESENCE_STATS)
"""All of them."""
