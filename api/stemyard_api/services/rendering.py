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
    SharedResult,
    Status,
    Summary,
)
from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import MirrorRecord, ProgressRecord
from stemyard_contract.output import Output
from stemyard_contract.separationjob import FailureStatus, Phase, Stem

ACCEPTED_MESSAGE: Final = "Audio separation started"
_MAX_PROCESSING_PERCENT: Final = 99.0
_STAGES: Final = MappingProxyType({Phase.FETCHING: WorkStage.FETCH, Phase.SEPARATING: WorkStage.SEPARATE})


@dataclass(frozen=True, slots=True)
class StemLinks:
    """Links to a track's stems and waveform peaks, and when they expire (epoch seconds; None if unknown)."""

    urls: Mapping[Stem, str]
    expires_at: float | None = None
    peaks: Mapping[Stem, str] = field(default_factory=dict)


def accepted(record: MirrorRecord, key_id: str) -> Accepted:
    """Return the response to a request whose track is under way."""
    return Accepted(
        track_id=record.track_id,
        status="processing",
        message=ACCEPTED_MESSAGE,
        created_at=record.created,
        **_echo(record, key_id),
    )


def cached(record: MirrorRecord, links: StemLinks, key_id: str) -> Cached:
    """Return the response to a request whose result exists."""
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
    """Return the state of a waiting or running track."""
    newest = current_progress(record, progress)
    answer = Processing(
        status="processing",
        track_id=record.track_id,
        created_at=record.created,
        started_at=_started_at(record) if record.status_run == record.run else record.created,
        progress=min(newest.progress if newest else _coarse_progress(record), _MAX_PROCESSING_PERCENT),
        **_details(record, key_id),
    )
    if newest is not None and newest.stage is _STAGES.get(record.phase):
        answer["step"] = newest.step  # else it is the last step of the previous stage
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
    failure = failure_of(record)
    newest = current_progress(record, progress)
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


def shared_result(record: MirrorRecord, links: StemLinks, expires_at: int) -> SharedResult:
    """Return a completed track for holders of a share link: nothing of who requested it, nor of how."""
    known = {
        "title": record.title,
        "artist": record.artist,
        "channel": record.channel,
        "duration": record.duration,
        "model": record.model,
    }
    answer: dict[str, Any] = {
        "status": "completed",
        "track_id": record.track_id,
        **{name: value for name, value in known.items() if value is not None},
        "result": _result(record, links),
        **_lasting(links),
        "share_expires_at": expires_at,
    }
    return cast(SharedResult, answer)


def summary(record: MirrorRecord, progress: ProgressRecord | None, key_id: str) -> Summary:
    """Return a track for lists: its state without links."""
    if not record.finished:
        state: Processing | Completed | Failed = processing(record, progress, key_id)
    elif record.phase is Phase.COMPLETED:
        state = completed(record, StemLinks({}), key_id)
    else:
        state = failed(record, progress, key_id)
    return cast(Summary, {name: value for name, value in state.items() if name != "result"})


def status_of(record: MirrorRecord) -> Status:
    """Return a track's status in the original service's terms."""
    if not record.finished:
        return "processing"
    return "completed" if record.phase is Phase.COMPLETED else "failed"


def phase_of(record: MirrorRecord) -> Phase:
    """Return the phase of a track's requested run."""
    return record.phase if record.status_run == record.run else Phase.PENDING


def _details(record: MirrorRecord, key_id: str) -> Details:
    known: dict[str, Any] = {
        "phase": phase_of(record),
        "run": record.run,
        "query": record.query,
        "model": record.model,
        "title": record.title,
        "artist": record.artist,
        "channel": record.channel,
        "duration": record.duration,
        "metadata": metadata_of(record, key_id),
        "quality": record.quality,
        "stems": record.stems or None,
        **_encoding(record.output),
    }
    return cast(Details, {key: value for key, value in known.items() if value is not None})


def _encoding(output: Output | None) -> dict[str, Any]:
    """Return the encoding under the names that a request gives it, without what does not apply to the format."""
    if output is None:
        return {}
    if output.sample_bits is not None:
        return {"format": output.format, "bit_depth": output.sample_bits}
    if output.vbr_quality is not None:
        return {"format": output.format, "vbr_quality": output.vbr_quality}
    return {"format": output.format, "bitrate": output.bitrate}


def _echo(record: MirrorRecord, key_id: str) -> MetadataField:
    metadata = metadata_of(record, key_id)
    return MetadataField() if metadata is None else MetadataField(metadata=metadata)


def metadata_of(record: MirrorRecord, key_id: str) -> dict[str, Any] | None:
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


def failure_of(record: MirrorRecord) -> FailureStatus:
    """Return why a track failed or was cancelled, also if its status does not say so."""
    if record.failure is not None:
        return record.failure
    row = FAILURES[FailureCode.CANCELLED if record.phase is Phase.CANCELLED else FailureCode.INTERNAL]
    return FailureStatus(code=row.code, stage=row.stage, message=row.sentence, retryable=row.retryable)


def current_progress(record: MirrorRecord, progress: ProgressRecord | None) -> ProgressRecord | None:
    """Return the progress if it is that of the requested run."""
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
