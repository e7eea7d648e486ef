"""Renders a track's record as a response body, with the field rules of the original service. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from stemyard_api.schemas.responses import (
    Accepted,
    Cached,
    Completed,
    Details,
    Failed,
    LinkFields,
    MetadataField,
    Processing,
    Result,
    Status,
    Summary,
)
from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import MirrorRecord, ProgressRecord
from stemyard_contract.separationjob import FailureStatus, Phase, Stem

ACCEPTED_MESSAGE: Final = "Audio separation started"
_MOST_WHILE_PROCESSING: Final = 99.0
_AT_WORK: Final = MappingProxyType({Phase.FETCHING: WorkStage.FETCH, Phase.SEPARATING: WorkStage.SEPARATE})


@dataclass(frozen=True, slots=True)
class StemLinks:
    """Links to a track's stems and their outlines, and when they stop working (epoch seconds; None: not known)."""

    urls: Mapping[Stem, str]
    expires_at: float | None = None
    peaks: Mapping[Stem, str] = field(default_factory=dict)


def accepted(record: MirrorRecord, key_id: str) -> Accepted:
    """Return the answer to a request that is being worked on."""
    return Accepted(
        track_id=record.track_id,
        status="processing",
        message=ACCEPTED_MESSAGE,
        created_at=record.created,
        **_echo(record, key_id),
    )


def cached(record: MirrorRecord, links: StemLinks, key_id: str) -> Cached:
    """Return the answer to a request whose result exists."""
    return Cached(
        status="completed",
        track_id=record.track_id,
        result=_result(record, links),
        processing_time=_processing_time(record),
        created_at=record.created,
        cached=True,
        **_lasting(links),
        **_echo(record, key_id),
    )


def processing(record: MirrorRecord, progress: ProgressRecord | None, key_id: str) -> Processing:
    """Return the state of a track that waits or is worked on."""
    newest = _current_progress(record, progress)
    answer = Processing(
        status="processing",
        track_id=record.track_id,
        created_at=record.created,
        started_at=_started_at(record) if record.status_run == record.run else record.created,
        progress=min(newest.progress if newest else _coarse_progress(record), _MOST_WHILE_PROCESSING),
        **_details(record, key_id),
    )
    if newest is not None and newest.stage is _AT_WORK.get(record.phase):
        answer["step"] = newest.step  # else it is the last word of the stage before
    if record.reason:
        answer["reason"] = record.reason
    return answer


def completed(record: MirrorRecord, links: StemLinks, key_id: str) -> Completed:
    """Return the state of a track whose stems are published."""
    return Completed(
        status="completed",
        track_id=record.track_id,
        created_at=record.created,
        started_at=_started_at(record),
        ended_at=_ended_at(record),
        result=_result(record, links),
        progress=100,
        processing_time=_processing_time(record),
        **_details(record, key_id),
        **_lasting(links),
    )


def failed(record: MirrorRecord, progress: ProgressRecord | None, key_id: str) -> Failed:
    """Return the state of a track that failed or was cancelled."""
    failure = _failure(record)
    newest = _current_progress(record, progress)
    return Failed(
        status="failed",
        track_id=record.track_id,
        created_at=record.created,
        started_at=_started_at(record),
        ended_at=_ended_at(record),
        error=failure.message,
        progress=0,
        code=failure.code,
        retryable=failure.retryable,
        last_progress=newest.progress if newest else _coarse_progress(record),
        **_details(record, key_id),
    )


def summary(record: MirrorRecord, progress: ProgressRecord | None, key_id: str) -> Summary:
    """Return a track as lists show it: its state without links, which come with the track itself."""
    if not record.finished:
        state: Processing | Completed | Failed = processing(record, progress, key_id)
    elif record.phase is Phase.COMPLETED:
        state = completed(record, StemLinks({}), key_id)
    else:
        state = failed(record, progress, key_id)
    return cast(Summary, {name: value for name, value in state.items() if name != "result"})


def status_of(record: MirrorRecord) -> Status:
    """Return the seed's word for a track's state."""
    if not record.finished:
        return "processing"
    return "completed" if record.phase is Phase.COMPLETED else "failed"


def _details(record: MirrorRecord, key_id: str) -> Details:
    same_run = record.status_run == record.run
    known: dict[str, Any] = {
        "phase": record.phase if same_run else Phase.PENDING,
        "run": record.run,
        "query": record.query,
        "model": record.model,
        "title": record.title,
        "artist": record.artist,
        "channel": record.channel,
        "duration": record.duration,
        "metadata": _metadata(record, key_id),
    }
    return cast(Details, {key: value for key, value in known.items() if value is not None})


def _echo(record: MirrorRecord, key_id: str) -> MetadataField:
    metadata = _metadata(record, key_id)
    return MetadataField() if metadata is None else MetadataField(metadata=metadata)


def _metadata(record: MirrorRecord, key_id: str) -> dict[str, Any] | None:
    """Return this key's metadata; metadata of other keys is never returned."""
    text = record.metadata.get(key_id)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _result(record: MirrorRecord, links: StemLinks) -> Result:
    urls = {f"{stem}_url": links.urls[stem] for stem in Stem if stem in links.urls}
    return cast(Result, {**urls, "track_id": record.track_id})


def _lasting(links: StemLinks) -> LinkFields:
    answer = LinkFields()
    if links.expires_at is not None:
        answer["expires_at"] = links.expires_at
    if links.peaks:
        answer["peaks_urls"] = {str(stem): url for stem, url in links.peaks.items()}
    return answer


def _failure(record: MirrorRecord) -> FailureStatus:
    if record.failure is not None:
        return record.failure
    row = FAILURES[FailureCode.CANCELLED if record.phase is Phase.CANCELLED else FailureCode.INTERNAL]
    return FailureStatus(code=row.code, stage=row.stage, message=row.sentence, retryable=row.retryable)


def _current_progress(record: MirrorRecord, progress: ProgressRecord | None) -> ProgressRecord | None:
    if progress is None or progress.uid != record.uid or progress.run != record.run:
        return None
    return progress


def _coarse_progress(record: MirrorRecord) -> float:
    return float(record.progress) if record.status_run == record.run else 0.0


def _started_at(record: MirrorRecord) -> float:
    return record.created if record.started_at is None else record.started_at


def _ended_at(record: MirrorRecord) -> float:
    return _started_at(record) if record.ended_at is None else record.ended_at


def _processing_time(record: MirrorRecord) -> float:
    if record.processing_seconds is not None:
        return round(record.processing_seconds, 3)
    return round(max(0.0, _ended_at(record) - _started_at(record)), 3)
