"""Client of Redis: records and progress, each written only if newer. The operator's only importer of redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stemyard_contract.activity import LISTED, score_of
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import (
    ATTEMPT_FIELD,
    ATTEMPTS_KEPT,
    ATTEMPTS_TTL_SECONDS,
    PROGRESS_TTL_SECONDS,
    QUEUE_PHASES,
    RECORD_GRACE_SECONDS,
    AttemptRecord,
    EventRecord,
    MirrorRecord,
    ProgressRecord,
)
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.runtime import redis_fault
from stemyard_contract.separationjob import Phase
from stemyard_operator.circuit_breaker import DependencyGuard
from stemyard_operator.clients.redis_scripts import DROP, EMIT, PACE, PROGRESS, PUT, READ, SETS
from stemyard_operator.errors import MirrorError

BATCH: Final = 100
"""Changes of one call of `write`; more would hold up what is written next."""
_SECONDS: Final = 3.0
"""Timeout of one call, including its retry on a new connection."""
_LONG_SECONDS: Final = 60.0
"""Timeout of calls that go through all tracks."""
_CONNECT_SECONDS: Final = 2.0
_OPEN_SECONDS: Final = 5.0
"""Maximum time between two probes of a Redis that does not answer."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Deletes all keys of a track, unless its record is of a resource with another uid than the one given here."""

    track: str
    uid: str = ""


Change = MirrorRecord | Removal
_Command = tuple[str, list[str], list[str]]
"""A script with its keys and arguments."""


class RedisClient:
    """Redis; without a URL, calls do nothing. Calls raise MirrorError if Redis fails."""

    def __init__(self, url: str | None, install_id: str) -> None:
        self._keys = MirrorKeys(install_id)
        self._redis: Redis | None = _connection(url) if url else None
        self._scripts: dict[str, AsyncScript] = {}
        self._guard = DependencyGuard(_unavailable, _is_outage, _OPEN_SECONDS)

    @property
    def enabled(self) -> bool:
        """Whether the deployment has a Redis."""
        return self._redis is not None

    @property
    def up(self) -> bool:
        """Whether Redis answers, as far as known; True without a Redis."""
        return self._guard.up

    async def close(self) -> None:
        """Close all connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def put(self, record: MirrorRecord) -> bool:
        """Write a record unless a newer one is stored; return whether it was written."""
        return await self._script(*self._put_command(record))

    async def drop(self, track: str, uid: str = "") -> bool:
        """Delete all keys of a track unless its record is of a resource with another uid; return whether they were."""
        return await self._script(*self._drop_command(Removal(track, uid)))

    async def write(self, changes: Sequence[Change]) -> list[bool | MirrorError]:
        """Make changes of different tracks in one round trip; return of each what `put` or `drop` would, or its error.

        Raises:
            MirrorError: Redis does not answer; any of them may have been made.
        """
        if self._redis is None or not changes:
            return [False for _ in changes]
        commands = [
            self._drop_command(change) if isinstance(change, Removal) else self._put_command(change)
            for change in changes
        ]
        results = await self._pipeline(commands, self._redis)
        if any(isinstance(result, NoScriptError) for result in results):
            async with self._call(_SECONDS):
                for script in {script for script, _, _ in commands}:
                    await self._redis.script_load(script)
            results = await self._pipeline(commands, self._redis)
        return [
            MirrorError(f"Redis: {result}") if isinstance(result, Exception) else bool(result) for result in results
        ]

    def _put_command(self, record: MirrorRecord) -> _Command:
        keys, expires = self._keys, ""
        if record.finished and record.expires_at is not None:
            expires = str(int(record.expires_at + RECORD_GRACE_SECONDS))
        queued = not record.finished and record.phase in QUEUE_PHASES
        return (
            EMIT + READ + SETS + PUT,
            [
                keys.record(record.track_id),
                keys.version(record.track_id),
                keys.queue,
                keys.tracks,
                keys.events(record.track_id),
                keys.changes,
                keys.activity,
            ],
            [
                record.track_id,
                record.uid,
                str(record.resource_version),
                repr(record.created),
                record.dump(),
                "1" if queued else "0",
                expires,
                phase_event(record, time.time()).dump(),
                repr(record.queue_score),
                keys.tracks_of_key(""),
                keys.tracks_of_namespace(""),
                repr(score_of(record)),
            ],
        )

    def _drop_command(self, removal: Removal) -> _Command:
        keys, track = self._keys, removal.track
        names = [
            keys.record(track),
            keys.version(track),
            keys.queue,
            keys.tracks,
            keys.progress(track),
            keys.events(track),
            keys.attempts(track),
            keys.activity,
        ]
        return READ + SETS + DROP, names, [track, removal.uid, keys.tracks_of_key(""), keys.tracks_of_namespace("")]

    async def put_pace(self, known: Mapping[str, float], learned: Iterable[tuple[str, float]]) -> None:
        """Set `known` fields of the pace, then move others towards the `learned` values, in this order."""
        values = [text for name, value in known.items() for text in ("known", name, repr(value))]
        values += [text for name, value in learned for text in ("learned", name, repr(value))]
        await self._script(PACE, [self._keys.pace], values)

    async def put_progress(self, track: str, progress: ProgressRecord) -> bool:
        """Write progress unless newer progress is stored; return whether it was written."""
        names = [self._keys.progress(track), self._keys.events(track), self._keys.changes]
        arguments = [progress.dump(), str(PROGRESS_TTL_SECONDS), track, progress_event(progress).dump()]
        return await self._script(EMIT + READ + PROGRESS, names, arguments)

    async def log_attempts(self, attempts: Iterable[tuple[str, AttemptRecord]]) -> None:
        """Append webhook attempts to the logs of their tracks, in one call."""
        if self._redis is None:
            return
        async with self._call(_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
            for track, attempt in attempts:
                log = self._keys.attempts(track)
                pipeline.xadd(log, {ATTEMPT_FIELD: attempt.dump()}, maxlen=ATTEMPTS_KEPT)
                pipeline.expire(log, ATTEMPTS_TTL_SECONDS)
            await pipeline.execute()

    async def progress(self, track: str) -> ProgressRecord | None:
        """Return the newest progress of a track."""
        if self._redis is None:
            return None
        async with self._call(_SECONDS):
            text = await self._redis.get(self._keys.progress(track))
        try:
            return ProgressRecord.model_validate_json(text) if text else None
        except ValidationError as error:
            raise MirrorError(f"the progress of {track} cannot be read") from error

    async def tracks(self) -> set[str]:
        """Return the ids of all tracks in the mirror."""
        if self._redis is None:
            return set()
        async with self._call(_LONG_SECONDS):
            return {str(track) for track in await self._redis.zrange(self._keys.tracks, 0, -1)}

    async def state_divided(self, seconds: float) -> None:
        """State for so many seconds that the activity and the tracks of each API key and namespace are complete."""
        if self._redis is None:
            return
        async with self._call(_SECONDS):
            await self._redis.set(self._keys.tracks_divided, LISTED, px=int(seconds * 1000))

    async def clear(self) -> None:
        """Delete every track, including those missing from the list of tracks."""
        if self._redis is None:
            return
        known = await self.tracks()
        prefix = self._keys.record("")
        async with self._call(_LONG_SECONDS):
            async for key in self._redis.scan_iter(match=prefix + "*", count=1000):
                known.add(str(key).removeprefix(prefix))
        await self.remove(known)

    async def remove(self, tracks: Iterable[str]) -> None:
        """Delete all keys of tracks."""
        left = list(tracks)
        for start in range(0, len(left), BATCH):
            for result in await self.write([Removal(track) for track in left[start : start + BATCH]]):
                if isinstance(result, MirrorError):
                    raise result

    def _registered(self, script: str, redis: Redis) -> AsyncScript:
        """Return a script that is run by its digest (EVALSHA), and sent whole only if Redis lacks it."""
        if script not in self._scripts:
            self._scripts[script] = redis.register_script(script)
        return self._scripts[script]

    @asynccontextmanager
    async def _call(self, seconds: float) -> AsyncIterator[None]:
        """Bound calls by a timeout and the circuit breaker, and translate their errors."""
        try:
            with self._guard.call():
                async with asyncio.timeout(seconds):
                    yield
        except (RedisError, OSError, TimeoutError) as error:
            raise MirrorError(f"Redis: {redis_fault(error)}") from error

    async def _pipeline(self, commands: list[_Command], redis: Redis) -> list[object]:
        """Run scripts by their digests in one round trip; return the result or the exception of each."""
        async with self._call(_SECONDS), redis.pipeline(transaction=False) as pipeline:
            for script, keys, arguments in commands:
                pipeline.evalsha(self._registered(script, redis).sha, len(keys), *keys, *arguments)
            return list(await pipeline.execute(raise_on_error=False))

    async def _script(self, script: str, keys: list[str], arguments: list[str]) -> bool:
        if self._redis is None:
            return False
        async with self._call(_SECONDS):
            return bool(await self._registered(script, self._redis)(keys, arguments))


def _unavailable(why: str) -> MirrorError:
    return MirrorError(f"Redis: {why}")


def _is_outage(error: Exception) -> bool:
    return isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError))


def _connection(url: str) -> Redis:
    return Redis.from_url(
        url,
        decode_responses=True,
        # before Python 3.12 redis-py creates a task per command for it; every call here has its own timeout
        socket_timeout=None,
        socket_connect_timeout=_CONNECT_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 1),
        health_check_interval=30,
    )


def phase_event(record: MirrorRecord, at: float) -> EventRecord:
    """Return the event of a track's new phase or run.

    Args:
        record: the new record.
        at: epoch seconds.
    """
    current = record.status_run == record.run
    return EventRecord(
        kind="phase",
        uid=record.uid,
        run=record.run,
        # the requested run has not been observed yet
        phase=record.phase if current else Phase.PENDING,
        progress=record.progress if current else 0,
        stage=WorkStage(record.stage) if current and record.stage in set(WorkStage) else None,
        reason=record.reason if current else None,
        at=at,
    )


def progress_event(progress: ProgressRecord) -> EventRecord:
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
