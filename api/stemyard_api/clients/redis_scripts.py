"""Lua scripts: decisions that Redis makes atomically, by its own clock."""

from typing import Final

RATE_PERIOD_SECONDS: Final = 60.0
"""Period of the rate limits."""

TAKE: Final = """
-- the arithmetic of ratelimit/gcra.py, in microseconds of Redis's clock
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local period = tonumber(ARGV[1])
local function take(bucket, limit, cost, counted)
  local interval = period / limit
  local arrival = math.max(tonumber(redis.call('GET', bucket) or now), now)
  local later = arrival + cost * interval
  local wait = arrival + math.max(0, math.min(cost, limit - counted)) * interval - period - now
  local function left(used) return math.max(0, math.floor((period - used) / interval + 0.000001)) end
  if wait > 1 then return {0, left(arrival - now), arrival - now, wait + counted * interval} end
  redis.call('SET', bucket, string.format('%.0f', later), 'PX', math.ceil((later - now) / 1000))
  return {1, left(later - now), later - now, 0}
end
local decisions, count = {}, (#ARGV - 1) / 3
for i = 1, count do
  decisions[i] = take(KEYS[i], tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]))
end
return {decisions, #KEYS > count and redis.call('MGET', unpack(KEYS, count + 1)) or {}}
"""
"""KEYS: a bucket for each decision, then the keys to read. ARGV: period in us, then limit, cost and counted of each
decision, with the meaning of `take_from`.

Returns for each decision allowed, remaining, reset and retry in us; then the values of the keys to read.
"""

RELEASE: Final = """
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0
"""
"""KEYS: a key. ARGV: its value. Deletes the key if it still has the value; returns whether it did."""

ENTER: Final = """
local now = tonumber(redis.call('TIME')[1])
local concurrent, minutes = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 'known' end
if minutes > 0 and tonumber(redis.call('GET', KEYS[2]) or 0) + tonumber(ARGV[4]) >= minutes then return 'minutes' end
if concurrent > 0 and redis.call('ZCARD', KEYS[1]) >= concurrent then return 'concurrent' end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
return 'entered'
"""
"""KEYS: tracks under way, minutes used today. ARGV: track, maximum of tracks, maximum of minutes (0: no limit),
minutes of the tracks under way as far as they are known."""

UPLOAD: Final = """
local size, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if tonumber(redis.call('GET', KEYS[1]) or 0) + size > most then return 0 end
redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], 172800)
return 1
"""
"""KEYS: bytes announced today. ARGV: bytes of an upload, maximum of bytes a day. Returns whether it may be sent."""

LEAVE: Final = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
if tonumber(ARGV[2]) > 0 then
  redis.call('INCRBYFLOAT', KEYS[2], ARGV[2])
  redis.call('EXPIRE', KEYS[2], 172800)
end
return 1
"""
"""KEYS: as for ENTER. ARGV: track, its minutes of audio. Returns whether it was under way, so it counts once."""
