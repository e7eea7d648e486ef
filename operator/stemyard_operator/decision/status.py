"""Transitions of the status: first status, accepted source, completion, failure. Pure."""

from datetime import datetime
from typing import Final

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Manifest, MediaMetadata, WorkStage
from stemyard_contract.identity import spec_cache_key
from stemyard_contract.models import AUTO_MODEL
from stemyard_contract.separationjob import (
    TERMINAL_PHASES,
    AttemptsStatus,
    ConditionType,
    FailureStatus,
    Phase,
    Reason,
    ResultStatus,
    SeparationJobStatus,
    SourceStatus,
    StemStatus,
    display_query,
    phase_of,
)
from stemyard_operator.model.conditions import (
    _MESSAGE_LIMIT,
    camel_case,
    condition_of,
    drop_condition,
    holds,
    set_condition,
)
from stemyard_operator.model.observed import FoundManifest, FoundSource
from stemyard_operator.model.separation import Separation

_TITLE_LIMIT: Final = 512
_FETCHED_PERCENT: Final = 10
STAGE_CONDITION: Final = {
    WorkStage.FETCH: ConditionType.FETCHED,
    WorkStage.SEPARATE: ConditionType.SEPARATED,
}
"""Condition that becomes True when a stage is done."""


def first_status(separation: Separation, default_model: str) -> SeparationJobStatus:
    """Return the first status of a run. The result of an earlier run stays until this run ends."""
    spec, before = separation.spec, separation.status
    return SeparationJobStatus(
        run=spec.run,
        track_id=separation.track_id,
        cache_key=spec_cache_key(spec, default_model),
        model=default_model if spec.model == AUTO_MODEL else spec.model,
        title=before.title or display_query(spec.source)[:_TITLE_LIMIT],
        progress=0,
        attempts=AttemptsStatus(),
        source=before.source,
        result=before.result,
    )


def derive_phase(status: SeparationJobStatus, separation: Separation, now: datetime) -> SeparationJobStatus:
    """Set and return the status with phase, summary and observedGeneration, which follow from its conditions.

    All conditions get the newest generation: `kubectl wait` ignores conditions of older ones.
    """
    status.phase = phase_of(status.conditions)
    _summarize(status, status.phase, now)
    seen = {"observed_generation": separation.generation}
    status.observed_generation = separation.generation
    status.conditions = [
        one if one.observed_generation == separation.generation else one.model_copy(update=seen)
        for one in status.conditions
    ]
    return status


def _summarize(status: SeparationJobStatus, phase: Phase, now: datetime) -> None:
    """Set the conditions that kstatus reads, as Flux and Helm do: Ready, Reconciling while at work, Stalled at failure.

    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
    """
    failed = condition_of(status, ConditionType.FAILED) if holds(status, ConditionType.FAILED) else None
    reason, message = (failed.reason, failed.message) if failed is not None else (str(phase), "")
    set_condition(status, ConditionType.READY, "True" if phase is Phase.COMPLETED else "False", reason, now, message)
    if phase in TERMINAL_PHASES or phase is Phase.SUSPENDED:
        drop_condition(status, ConditionType.RECONCILING)
    else:
        set_condition(status, ConditionType.RECONCILING, "True", reason, now)
    if failed is None:
        drop_condition(status, ConditionType.STALLED)
    else:
        set_condition(status, ConditionType.STALLED, "True", reason, now, message)


def source_of(found: FoundSource) -> SourceStatus:
    """Return the fetched source of a mark.

    Raises:
        pydantic.ValidationError: a value exceeds the limits of the status.
    """
    mark = found.mark
    return SourceStatus(
        **media_fields(mark.media),
        duration=round(mark.duration_seconds, 3),
        sha256=mark.audio_sha256,
        mark_key=found.reference.key,
        mark_sha256=found.reference.sha256,
        candidates=mark.candidates[:10] or None,
    )


def accept_source(status: SeparationJobStatus, found: FoundSource, now: datetime, queued_at: datetime) -> None:
    """Record the fetched source."""
    media = found.mark.media
    status.source = source_of(found)
    status.title = (media.title or status.title or "")[:_TITLE_LIMIT]
    status.queued_at = queued_at
    if status.attempts is not None:
        status.attempts = status.attempts.model_copy(
            update={"failed": 0, "memory": None, "ephemeral_storage": None, "requeued": None, "ended": None}
        )
    status.retry_at = None
    status.pending_since = None
    status.reason = None
    status.progress = max(status.progress or 0, _FETCHED_PERCENT)
    set_condition(status, ConditionType.FETCHED, "True", Reason.SUCCEEDED, now)


def media_fields(media: MediaMetadata) -> dict[str, str | None]:
    """Return the fields of the source's status that describe the recording, cut to their limits."""
    return {
        "title": _cut(media.title),
        "artist": _cut(media.artist),
        "channel": _cut(media.channel),
        "media_id": media.media_id[:128] if media.media_id else None,
    }


def _cut(text: str | None) -> str | None:
    return text[:256] if text else None


def complete(status: SeparationJobStatus, found: FoundManifest, now: datetime) -> None:
    """Complete the run: the stems are published and verified."""
    status.result = result_of(found)
    status.failure = None
    status.progress = 100
    if status.source is not None:
        # the source audio is removed when a run completes, so its commit mark is no longer referenced
        status.source = status.source.model_copy(update={"mark_key": None, "mark_sha256": None})
    copied = found.mark.copied is not None
    set_condition(status, ConditionType.ADMITTED, "True", Reason.COPIED if copied else Reason.SCHEDULED, now)
    set_condition(status, ConditionType.SEPARATED, "True", Reason.COPIED if copied else Reason.SUCCEEDED, now)
    set_condition(status, ConditionType.PUBLISHED, "True", Reason.VERIFIED, now)
    set_condition(status, ConditionType.COMPLETE, "True", Reason.SUCCEEDED, now)
    _end(status, now, reason=None)


def result_of(found: FoundManifest) -> ResultStatus:
    """Return the published result of a manifest."""
    prefix = found.reference.key.rpartition("/")[0]
    manifest: Manifest = found.mark
    return ResultStatus(
        stems={
            stem: StemStatus(
                key=f"{prefix}/{file.file}",
                bytes=file.bytes,
                sha256=file.sha256,
                duration=file.duration_seconds,
                lufs=file.integrated_loudness,
                true_peak=file.true_peak,
                peaks_key=f"{prefix}/{file.peaks.file}" if file.peaks is not None else None,
            )
            for stem, file in manifest.stems.items()
        },
        manifest_key=found.reference.key,
        model=manifest.model,
        model_digest=manifest.model_digest,
        real_time_factor=manifest.real_time_factor,
        device=manifest.device,
        copied_from=manifest.copied.name if manifest.copied else None,
        processing_seconds=manifest.copied.processing_seconds if manifest.copied else None,
    )


def pass_test(status: SeparationJobStatus, now: datetime) -> None:
    """Complete a webhook test."""
    set_condition(status, ConditionType.ACCEPTED, "True", Reason.VALID, now)
    set_condition(status, ConditionType.COMPLETE, "True", Reason.TESTED, now)
    _end(status, now, reason=Reason.TESTED)


def fail(status: SeparationJobStatus, code: FailureCode, stage: str, now: datetime, message: str = "") -> None:
    """End the run with a failure; `message` replaces the generic message of the failure table."""
    row = FAILURES[code]
    text = (message or row.sentence)[:_MESSAGE_LIMIT]
    status.failure = FailureStatus(code=code, stage=stage, message=text, retryable=row.retryable)
    status.result = None
    reason = Reason.CANCELLED if code is FailureCode.CANCELLED else camel_case(code)
    _close_stages(status, reason, now)
    set_condition(status, ConditionType.FAILED, "True", reason, now, text)
    _end(status, now, reason=reason)


def _close_stages(status: SeparationJobStatus, reason: str, now: datetime) -> None:
    """Set the conditions of stages that are not done: nothing of this run is waiting or running any more."""
    for one in tuple(status.conditions):
        if one.type == ConditionType.ADMITTED or (one.type in STAGE_CONDITION.values() and one.status != "True"):
            message = one.message if one.reason == reason else ""
            set_condition(status, ConditionType(one.type), "False", reason, now, message)


def _end(status: SeparationJobStatus, now: datetime, reason: str | None) -> None:
    status.finished_at = now
    status.lease = None
    status.retry_at = None
    if status.attempts is not None:
        status.attempts = status.attempts.model_copy(update={"ended": None})
    status.pending_since = None
    status.reason = reason
    if status.started_at is not None:
        status.duration = human_duration((now - status.started_at).total_seconds())


def human_duration(seconds: float) -> str:
    """Return a duration as Kubernetes prints it: `75s`, `4m10s`, `1h2m`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m"
