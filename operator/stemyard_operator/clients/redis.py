"""The operator's way to Redis: records and progress, written over older ones only; the only importer of redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import (
    ATTEMPT_FIELD,
    ATTEMPTS_KEPT,
    ATTEMPTS_TTL_SECONDS,
    EVENT_FIELD,
    EVENTS_KEPT,
    EVENTS_TTL_SECONDS,
    PROGRESS_TTL_SECONDS,
    QUEUE_PHASES,
    RECORD_GRACE_SECONDS,
    AttemptRecord,
    EventRecord,
    MirrorKeys,
    MirrorRecord,
    ProgressRecord,
)
from stemyard_contract.separationjob import Phase
from stemyard_operator.errors import MirrorError

_SECONDS: Final = 3.0
"""For one call, its repetition on a new connection included."""
_LONG_SECONDS: Final = 60.0
"""For what goes through all tracks."""
_CONNECT_SECONDS: Final = 2.0
_LEARNING: Final = 0.2
"""Share of what is new in a learned figure: about the last ten count (exponential smoothing)."""
_TELL: Final = f"""
local function tell(stream, channel, track, event)
  redis.call('XADD', stream, 'MAXLEN', '~', '{EVENTS_KEPT}', '*', '{EVENT_FIELD}', event)
  redis.call('EXPIRE', stream, '{EVENTS_TTL_SECONDS}')
  redis.call('PUBLISH', channel, track)
end
"""
"""An event is added in the script that makes it true: a reader who hears of it finds the record already there."""
_PUT: Final = """
local known = redis.call('HMGET', KEYS[2], 'uid', 'version', 'created')
local uid, version, created = known[1], known[2], known[3]
if uid == ARGV[2] and tonumber(ARGV[3]) <= tonumber(version) then return 0 end
if uid and uid ~= ARGV[2] and tonumber(ARGV[4]) < tonumber(created) then return 0 end
local before = redis.call('GET', KEYS[1])
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
local old, new = before and cjson.decode(before) or {}, cjson.decode(ARGV[5])
if old.uid ~= new.uid or old.phase ~= new.phase or old.run ~= new.run or old.statusRun ~= new.statusRun then
  tell(KEYS[5], KEYS[6], ARGV[1], ARGV[8])
end
return 1
"""
_DROP: Final = """
local uid = redis.call('HGET', KEYS[2], 'uid')
if uid and ARGV[2] ~= '' and uid ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[5], KEYS[6], KEYS[7])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
"""
_PROGRESS: Final = """
local stored = redis.call('GET', KEYS[1])
if stored then
  local old, new = cjson.decode(stored), cjson.decode(ARGV[1])
  if old.uid == new.uid then
    local function order(p) return {p.run, p.stage == 'separate' and 1 or 0, p.attempt, p.sequence} end
    local a, b = order(old), order(new)
    for i = 1, 4 do
      if b[i] < a[i] then return 0 end
      if b[i] > a[i] then break end
      if i == 4 then return 0 end
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
tell(KEYS[2], KEYS[3], ARGV[3], ARGV[4])
return 1
"""
_PACE: Final = f"""
for i = 1, #ARGV, 3 do
  local how, name, new = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local old = tonumber(redis.call('HGET', KEYS[1], name))
  if how == 'learned' and old then new = old + {_LEARNING} * (new - old) end
  redis.call('HSET', KEYS[1], name, tostring(new))
end
return 1
"""


class RedisClient:
    """Redis, or nothing where the deployment has none. Calls raise MirrorError when Redis fails."""

    def __init__(self, url: str | None, install_id: str) -> None:
        self._keys = MirrorKeys(install_id)
        self._redis: Redis | None = _connection(url) if url else None
        self._scripts: dict[str, AsyncScript] = {}

    @property
    def enabled(self) -> bool:
        """Whether there is a Redis at all."""
        return self._redis is not None

    async def close(self) -> None:
        """Close all connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def put(self, record: MirrorRecord) -> bool:
        """Write a record unless a newer one is there; return whether it was written."""
        keys, expires = self._keys, ""
        if record.finished and record.expires_at is not None:
            expires = str(int(record.expires_at + RECORD_GRACE_SECONDS))
        waits = not record.finished and record.phase in QUEUE_PHASES
        return await self._script(
            _TELL + _PUT,
            [
                keys.record(record.track_id),
                keys.version(record.track_id),
                keys.queue,
                keys.tracks,
                keys.events(record.track_id),
                keys.changes,
            ],
            [
                record.track_id,
                record.uid,
                str(record.resource_version),
                repr(record.created),
                record.dump(),
                "1" if waits else "0",
                expires,
                change_of(record, time.time()).dump(),
                repr(record.queue_score),
            ],
        )

    async def drop(self, track: str, uid: str = "") -> bool:
        """Remove all that is known of a track, unless it belongs to another resource than the one with this uid."""
        keys = self._keys
        names = [
            keys.record(track),
            keys.version(track),
            keys.queue,
            keys.tracks,
            keys.progress(track),
            keys.events(track),
            keys.attempts(track),
        ]
        return await self._script(_DROP, names, [track, uid])

    async def put_pace(self, known: Mapping[str, float], learned: Iterable[tuple[str, float]]) -> None:
        """Set figures of the pace that are known, and move others towards what was learned, in this order."""
        values = [text for name, value in known.items() for text in ("known", name, repr(value))]
        values += [text for name, value in learned for text in ("learned", name, repr(value))]
        await self._script(_PACE, [self._keys.pace], values)

    async def put_progress(self, track: str, progress: ProgressRecord) -> bool:
        """Write progress unless newer progress is there; return whether it was written."""
        names = [self._keys.progress(track), self._keys.events(track), self._keys.changes]
        arguments = [progress.dump(), str(PROGRESS_TTL_SECONDS), track, advance_of(progress).dump()]
        return await self._script(_TELL + _PROGRESS, names, arguments)

    async def log_attempts(self, attempts: Iterable[tuple[str, AttemptRecord]]) -> None:
        """Add attempts at webhooks to the logs of their tracks, in one call."""
        if self._redis is None:
            return
        async with _within(_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
            for track, attempt in attempts:
                log = self._keys.attempts(track)
                pipeline.xadd(log, {ATTEMPT_FIELD: attempt.dump()}, maxlen=ATTEMPTS_KEPT)
                pipeline.expire(log, ATTEMPTS_TTL_SECONDS)
            await pipeline.execute()

    async def progress(self, track: str) -> ProgressRecord | None:
        """Return the newest progress of a track."""
        if self._redis is None:
            return None
        async with _within(_SECONDS):
            text = await self._redis.get(self._keys.progress(track))
        return ProgressRecord.model_validate_json(text) if text else None

    async def tracks(self) -> set[str]:
        """Return the ids of all tracks that the mirror holds."""
        if self._redis is None:
            return set()
        async with _within(_LONG_SECONDS):
            return {str(track) for track in await self._redis.zrange(self._keys.tracks, 0, -1)}

    async def clear(self) -> None:
        """Forget every track, those included that the list of tracks has lost."""
        if self._redis is None:
            return
        known = await self.tracks()
        prefix = self._keys.record("")
        async with _within(_LONG_SECONDS):
            async for key in self._redis.scan_iter(match=prefix + "*", count=1000):
                known.add(str(key).removeprefix(prefix))
        for track in known:
            await self.drop(track)

    def _known(self, script: str, redis: Redis) -> AsyncScript:
        """Return a script as Redis knows it: by its digest, and whole only where Redis has forgotten it."""
        if script not in self._scripts:
            self._scripts[script] = redis.register_script(script)
        return self._scripts[script]

    async def _script(self, script: str, keys: list[str], arguments: list[str]) -> bool:
        if self._redis is None:
            return False
        async with _within(_SECONDS):
            answer = await self._known(script, self._redis)(keys, arguments)
        return bool(answer)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    """Bound what is asked of Redis, and say in our words how it failed."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise MirrorError(f"Redis: {str(error) or type(error).__name__}") from error


def _connection(url: str) -> Redis:
    return Redis.from_url(
        url,
        decode_responses=True,
        # before Python 3.12 the client makes a task of each command for it; every call here has a timeout around it
        socket_timeout=None,
        socket_connect_timeout=_CONNECT_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 1),
        health_check_interval=30,
    )


def change_of(record: MirrorRecord, at: float) -> EventRecord:
    """Return the event of a track's new phase or run.

    Args:
        record: what the mirror holds from now on.
        at: epoch seconds.
    """
    current = record.status_run == record.run
    return EventRecord(
        kind="phase",
        uid=record.uid,
        run=record.run,
        # a run that was only asked for has come no further than that
        phase=record.phase if current else Phase.PENDING,
        progress=record.progress if current else 0,
        stage=WorkStage(record.stage) if current and record.stage in set(WorkStage) else None,
        reason=record.reason if current else None,
        at=at,
    )


def advance_of(progress: ProgressRecord) -> EventRecord:
    """Return the event of progress within a phase."""
    return EventRecord(
        kind="progress",
        uid=progress.uid,
        run=progress.run,
        phase=Phase.FETCHING if progress.stage is WorkStage.FETCH else Phase.SEPARATING,
        progress=progress.progress,
        stage=progress.stage,
        step=progress.step,
        at=progress.at,
    )
