"""Reads the overview of all tracks: one reading serves all requests for some seconds, and its work is bounded.

Numbers come from the mirror's sorted set of all tracks. What is added up by namespace, code and key needs the records:
each is read once after it has changed its state, and kept as a short note.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from stemyard_api.clients.activity import Activity, ActivityQuery, Member
from stemyard_api.clients.coalescing import Coalescer
from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.schemas.admin_bodies import Overview
from stemyard_api.services.overview_counts import (
    RUNNING,
    WAITING,
    Snapshot,
    TrackNote,
    activity_of,
    hours_before,
    note_of,
    overview_of,
)
from stemyard_api.services.records import readable_records
from stemyard_api.services.tracks import Track
from stemyard_contract.activity import Band, band_of, score_of, scores

CACHE_SECONDS: Final = 2.0
_RECORDED_CACHE_SECONDS: Final = 30.0
"""Reading SeparationJobs costs far more than reading the mirror."""
_MEMBERS_LIMIT: Final = 5000
"""Maximum of the tracks under way, failed and completed, each, that are added up."""
_READ_LIMIT: Final = 2000
"""Maximum of records read at once; the next reading goes on."""
_RECORDED_LIMIT: Final = 1000
"""Maximum of SeparationJobs read while the mirror is unavailable."""
_BATCH: Final = 200
_NOTE_SECONDS: Final = 600.0
"""When a note is read again: the keys of a track may change while its state does not."""
_RUNNING_SHOWN: Final = 100
_WAITING_SHOWN: Final = 50
_FAILED_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class _KeptNote:
    note: TrackNote
    until: float
    """Seconds of the monotonic clock."""


class OverviewReader:
    """Reads the overview; any number of requests costs one reading per `CACHE_SECONDS`."""

    def __init__(self, redis: RedisClient | None, kubernetes: KubernetesClient, namespace: str) -> None:
        self._redis = redis
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._reads: Coalescer[str, Overview] = Coalescer(self._read_once)
        self._notes: dict[str, _KeptNote] = {}
        self._kept: Overview | None = None
        self._until = 0.0

    async def current(self) -> Overview:
        """Return the overview, a few seconds old at most; without the mirror half a minute.

        Raises:
            UnavailableError: neither the mirror nor the API server responds.
        """
        if self._kept is None or time.monotonic() >= self._until:
            return await self._reads.ask("overview")
        return self._kept

    async def _read_once(self, _: Sequence[str]) -> list[Overview]:
        now, seconds, snapshot = time.time(), CACHE_SECONDS, None
        if self._redis is not None:
            with suppress(RedisUnavailableError):
                snapshot = await self._mirrored(self._redis, now)
        if snapshot is None:
            snapshot, seconds = await self._recorded(now), _RECORDED_CACHE_SECONDS
        self._kept = overview_of(snapshot, self._namespace)
        self._until = time.monotonic() + seconds
        return [self._kept]

    async def _mirrored(self, redis: RedisClient, now: float) -> Snapshot:
        query = ActivityQuery(hours_before(now), _MEMBERS_LIMIT, 2 * _WAITING_SHOWN)
        activity = await redis.activity(query)
        all_noted = await self._note(redis, activity.members)
        tracks = await _read(redis, _shown(activity))
        kinds = (sum(activity.under_way.values()), sum(activity.completed), sum(activity.failed))
        return _snapshot(
            now,
            activity,
            [self._notes[track].note for track, _ in activity.members if track in self._notes],
            tracks,
            complete=activity.listed and all_noted and max(kinds) <= _MEMBERS_LIMIT,
        )

    async def _note(self, redis: RedisClient, members: Sequence[Member]) -> bool:
        """Read the tracks of which there is no note in their present state; return whether those were all."""
        now, known = time.monotonic(), self._notes
        missing = [one for one in members if one[0] not in known or known[one[0]].note.score != one[1]]
        is_missing = {track for track, _ in missing}
        due = [one for one in members if one[0] not in is_missing and known[one[0]].until < now]
        notes = {track: known[track] for track, _ in members if track in known}
        for start in range(0, min(len(missing) + len(due), _READ_LIMIT), _BATCH):
            batch = [*missing, *due][start : start + _BATCH]
            entries = await redis.read_many([track for track, _ in batch])
            for (track, score), entry in zip(batch, entries, strict=True):
                if entry.record is not None:
                    notes[track] = _KeptNote(note_of(entry.record, score), now + _NOTE_SECONDS)
                else:
                    notes.pop(track, None)
        self._notes = notes
        return len(missing) <= _READ_LIMIT

    async def _recorded(self, now: float) -> Snapshot:
        found = await _first(self._kubernetes.items(), _RECORDED_LIMIT + 1)
        requested = [one for one in found[:_RECORDED_LIMIT] if not one["spec"].get("webhookTest")]
        records = [record async for record in readable_records(_slowly(requested))]
        activity = activity_of(records, hours_before(now))
        by_track = {record.track_id: record for record in records}
        notes = [note_of(by_track[track], score) for track, score in activity.members]
        tracks = [Track(by_track[track]) for track in _shown(activity)]
        return _snapshot(now, activity, notes, tracks, complete=len(found) <= _RECORDED_LIMIT)


def _shown(activity: Activity) -> list[str]:
    """Return the ids of the tracks that may be shown: what runs, the longest first, the queue's head, and failures."""

    def of(band: Band) -> list[str]:
        lowest, end = scores(band)
        return [track for track, score in activity.members if lowest <= score < end]

    running = [*reversed(of(Band.SEPARATING)), *reversed(of(Band.FETCHING))][:_RUNNING_SHOWN]
    queue = activity.queue[: 2 * _WAITING_SHOWN]
    return list(dict.fromkeys([*running, *queue, *of(Band.FAILED)[:_FAILED_SHOWN]]))


def _snapshot(
    now: float, activity: Activity, notes: Sequence[TrackNote], tracks: Sequence[Track], *, complete: bool
) -> Snapshot:
    """Sort the tracks that are shown into their lists, each by its present state."""

    def those(fits: Callable[[Band], bool], limit: int) -> list[Track]:
        return [track for track in tracks if fits(band_of(track.record))][:limit]

    running = those(RUNNING.__contains__, _RUNNING_SHOWN)
    return Snapshot(
        now,
        activity,
        notes,
        complete,
        running=sorted(running, key=lambda one: (-band_of(one.record), one.record.started_at or one.record.created)),
        waiting=those(WAITING.__contains__, _WAITING_SHOWN),
        failed=sorted(those(Band.FAILED.__eq__, _FAILED_SHOWN), key=lambda one: -score_of(one.record)),
    )


async def _read(redis: RedisClient, ids: Sequence[str]) -> list[Track]:
    """Return tracks as the mirror has them, without those that are deleted."""
    tracks = []
    for start in range(0, len(ids), _BATCH):
        for entry in await redis.read_many(ids[start : start + _BATCH]):
            record = entry.current or entry.record
            if record is not None and not entry.deleted:
                tracks.append(Track(record, entry.progress))
    return tracks


async def _first(resources: AsyncIterator[Resource], limit: int) -> list[Resource]:
    found: list[Resource] = []
    async for resource in resources:
        found.append(resource)
        if len(found) == limit:
            break
    return found


async def _slowly(resources: Sequence[Resource]) -> AsyncIterator[Resource]:
    """Yield resources, and let other requests be served between them: each takes a millisecond to parse."""
    for resource in resources:
        await asyncio.sleep(0)
        yield resource
