"""Lists tracks, newest first, from the mirror, or from the SeparationJobs if the mirror is unavailable."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import MirrorEntry, RedisClient, RedisUnavailableError
from stemyard_api.errors import UnavailableError
from stemyard_api.services.tracks import Track
from stemyard_contract.mirror import record_of

_BATCH: Final = 200
_SCANNED_LIMIT: Final = 5000
"""Tracks looked at for one page; where few fit the filters, a page may be short and still have a next one."""

CURSOR: Final = r"^[0-9]{1,12}\.[0-9]{6}_[A-Za-z0-9.-]{1,128}$"
"""Form of a cursor; every text of this form is one."""

Place = tuple[float, str]
"""Where a track stands in the list: creation in epoch seconds, then its id."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some tracks, and the cursor of the next page if there may be one."""

    tracks: list[Track]
    cursor: str | None


def format_cursor(place: Place) -> str:
    """Return the cursor that continues after a place."""
    return f"{place[0]:.6f}_{place[1]}"


def parse_cursor(cursor: str) -> Place:
    """Return the place that a text of the form CURSOR stands for."""
    created, _, track = cursor.partition("_")
    return float(created), track


async def collect_page(tracks: AsyncIterator[Track], fits: Callable[[Track], bool], limit: int) -> Page:
    """Return the first tracks of a walk that fit."""
    found: list[Track] = []
    scanned = 0
    async for track in tracks:
        if fits(track):
            found.append(track)
        scanned += 1
        if len(found) == limit or scanned == _SCANNED_LIMIT:
            return Page(found, format_cursor((track.record.created, track.record.track_id)))
    return Page(found, None)


async def iterate_tracks(
    redis: RedisClient | None, kubernetes: KubernetesClient, start: Place, end: float
) -> AsyncIterator[Track]:
    """Yield tracks from newest to oldest.

    Args:
        store: the mirror, where there is one.
        cluster: answers when the mirror does not.
        start: tracks that stand before this place only.
        end: tracks created at or after this moment only, in epoch seconds.

    Raises:
        UnavailableError: neither the mirror nor the API server answers.
    """
    place = start
    if redis is not None:
        try:
            async for track in _mirrored(redis, kubernetes, start, end):
                yield track
                place = (track.record.created, track.record.track_id)
            return  # noqa: TRY300 - an else would hide that the mirror was enough
        except RedisUnavailableError:
            pass
    async for track in _recorded(kubernetes, place, end):
        yield track


async def _mirrored(redis: RedisClient, kubernetes: KubernetesClient, start: Place, end: float) -> AsyncIterator[Track]:
    place, skipped = start, 0
    while True:
        members = await redis.tracks(place[0], end, skipped, _BATCH)
        ahead = [(created, track) for track, created in members if (created, track) < place]
        for reading in await redis.read_many([track for _, track in ahead]):
            if (track := await _newest(reading, kubernetes)) is not None:
                yield track
        if len(members) < _BATCH:
            return
        if ahead and ahead[-1][0] < place[0]:
            place, skipped = ahead[-1], 0
        else:
            skipped += _BATCH  # so many of one moment


async def _newest(reading: MirrorEntry, kubernetes: KubernetesClient) -> Track | None:
    record = reading.current
    if record is None and reading.record is not None:
        # deleted or changed a moment ago, and the mirror has not heard of it
        try:
            resource = await kubernetes.read(reading.record.name)
        except UnavailableError:
            return Track(reading.record, reading.progress)
        record = record_of(resource) if resource is not None else None
    return None if record is None else Track(record, reading.progress)


async def _recorded(kubernetes: KubernetesClient, start: Place, end: float) -> AsyncIterator[Track]:
    records = [record_of(item) async for item in kubernetes.items() if not item["spec"].get("webhookTest")]
    for record in sorted(records, key=lambda record: (record.created, record.track_id), reverse=True):
        if (record.created, record.track_id) < start and record.created >= end:
            yield Track(record)
