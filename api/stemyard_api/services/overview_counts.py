"""Adds up an overview of all tracks. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from stemyard_api.clients.activity import HOUR_SECONDS, Activity
from stemyard_api.schemas.admin_bodies import FailureCount, HourCount, Overview, OverviewTrack, QueueCount
from stemyard_api.schemas.responses import KeyUsage
from stemyard_api.services.rendering import failure_of, summary
from stemyard_api.services.tracks import Track
from stemyard_contract.activity import ENDED, Band, band_at, score_of, time_at
from stemyard_contract.failures import FailureCode
from stemyard_contract.mirror import MirrorRecord

WAITING: Final = frozenset({Band.PENDING, Band.QUEUED})
RUNNING: Final = frozenset({Band.FETCHING, Band.SEPARATING})
HOURS: Final = 24
_ROWS: Final = 200
"""Maximum of rows by namespace and profile, and by key: names come from users of the cluster as well."""


@dataclass(frozen=True, slots=True)
class TrackNote:
    """What is counted of a track."""

    score: float
    band: Band
    namespace: str
    profile: str
    key_ids: tuple[str, ...]
    code: str | None = None
    audio_seconds: float = 0.0
    processing_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tracks at one time.

    Attributes:
        at: epoch seconds.
        activity: numbers of tracks.
        notes: of the tracks under way, and of those that ended within the hours.
        complete: whether there is a note of each.
        running: tracks that are shown as running.
        waiting: tracks at the head of the queue.
        failed: tracks that failed or were cancelled last.
    """

    at: float
    activity: Activity
    notes: Sequence[TrackNote]
    complete: bool
    running: Sequence[Track]
    waiting: Sequence[Track]
    failed: Sequence[Track]


def hours_before(now: float) -> list[float]:
    """Return the starts of the hours that are counted, in epoch seconds: whole ones, the last has begun."""
    current = now // HOUR_SECONDS * HOUR_SECONDS
    return [current - back * HOUR_SECONDS for back in reversed(range(HOURS))]


def note_of(record: MirrorRecord, score: float) -> TrackNote:
    """Return what is counted of a track with this score."""
    band = band_at(score)
    spent = 0.0
    if band in ENDED and record.started_at is not None and record.ended_at is not None:
        spent = record.ended_at - record.started_at
    return TrackNote(
        score,
        band,
        record.namespace,
        record.profile,
        tuple(record.claims),
        failure_of(record).code if band is Band.FAILED else None,
        (record.duration or 0.0) if band is Band.COMPLETED else 0.0,
        spent,
    )


def activity_of(records: Iterable[MirrorRecord], hours: Sequence[float]) -> Activity:
    """Return the activity of tracks as the mirror would count it."""
    members = [(record.track_id, score_of(record)) for record in records]
    bands = Counter(band_at(score) for _, score in members)

    def by_hour(band: Band) -> list[int]:
        ended = Counter(time_at(score) // HOUR_SECONDS for _, score in members if band_at(score) is band)
        return [ended[hour // HOUR_SECONDS] for hour in hours]

    counted = [
        one for one in members if band_at(one[1]) not in ENDED or hours[0] <= time_at(one[1]) < hours[-1] + HOUR_SECONDS
    ]
    queued = sorted((record.queue_score, record.track_id) for record in records if band_at(score_of(record)) in WAITING)
    return Activity(
        listed=True,
        under_way={band: bands[band] for band in Band if band not in ENDED},
        completed=by_hour(Band.COMPLETED),
        failed=by_hour(Band.FAILED),
        members=sorted(counted, key=lambda one: one[1], reverse=True),
        queue=[track for _, track in queued],
    )


def overview_of(snapshot: Snapshot, namespace: str) -> Overview:
    """Return the overview of a snapshot.

    Args:
        snapshot: all tracks.
        namespace: that in which the API can change tracks.
    """
    activity, hours = snapshot.activity, hours_before(snapshot.at)

    def shown(tracks: Sequence[Track]) -> list[OverviewTrack]:
        return [_track(one, namespace) for one in tracks]

    return Overview(
        at=snapshot.at,
        since=hours[0],
        complete=snapshot.complete,
        waiting=sum(activity.under_way[band] for band in WAITING),
        running=sum(activity.under_way[band] for band in RUNNING),
        suspended=activity.under_way[Band.SUSPENDED],
        completed=sum(activity.completed),
        failed=sum(activity.failed),
        queue=_queue(snapshot.notes),
        hours=[
            HourCount(start=start, completed=completed, failed=failed)
            for start, completed, failed in zip(hours, activity.completed, activity.failed, strict=True)
        ],
        failures=_failures(snapshot.notes),
        usage=_usage(snapshot.notes),
        running_tracks=shown(snapshot.running),
        waiting_tracks=shown(snapshot.waiting),
        failed_tracks=shown(snapshot.failed),
    )


def _queue(notes: Iterable[TrackNote]) -> list[QueueCount]:
    counts = Counter((note.namespace, note.profile, note.band) for note in notes if note.band not in ENDED)
    rows = [
        QueueCount(
            namespace=namespace,
            profile=profile,
            waiting=sum(counts[namespace, profile, band] for band in WAITING),
            running=sum(counts[namespace, profile, band] for band in RUNNING),
            suspended=counts[namespace, profile, Band.SUSPENDED],
        )
        for namespace, profile in sorted({(namespace, profile) for namespace, profile, _ in counts})
    ]
    largest = sorted(rows, key=lambda row: row["waiting"] + row["running"] + row["suspended"], reverse=True)[:_ROWS]
    return sorted(largest, key=lambda row: (row["namespace"], row["profile"]))


def _failures(notes: Iterable[TrackNote]) -> list[FailureCount]:
    counts = Counter(note.code for note in notes if note.code is not None)
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [FailureCount(code=cast(FailureCode, code), tracks=tracks) for code, tracks in ranked]


def _usage(notes: Iterable[TrackNote]) -> list[KeyUsage]:
    by_key: dict[str, KeyUsage] = {}
    for note in notes:
        for key_id in note.key_ids:
            counts = by_key.setdefault(key_id, _no_usage(key_id))
            counts["tracks"] += 1
            counts["processing"] += note.band not in ENDED
            counts["completed"] += note.band is Band.COMPLETED
            counts["failed"] += note.band is Band.FAILED
            counts["audio_seconds"] += note.audio_seconds
            counts["processing_seconds"] += note.processing_seconds
    ranked = sorted(by_key.values(), key=lambda one: (-one["tracks"], one["key_id"]))[:_ROWS]
    for one in ranked:
        one["audio_seconds"] = round(one["audio_seconds"], 3)
        one["processing_seconds"] = round(one["processing_seconds"], 3)
    return ranked


def _no_usage(key_id: str) -> KeyUsage:
    return KeyUsage(
        key_id=key_id, tracks=0, processing=0, completed=0, failed=0, audio_seconds=0.0, processing_seconds=0.0
    )


def _track(track: Track, namespace: str) -> OverviewTrack:
    record = track.record
    # metadata is each key's own: without a key there is none
    shown = {name: value for name, value in summary(record, track.progress, "").items() if name != "metadata"}
    more = {
        "namespace": record.namespace,
        "profile": record.profile,
        "priority": record.priority,
        "key_ids": record.claims,
        "cancelling": record.cancel and not record.finished,
        "changeable": record.namespace == namespace,
    }
    return cast(OverviewTrack, {**shown, **more})
