"""Lua scripts: decisions that Redis makes atomically, by its own clock."""

from typing import Final

RATE_PERIOD_SECONDS: Final = 60.0
"""Rate limits are per minute."""

TAKE: Final = """
-- the arithmetic of ratelimit/gcra.py, in microseconds of Redis's clock
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local period = tonumber(ARGV[1])
local function take(bucket, limit, cost)
  local interval = period / limit
  local arrival = math.max(tonumber(redis.call('GET', bucket) or now), now)
  local later = arrival + cost * interval
  local wait = later - period - now
  local function left(used) return math.max(0, math.floor((period - used) / interval + 0.000001)) end
  if wait > 1 then return {0, left(arrival - now), arrival - now, wait} end
  redis.call('SET', bucket, string.format('%.0f', later), 'PX', math.ceil((later - now) / 1000))
  return {1, left(later - now), later - now, 0}
end
local decisions, count = {}, (#ARGV - 1) / 2
for i = 1, count do decisions[i] = take(KEYS[i], tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])) end
return {decisions, #KEYS > count and redis.call('MGET', unpack(KEYS, count + 1)) or {}}
"""
"""KEYS: a bucket for each decision, then whatever is to be read. ARGV: period in us, then limit and cost of each.

Returns for each decision allowed, remaining, reset and retry in us; then the values read, after all decisions.
"""

ENTER: Final = """
local now = tonumber(redis.call('TIME')[1])
local concurrent, minutes = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 'known' end
if minutes > 0 and tonumber(redis.call('GET', KEYS[2]) or 0) >= minutes then return 'minutes' end
if concurrent > 0 and redis.call('ZCARD', KEYS[1]) >= concurrent then return 'concurrent' end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
return 'entered'
"""
"""KEYS: tracks under way, minutes used today. ARGV: track, most at once, most minutes (0: no limit)."""

LEAVE: Final = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
if tonumber(ARGV[2]) > 0 then
  redis.call('INCRBYFLOAT', KEYS[2], ARGV[2])
  redis.call('EXPIRE', KEYS[2], 172800)
end
return 1
"""
"""KEYS: as for ENTER. ARGV: track, minutes of audio it gave. Returns whether it was under way; counts once."""
