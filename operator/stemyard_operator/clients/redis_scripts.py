"""Lua scripts of the mirror: each reads, compares and writes in one step, since two replicas may write at a time."""

from typing import Final

from stemyard_contract.mirror import EVENT_FIELD, EVENTS_KEPT, EVENTS_TTL_SECONDS

_LEARNING: Final = 0.2
"""Weight of a new value in exponential smoothing: about the last ten values count."""
EMIT: Final = f"""
local function emit(stream, channel, track, event)
  redis.call('XADD', stream, 'MAXLEN', '~', '{EVENTS_KEPT}', '*', '{EVENT_FIELD}', event)
  redis.call('EXPIRE', stream, '{EVENTS_TTL_SECONDS}')
  redis.call('PUBLISH', channel, track)
end
"""
"""Appends an event in the script that writes its record, so that a notified reader finds the record."""
READ: Final = """
local function read(text)
  local ok, found = pcall(cjson.decode, text or '{}')
  return ok and type(found) == 'table' and found or {}
end
"""
"""Reads what is stored, which may be anything: what nobody can read is replaced."""
SETS: Final = """
local function sets(record, of_key, of_namespace)
  if not record.trackId then return {} end
  if string.find(tostring(record.trackId), '.', 1, true) then return {of_namespace .. tostring(record.namespace)} end
  local found, claims = {}, type(record.claims) == 'table' and record.claims or {}
  for i, key in ipairs(claims) do found[i] = of_key .. tostring(key) end
  return found
end
"""
"""Names the sets that list a record: its claims change, so those of the record before are read from it."""
PUT: Final = """
local known = redis.call('HMGET', KEYS[2], 'uid', 'version', 'created')
local uid, version, created = known[1], known[2], known[3]
if uid == ARGV[2] and tonumber(ARGV[3]) < (tonumber(version) or 0) then return 0 end
if uid and uid ~= ARGV[2] and tonumber(ARGV[4]) < (tonumber(created) or 0) then return 0 end
local old, new = read(redis.call('GET', KEYS[1])), cjson.decode(ARGV[5])
for _, name in ipairs(sets(old, ARGV[10], ARGV[11])) do redis.call('ZREM', name, ARGV[1]) end
for _, name in ipairs(sets(new, ARGV[10], ARGV[11])) do redis.call('ZADD', name, ARGV[4], ARGV[1]) end
redis.call('ZADD', KEYS[7], ARGV[12], ARGV[1])
-- an older operator wrote this version of the record, but not the sets
if uid == ARGV[2] and old.uid and tonumber(ARGV[3]) == tonumber(version) then return 0 end
redis.call('SET', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[2], 'uid', ARGV[2], 'version', ARGV[3], 'created', ARGV[4])
if ARGV[6] == '1' then redis.call('ZADD', KEYS[3], ARGV[9], ARGV[1]) else redis.call('ZREM', KEYS[3], ARGV[1]) end
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
if ARGV[7] == '' then
  redis.call('PERSIST', KEYS[2])
else
  redis.call('EXPIREAT', KEYS[1], ARGV[7])
  redis.call('EXPIREAT', KEYS[2], ARGV[7])
end
if old.uid ~= new.uid or old.phase ~= new.phase or old.run ~= new.run or old.statusRun ~= new.statusRun then
  emit(KEYS[5], KEYS[6], ARGV[1], ARGV[8])
end
return 1
"""
DROP: Final = """
local uid = redis.call('HGET', KEYS[2], 'uid')
if uid and ARGV[2] ~= '' and uid ~= ARGV[2] then return 0 end
for _, name in ipairs(sets(read(redis.call('GET', KEYS[1])), ARGV[3], ARGV[4])) do redis.call('ZREM', name, ARGV[1]) end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[5], KEYS[6], KEYS[7])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
return 1
"""
PROGRESS: Final = """
local old, new = read(redis.call('GET', KEYS[1])), cjson.decode(ARGV[1])
if old.uid == new.uid then
  local function order(p) return {p.run, p.stage == 'separate' and 1 or 0, p.attempt, p.sequence} end
  local a, b = order(old), order(new)
  for i = 1, 4 do
    local before = tonumber(a[i]) or -1
    if b[i] < before then return 0 end
    if b[i] > before then break end
    if i == 4 then return 0 end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
emit(KEYS[2], KEYS[3], ARGV[3], ARGV[4])
return 1
"""
PACE: Final = f"""
for i = 1, #ARGV, 3 do
  local how, name, new = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local old = tonumber(redis.call('HGET', KEYS[1], name))
  if how == 'learned' and old then new = old + {_LEARNING} * (new - old) end
  redis.call('HSET', KEYS[1], name, tostring(new))
end
return 1
"""
