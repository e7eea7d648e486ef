"""Redis client: reads the mirror, and records the API's last requests there."""

import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.typing import KeyT, StreamIdT

from stemyard_api.clients.activity import Activity, ActivityQuery, ask_activity, parse_activity
from stemyard_api.clients.coalescing import Coalescer
from stemyard_api.clients.mirror_entries import MirrorEntry as MirrorEntry
from stemyard_api.clients.mirror_entries import RawEntry as RawEntry
from stemyard_api.clients.mirror_entries import parse
from stemyard_api.clients.mirror_entries import parse_entry as parse_entry
from stemyard_api.clients.redis_messages import TIMEOUT_SECONDS, receive_batch
from stemyard_api.clients.redis_scripts import ENTER, LEAVE, RATE_PERIOD_SECONDS, RELEASE, TAKE, UPLOAD
from stemyard_api.errors import UnavailableError
from stemyard_contract.mirror import (
    ATTEMPT_FIELD,
    ATTEMPTS_KEPT,
    BATCH_TTL_SECONDS,
    EVENT_FIELD,
    IDEMPOTENCY_TTL_SECONDS,
    REQUEST_TTL_SECONDS,
    UPLOAD_NAME_TTL_SECONDS,
    AttemptRecord,
    RequestRecord,
)
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_contract.runtime import redis_fault

PAUSE_SECONDS: Final = 1.0
"""Seconds for which Redis is not called after a failure."""
_EVENT_ID: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_CONNECTIONS: Final = 64

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a track's stream: its id, and an EventRecord as JSON."""

    id: str
    text: bytes


BucketState = Sequence[int]
"""What the script TAKE returns for one bucket: allowed (0 or 1), remaining requests, reset and retry in us."""


@dataclass(frozen=True, slots=True, eq=False)
class BucketRequest:
    """A request to take from a key's bucket and to read a track in the same call; each is unique."""

    key_id: str
    limit: int
    cost: int = 1
    counted: int = 0
    track: str | None = None


class RedisUnavailableError(UnavailableError):
    """Redis does not respond."""


class RedisClient:
    """Client of Redis. Every method raises RedisUnavailableError if it does not respond."""

    def __init__(self, url: str, keys: MirrorKeys) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            protocol=2,  # with version 3 redis-py formats every message for a log line, even if it is not logged
            retry=Retry(ExponentialWithJitterBackoff(cap=0.1, base=0.02), retries=1),
        )
        self._redis = Redis.from_pool(pool)
        self._keys = keys
        self._readings = Coalescer(self.read_raw_many)
        self._last_ids = Coalescer(self._last_ids_of)
        self._bucket_requests = Coalescer(self._take_many)
        self._take = self._redis.register_script(TAKE)
        self._enter = self._redis.register_script(ENTER)
        self._leave = self._redis.register_script(LEAVE)
        self._upload = self._redis.register_script(UPLOAD)
        self._release = self._redis.register_script(RELEASE)
        self._paused_until = 0.0

    async def read(self, track: str) -> MirrorEntry:
        """Return the mirror's entry of a track, in one call."""
        return parse_entry(await self.read_raw(track))

    async def read_raw(self, track: str) -> RawEntry:
        """Return the raw mirror entry of a track; concurrent calls are batched."""
        return await self._readings.ask(track)

    async def last_event_id(self, track: str) -> str:
        """Return the id of a track's newest event, `0-0` if there is none; concurrent calls are batched."""
        return await self._last_ids.ask(track)

    async def _last_ids_of(self, tracks: Sequence[str]) -> list[str]:
        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for track in tracks:
                    pipeline.xrevrange(self._keys.events(track), count=1)
                return await pipeline.execute()

        return [_events(found)[0].id if found else "0-0" for found in await self._call(ask)]

    async def events_after(self, places: Sequence[tuple[str, str]]) -> list[list[Event]]:
        """Return the events of several tracks, each after an id, in one non-blocking call."""
        if not places:
            return []
        names = [self._keys.events(track) for track, _ in places]
        after = {name: last_id for name, (_, last_id) in zip(names, places, strict=True)}
        found = await self._call(lambda: self._redis.xread(cast(dict[KeyT, StreamIdT], after)))
        by_name = {str(name, "ascii"): entries for name, entries in cast(list[tuple[bytes, object]], found)}
        return [_events(by_name.get(name, [])) for name in names]

    async def events_between(self, track: str, first: str, last: str) -> list[Event]:
        """Return the events of a track between two ids, inclusive; none if an id is malformed."""
        if not _EVENT_ID.fullmatch(first):
            return []
        return _events(await self._call(lambda: self._redis.xrange(self._keys.events(track), min=first, max=last)))

    async def attempts(self, track: str) -> list[AttemptRecord]:
        """Return the newest webhook attempts of a track, newest first."""
        found = await self._call(lambda: self._redis.xrevrange(self._keys.attempts(track), count=ATTEMPTS_KEPT))
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], found)
        read = (parse(AttemptRecord, fields.get(ATTEMPT_FIELD.encode())) for _, fields in entries)
        return [one for one in read if one is not None]

    async def forget_attempts(self, track: str, key_id: str) -> None:
        """Remove an API key's webhook attempts from the log of a track."""
        name = self._keys.attempts(track)
        found = await self._call(lambda: self._redis.xrange(name))
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], found)
        read = ((one, parse(AttemptRecord, fields.get(ATTEMPT_FIELD.encode()))) for one, fields in entries)
        ids = [one for one, attempt in read if attempt is not None and attempt.key == key_id]
        if ids:
            await self._call(lambda: self._redis.xdel(name, *ids))

    async def changes(self) -> AsyncIterator[list[str]]:
        """Yield the ids of tracks with new events, forever; an empty list if events may have been missed.

        Raises:
            RedisUnavailableError: Redis does not respond.
        """
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(self._keys.changes)
            while True:
                messages = await receive_batch(pubsub)
                if not messages:
                    await pubsub.ping()  # detects a connection that died silently
                if any(kind == b"subscribe" for kind, _ in messages):
                    yield []  # also after the client has reconnected by itself
                ids = [str(data, "ascii", "replace") for kind, data in messages if kind == b"message"]
                if ids:
                    yield ids
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailableError from error
        finally:
            with suppress(RedisError, OSError, TimeoutError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def read_many(self, tracks: Sequence[str]) -> list[MirrorEntry]:
        """Return the mirror's entries of several tracks, in one call."""
        return [parse_entry(raw) for raw in await self.read_raw_many(tracks)]

    async def read_raw_many(self, tracks: Sequence[str]) -> list[RawEntry]:
        """Return the raw mirror entries of several tracks, in one call."""
        if not tracks:
            return []
        found = await self._call(lambda: self._redis.mget(self._names(tracks)))
        return _raws(cast(list[bytes | None], found))

    async def lists_of(self, key_id: str, namespaces: Iterable[str]) -> list[str]:
        """Return the names of the lists of a key's own tracks; that of all tracks while there are no others."""
        keys = self._keys
        if not await self._call(lambda: self._redis.exists(keys.tracks_divided)):
            return [keys.tracks]
        return [keys.tracks_of_key(key_id), *(keys.tracks_of_namespace(one) for one in namespaces)]

    @property
    def all_tracks(self) -> str:
        """Name of the list of all tracks."""
        return self._keys.tracks

    async def tracks(self, name: str, newest: float, oldest: float, skip: int, count: int) -> list[tuple[str, float]]:
        """Return ids and creation times of the tracks of a list created between two moments, newest first."""
        members = await self._call(
            lambda: self._redis.zrevrangebyscore(name, newest, oldest, start=skip, num=count, withscores=True)
        )
        return [(str(member, "ascii"), float(score)) for member, score in cast(list[tuple[bytes, float]], members)]

    async def put_upload_name(self, key_id: str, upload_id: str, name: str) -> None:
        """Store the name of an API key's uploaded file."""
        key = self._keys.upload_name(key_id, upload_id)
        await self._call(lambda: self._redis.set(key, name, ex=UPLOAD_NAME_TTL_SECONDS))

    async def upload_name(self, key_id: str, upload_id: str) -> str | None:
        """Return the name of an API key's uploaded file, None if it is not known."""
        found = await self._call(lambda: self._redis.get(self._keys.upload_name(key_id, upload_id)))
        return None if found is None else str(cast(bytes, found), "utf-8")

    async def put_batch(self, key_id: str, batch_id: str, tracks: Sequence[str]) -> None:
        """Store the tracks of a batch of an API key."""
        name = self._keys.batch(key_id, batch_id)

        async def put() -> None:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.sadd(name, *tracks)
                pipeline.expire(name, BATCH_TTL_SECONDS)
                await pipeline.execute()

        await self._call(put)

    async def batch(self, key_id: str, batch_id: str) -> list[str]:
        """Return the tracks of a batch of an API key, none if it is not known."""
        members = await self._call(lambda: self._redis.smembers(self._keys.batch(key_id, batch_id)))
        return [str(member, "ascii") for member in cast(set[bytes], members)]

    async def put_request(self, track: str, request: RequestRecord) -> None:
        """Record the requested run, so that readers do not take an older record for its result."""
        key = self._keys.request(track)
        await self._call(lambda: self._redis.set(key, request.dump(), ex=REQUEST_TTL_SECONDS))

    async def reserve(self, key_id: str, digest: str, text: str) -> bytes:
        """Store a value under an Idempotency-Key unless one exists; return the stored value."""
        name = self._keys.idempotency(key_id, digest)

        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(name, text, nx=True, ex=IDEMPOTENCY_TTL_SECONDS)
                pipeline.get(name)
                return await pipeline.execute()

        return cast(bytes, (await self._call(ask))[1])

    async def bind(self, key_id: str, digest: str, text: str) -> None:
        """Replace the value stored under an Idempotency-Key."""
        name = self._keys.idempotency(key_id, digest)
        await self._call(lambda: self._redis.set(name, text, ex=IDEMPOTENCY_TTL_SECONDS))

    async def release(self, key_id: str, digest: str, text: str) -> None:
        """Remove the value stored under an Idempotency-Key, unless it is another by now."""
        await self._call(lambda: self._release([self._keys.idempotency(key_id, digest)], [text]))

    async def take(self, key_id: str, limit: int, cost: int, counted: int = 0) -> BucketState:
        """Take requests from a key's bucket by Redis's clock; concurrent calls are sent as one."""
        return (await self._bucket_requests.ask(BucketRequest(key_id, limit, cost, counted)))[0]

    async def take_and_read(self, key_id: str, limit: int, track: str) -> tuple[BucketState, RawEntry]:
        """Take one request from a key's bucket and read a track from the mirror, in the same call."""
        state, raw = await self._bucket_requests.ask(BucketRequest(key_id, limit, track=track))
        return state, raw or (None, None, None)

    async def _take_many(self, requests: Sequence[BucketRequest]) -> list[tuple[BucketState, RawEntry | None]]:
        names = [self._keys.rate(request.key_id) for request in requests]
        names += self._names([request.track for request in requests if request.track is not None])
        numbers = [
            int(RATE_PERIOD_SECONDS * 1e6),
            *(number for request in requests for number in (request.limit, request.cost, request.counted)),
        ]
        answer = await self._call(lambda: self._take(names, numbers))
        states, found = cast(tuple[list[BucketState], list[bytes | None]], answer)
        raws = iter(_raws(found))
        return [
            (state, None if request.track is None else next(raws))
            for request, state in zip(requests, states, strict=True)
        ]

    def _names(self, tracks: Sequence[str]) -> list[str]:
        kinds = (self._keys.record, self._keys.progress, self._keys.request)
        return [kind(track) for track in tracks for kind in kinds]

    async def enter(self, key_id: str, track: str, concurrent: int, minutes: float, under_way: float) -> str:
        """Count a track against a key's quota; return `entered`, `known`, or the exceeded quota.

        Args:
            key_id: id of the API key.
            track: the track's id.
            concurrent: maximum of tracks under way, 0 for none.
            minutes: maximum of minutes a day, 0 for none.
            under_way: minutes of the tracks under way, which are not counted yet.
        """
        answer = await self._call(lambda: self._enter(self._quota(key_id), [track, concurrent, minutes, under_way]))
        return str(answer, "ascii")

    async def leave(self, key_id: str, track: str, minutes: float) -> None:
        """Count a track as ended, and its minutes of audio, once."""
        await self._call(lambda: self._leave(self._quota(key_id), [track, minutes]))

    async def announce(self, key_id: str, size: int, most: int) -> bool:
        """Count the bytes of an upload against a key's maximum of a day; return whether it may be sent."""
        name = self._keys.uploaded(key_id, _today())
        return bool(await self._call(lambda: self._upload([name], [size, most])))

    async def under_way(self, key_id: str) -> dict[str, float]:
        """Return the tracks that count against a key's quota, and for how many seconds they have."""

        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.zrange(self._keys.under_way(key_id), 0, -1, withscores=True)
                return await pipeline.execute()

        now, members = cast(tuple[tuple[int, int], list[tuple[bytes, float]]], await self._call(ask))
        return {str(track, "ascii"): now[0] - since for track, since in members}

    def _quota(self, key_id: str) -> list[str]:
        return [self._keys.under_way(key_id), self._keys.minutes(key_id, _today())]

    async def waiting(self, limit: int) -> tuple[list[str], dict[str, float]]:
        """Return the ids of queued tracks in order, and the measured throughput, in one call."""

        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zrange(self._keys.queue, 0, limit - 1)
                pipeline.hgetall(self._keys.pace)
                return await pipeline.execute()

        members, figures = await self._call(ask)
        pace = {str(name, "utf-8"): float(value) for name, value in cast(dict[bytes, bytes], figures).items()}
        return [str(member, "utf-8") for member in cast(list[bytes], members)], pace

    async def queue(self, limit: int) -> tuple[int, list[str]]:
        """Return the number of queued tracks, and the ids of the first ones."""

        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zcard(self._keys.queue)
                pipeline.zrange(self._keys.queue, 0, limit - 1)
                return await pipeline.execute()

        length, members = await self._call(ask)
        return int(str(length)), [member.decode() for member in members]  # type: ignore[attr-defined]

    async def activity(self, query: ActivityQuery) -> Activity:
        """Return how many tracks are in which state, and which, in one call."""

        async def ask() -> list[object]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                ask_activity(pipeline, self._keys, query)
                return await pipeline.execute()

        return parse_activity(await self._call(ask), query)

    async def ping(self) -> None:
        """Ping Redis, even while it is not called after a failure."""
        self._paused_until = 0.0
        await self._call(self._redis.ping)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def _call(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        if time.monotonic() < self._paused_until:
            raise RedisUnavailableError
        try:
            return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            # other errors may quote what was sent
            cause = redis_fault(error) if isinstance(error, RedisConnectionError) else type(error).__name__
            _log.warning("Redis does not respond", extra={"cause": cause})
            raise RedisUnavailableError from error


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _raws(found: Sequence[bytes | None]) -> list[RawEntry]:
    return [cast(RawEntry, tuple(found[start : start + 3])) for start in range(0, len(found), 3)]


def _events(found: object) -> list[Event]:
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], found)
    return [Event(str(name, "ascii"), fields.get(EVENT_FIELD.encode(), b"")) for name, fields in entries]
