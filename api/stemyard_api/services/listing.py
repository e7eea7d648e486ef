"""Lists tracks, newest first, from the mirror, or from the SeparationJobs if the mirror is unavailable."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import MirrorEntry, RedisClient, RedisUnavailableError
from stemyard_api.errors import UnavailableError
from stemyard_api.services.records import readable_record, readable_records
from stemyard_api.services.tracks import Track

_BATCH: Final = 200
_SCANNED_LIMIT: Final = 5000
"""Maximum number of tracks read for one page; if few match the filters, a short page may still have a next one."""

CURSOR: Final = r"^[0-9]{1,12}\.[0-9]{6}_[A-Za-z0-9.-]{1,128}$"
"""Pattern of a cursor; every matching text is a valid cursor."""

Place = tuple[float, str]
"""Position of a track in the list: creation in epoch seconds, then its id."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of tracks, and the cursor of the next page if there may be one."""

    tracks: list[Track]
    cursor: str | None


def format_cursor(place: Place) -> str:
    """Return the cursor that continues after a position."""
    return f"{place[0]:.6f}_{place[1]}"


def parse_cursor(cursor: str) -> Place:
    """Return the position in a cursor."""
    created, _, track = cursor.partition("_")
    return float(created), track


async def collect_page(tracks: AsyncIterator[Track], fits: Callable[[Track], bool], limit: int) -> Page:
    """Return the first `limit` tracks that match."""
    matching: list[Track] = []
    scanned = 0
    async for track in tracks:
        if fits(track):
            matching.append(track)
        scanned += 1
        if len(matching) == limit or scanned == _SCANNED_LIMIT:
            return Page(matching, format_cursor((track.record.created, track.record.track_id)))
    return Page(matching, None)


async def iterate_tracks(
    redis: RedisClient | None,
    kubernetes: KubernetesClient,
    start: Place,
    end: float,
    principal: Principal | None = None,
) -> AsyncIterator[Track]:
    """Yield tracks from newest to oldest.

    Args:
        redis: the mirror, if there is one.
        kubernetes: read if the mirror is unavailable.
        start: only tracks after this position in the list.
        end: only tracks created at or after this time, in epoch seconds.
        principal: only the tracks of this key are needed; others may be yielded too.

    Raises:
        UnavailableError: neither the mirror nor the API server responds.
    """
    place = start
    if redis is not None:
        try:
            async for track in _mirrored(redis, kubernetes, start, end, principal):
                yield track
                place = (track.record.created, track.record.track_id)
            return  # noqa: TRY300 - an else would hide that the mirror was enough
        except RedisUnavailableError:
            pass
    async for track in _recorded(kubernetes, place, end):
        yield track


async def iterate_batch(
    redis: RedisClient, kubernetes: KubernetesClient, ids: Sequence[str], start: Place, end: float
) -> AsyncIterator[Track]:
    """Yield the tracks of a batch from newest to oldest; `start` and `end` as above.

    Raises:
        UnavailableError: the mirror does not respond.
    """
    readings = await redis.read_many(ids)
    found = [track for reading in readings if (track := await _newest(reading, kubernetes)) is not None]
    for track in sorted(found, key=lambda track: (track.record.created, track.record.track_id), reverse=True):
        if (track.record.created, track.record.track_id) < start and track.record.created >= end:
            yield track


async def _mirrored(
    redis: RedisClient, kubernetes: KubernetesClient, start: Place, end: float, principal: Principal | None
) -> AsyncIterator[Track]:
    names = [redis.all_tracks]
    if principal is not None:
        names = await redis.lists_of(principal.key_id, sorted(principal.namespaces))
    batch: list[str] = []
    async for _, track_id in _merged([_members(redis, name, start, end) for name in names]):
        batch.append(track_id)
        if len(batch) == _BATCH:
            async for track in _read(redis, kubernetes, batch):
                yield track
            batch.clear()
    async for track in _read(redis, kubernetes, batch):
        yield track


async def _merged(lists: Sequence[AsyncIterator[Place]]) -> AsyncIterator[Place]:
    """Yield the members of several lists, each from newest to oldest, in that order."""
    heads = [(head, one) for one in lists if (head := await anext(one, None)) is not None]
    while heads:
        newest = max(heads, key=lambda each: each[0])
        yield newest[0]
        heads.remove(newest)
        if (head := await anext(newest[1], None)) is not None:
            heads.append((head, newest[1]))


async def _members(redis: RedisClient, name: str, start: Place, end: float) -> AsyncIterator[Place]:
    place, skipped = start, 0
    while True:
        members = await redis.tracks(name, place[0], end, skipped, _BATCH)
        ahead = [(created, track) for track, created in members if (created, track) < place]
        for one in ahead:
            yield one
        if len(members) < _BATCH:
            return
        if ahead and ahead[-1][0] < place[0]:
            place, skipped = ahead[-1], 0
        else:
            skipped += _BATCH  # more than a batch created at the same time


async def _read(redis: RedisClient, kubernetes: KubernetesClient, ids: Sequence[str]) -> AsyncIterator[Track]:
    for reading in await redis.read_many(ids):
        if (track := await _newest(reading, kubernetes)) is not None:
            yield track


async def _newest(reading: MirrorEntry, kubernetes: KubernetesClient) -> Track | None:
    record = reading.current
    if record is None and reading.record is not None:
        # deleted or changed just now, and not yet in the mirror
        try:
            resource = await kubernetes.read(reading.record.name)
        except UnavailableError:
            return Track(reading.record, reading.progress)
        record = readable_record(resource) if resource is not None else None
    return None if record is None else Track(record, reading.progress)


async def _recorded(kubernetes: KubernetesClient, start: Place, end: float) -> AsyncIterator[Track]:
    requested = (item async for item in kubernetes.items() if not item["spec"].get("webhookTest"))
    records = [record async for record in readable_records(requested)]
    for record in sorted(records, key=lambda record: (record.created, record.track_id), reverse=True):
        if (record.created, record.track_id) < start and record.created >= end:
            yield Track(record)
