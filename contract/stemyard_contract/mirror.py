"""The mirror, the read model in Redis: its records. The SeparationJob remains the source of truth."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Self

from pydantic import Field

from stemyard_contract.event_types import EventType
from stemyard_contract.handover import WireModel, WorkStage
from stemyard_contract.identity import track_of, with_own_objects
from stemyard_contract.output import Output
from stemyard_contract.quality import Quality
from stemyard_contract.separationjob import (
    ANNOTATION_SHARES_REVOKED,
    LABEL_OWNER,
    TERMINAL_PHASES,
    FailureStatus,
    Phase,
    SeparationJobSpec,
    SeparationJobStatus,
    Stem,
    display_query,
    phase_of,
    requested_run,
    title_of,
)

PROGRESS_TTL_SECONDS: Final = 3600
REQUEST_TTL_SECONDS: Final = 24 * 3600
"""Maximum time that the mirror may lag behind a request."""
EVENTS_KEPT: Final = 200
"""Events kept in the stream of a track (XADD MAXLEN ~)."""
EVENTS_TTL_SECONDS: Final = 24 * 3600
"""TTL of a stream after its newest event."""
EVENT_FIELD: Final = "event"
ATTEMPTS_KEPT: Final = 500
"""Webhook attempts kept in the log of a track (XADD MAXLEN ~)."""
ATTEMPTS_TTL_SECONDS: Final = 7 * 24 * 3600
"""TTL of a log after its newest attempt; longer than the retry schedule of a delivery."""
ATTEMPT_FIELD: Final = "attempt"
IDEMPOTENCY_TTL_SECONDS: Final = 24 * 3600
BATCH_TTL_SECONDS: Final = 30 * 24 * 3600
UPLOAD_NAME_TTL_SECONDS: Final = 2 * 24 * 3600
"""Longer than an upload is kept that is not requested."""
RECORD_GRACE_SECONDS: Final = 3600
"""How long a record may outlive the TTL of its SeparationJob; a deletion removes it immediately."""
QUEUE_PHASES: Final = frozenset({Phase.PENDING, Phase.FETCHING, Phase.QUEUED})
"""Phases that count as queued."""
PACE_SLOTS: Final = "slots"
"""Field of the pace hash: separations that may run concurrently."""
PACE_FETCH: Final = "fetch"
"""Field of the pace hash: seconds per fetch."""
PACE_AUDIO: Final = "audio"
"""Field of the pace hash: seconds of audio per song."""
_PRIORITY_SECONDS: Final = 1e10
"""Score of one step of priority: it outweighs any age, and a double still resolves milliseconds beside 1,000 steps."""
PACE_FINISH: Final = "finish"
"""Field of the pace hash: seconds from the end of the separation proper to the end of the upload, per song."""


def pace_factor(profile: str, model: str) -> str:
    """Return the field of the pace hash with the seconds that the separation proper takes per second of audio."""
    return f"pace:{profile}/{model}"


def pace_start(profile: str, model: str) -> str:
    """Return the field of the pace hash with the seconds until a separate pod begins to separate."""
    return f"start:{profile}/{model}"


class ProgressRecord(WireModel):
    """Fine-grained progress of one pod; the record with the higher `order` wins."""

    uid: str
    run: int
    stage: WorkStage
    attempt: int
    sequence: int
    progress: float = Field(ge=0, le=100)
    """Percent of the whole separation."""
    step: str
    at: float
    """Epoch seconds of the report."""
    step_progress: float | None = None
    """Percent of the whole separation when the current step was first reported."""
    step_seconds: float | None = None
    """Seconds from then until `progress` was reached."""

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Sort key within a uid: a later run, stage, attempt or report is newer."""
        return (self.run, int(self.stage is WorkStage.SEPARATE), self.attempt, self.sequence)


DELETED_UID: Final = "deleted"
"""uid in a RequestRecord: the API has deleted the resource, even if its record still exists."""


class EventRecord(WireModel):
    """One thing that happened to a track, in its stream of events."""

    kind: Literal["phase", "progress"]
    """`phase` when the phase, or the run, is another; `progress` for everything in between."""
    uid: str
    run: int
    phase: Phase
    progress: float = Field(ge=0, le=100)
    """Percent of the whole separation."""
    stage: WorkStage | None = None
    step: str | None = None
    reason: str | None = None
    at: float
    """Epoch seconds."""


class AttemptRecord(WireModel):
    """One attempt at a webhook, in its track's log."""

    id: str
    """The `webhook-id`."""
    url: str
    event: EventType
    at: float
    """Epoch seconds of its end."""
    seconds: float
    """How long it took."""
    status: int = 0
    """HTTP status; 0 when there was no answer."""
    error: str | None = None
    """Why it failed, in one word."""
    key: str | None = None
    """Id of the API key that requested the webhook."""
    registration: str | None = None
    """Id of the registered webhook that it was for."""


class RequestRecord(WireModel):
    """The run that the API requested last, so that no reader takes the previous run for the result."""

    uid: str
    run: int
    version: int = 0
    """resourceVersion of the write; an older record of the same resource is stale."""


class MirrorRecord(WireModel):
    """Read model of a track. Times are epoch seconds."""

    track_id: str
    namespace: str
    name: str
    uid: str
    resource_version: int
    created: float
    """Creation time of the resource; orders resources of the same name."""
    generation: int
    observed_generation: int
    run: int
    """Requested run."""
    status_run: int
    """Run that phase, result and failure describe."""
    phase: Phase
    query: str
    model: str
    quality: Quality | None = None
    stems: list[Stem] = Field(default_factory=list)
    """Requested stems; empty in records of versions that did not mirror them."""
    output: Output | None = None
    """How the stems are encoded; absent in records of versions that did not mirror it."""
    profile: str = "default"
    cache_key: str | None = None
    title: str | None = None
    artist: str | None = None
    channel: str | None = None
    duration: float | None = None
    stage: str | None = None
    reason: str | None = None
    progress: int = 0
    """Coarse percent; the progress record is finer."""
    started_at: float | None = None
    ended_at: float | None = None
    processing_seconds: float | None = None
    """Seconds that the original run took, if the stems were copied from another separation."""
    stem_keys: dict[Stem, str] = Field(default_factory=dict)
    peaks_keys: dict[Stem, str] = Field(default_factory=dict)
    """Object keys of waveform peaks, of the stems that have them."""
    failure: FailureStatus | None = None
    claims: list[str] = Field(default_factory=list)
    """Ids of the API keys that requested it."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Metadata by API key id, as JSON text."""
    webhooks: dict[str, str] = Field(default_factory=dict)
    """Webhook URL by API key id."""
    webhook_events: dict[str, list[EventType]] = Field(default_factory=dict)
    """Subscribed events by API key id, if it chose any."""
    cancel: bool = False
    priority: int = 0
    expires_at: float | None = None
    owner: str | None = None
    """Id of the API key it belongs to, if results are not shared between keys."""
    shares_revoked: str | None = None
    """Value of the annotation that says when its share links were revoked."""

    @property
    def queue_score(self) -> float:
        """Score in the queue: lower goes first."""
        return self.created - self.priority * _PRIORITY_SECONDS

    @property
    def finished(self) -> bool:
        """Whether the requested run has ended."""
        return self.status_run == self.run and self.phase in TERMINAL_PHASES

    def supersedes(self, other: Self) -> bool:
        """Return whether this record is newer: by resourceVersion within a uid, else by creation time."""
        if self.uid == other.uid:
            return self.resource_version > other.resource_version
        return self.created >= other.created


def record_of(resource: Mapping[str, Any]) -> MirrorRecord:
    """Return the record of a SeparationJob in the API's namespace, in its JSON form.

    Raises:
        pydantic.ValidationError: the resource does not match its schema.
    """
    metadata = resource["metadata"]
    labels, namespace = metadata.get("labels") or {}, metadata["namespace"]
    return record_from(
        metadata,
        SeparationJobSpec.model_validate(resource["spec"]),
        SeparationJobStatus.model_validate(resource.get("status") or {}),
        track_of(namespace, metadata["name"], labels, namespace),
        labels.get(LABEL_OWNER),
    )


def record_from(
    metadata: Mapping[str, Any],
    spec: SeparationJobSpec,
    status: SeparationJobStatus,
    track_id: str,
    owner: str | None,
) -> MirrorRecord:
    """Return the record of a SeparationJob from its typed parts and the identity that the API gave it."""
    status = with_own_objects(status, track_id)
    stems = status.result.stems if status.result else {}
    created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
    ended, ttl = _epoch(status.finished_at), spec.ttl_seconds_after_finished
    return MirrorRecord(
        track_id=track_id,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        created=created,
        generation=metadata.get("generation", 1),
        observed_generation=status.observed_generation or 0,
        run=requested_run(spec, status),
        status_run=status.run or spec.run,
        phase=phase_of(status.conditions),
        query=display_query(spec.source),
        model=status.result.model if status.result else spec.model,
        quality=spec.quality,
        stems=spec.stems,
        output=spec.output,
        profile=spec.profile,
        cache_key=status.cache_key,
        **_recording(spec, status),
        stage=status.stage,
        reason=status.reason,
        progress=status.progress or 0,
        started_at=_epoch(status.started_at),
        ended_at=ended,
        processing_seconds=status.result.processing_seconds if status.result else None,
        stem_keys={stem: artifact.key for stem, artifact in stems.items()},
        peaks_keys={stem: artifact.peaks_key for stem, artifact in stems.items() if artifact.peaks_key is not None},
        failure=status.failure,
        **_claimed(spec),
        cancel=spec.cancel,
        priority=spec.priority,
        expires_at=ended + ttl if ended is not None and ttl is not None else None,
        owner=owner,
        shares_revoked=(metadata.get("annotations") or {}).get(ANNOTATION_SHARES_REVOKED),
    )


def _recording(spec: SeparationJobSpec, status: SeparationJobStatus) -> dict[str, Any]:
    """Return the fields of a record that describe the recording."""
    source = status.source
    return {
        "title": title_of(spec.source, source.title if source else None),
        "artist": source.artist if source else None,
        "channel": source.channel if source else None,
        "duration": source.duration if source else None,
    }


def _claimed(spec: SeparationJobSpec) -> dict[str, Any]:
    """Return the fields of a record that are taken from the claims, by the id of their API key."""
    return {
        "claims": [claim.key for claim in spec.claims],
        "metadata": {claim.key: claim.metadata for claim in spec.claims if claim.metadata is not None},
        "webhooks": {claim.key: claim.webhook for claim in spec.claims if claim.webhook is not None},
        "webhook_events": {claim.key: claim.webhook_events for claim in spec.claims if claim.webhook_events},
    }


def _epoch(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
