"""The facts that a status write makes true, for metrics and traces. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.models import AUTO_MODEL
from stemyard_contract.separationjob import TERMINAL_PHASES, ConditionType, Phase, Reason, SeparationJobStatus, phase_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.decision.usage import ending_jobs
from stemyard_operator.decision.webhook_outbox import finished_deliveries
from stemyard_operator.model.conditions import holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod
from stemyard_operator.model.separation import Separation

OTHER = "other"
"""Label value for names unknown to the deployment, which bounds the cardinality of metrics."""

_NO_FAILURES: Final = frozenset({Reason.JOB_REFUSED, Reason.REQUEUED})
"""Reasons why another attempt is due although no pod has run."""


@dataclass(frozen=True, slots=True)
class Span:
    """A finished time span."""

    name: str
    begun: datetime
    ended: datetime
    error: str = ""
    """Failure code or reason, if it failed."""

    @property
    def seconds(self) -> float:
        """Duration; never negative, even if clocks disagree."""
        return max(0.0, (self.ended - self.begun).total_seconds())


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What became true by a status write; each fact occurs in exactly one write of a run."""

    separation: Separation
    """The SeparationJob before the write."""
    profile: str
    model: str
    queue_wait: Span | None = None
    """From the end of fetch until the separate pod was scheduled."""
    stages: tuple[Span, ...] = ()
    """Completed stages, for as long as their last pod ran."""
    attempt: Span | None = None
    """A failed attempt, whether it is retried or ended the run."""
    whole: Span | None = None
    """A finished run, from its start."""
    gpu_seconds: float = 0
    """GPU seconds of a finished separate pod."""
    busy_gpu_seconds: float = 0
    """GPU seconds in which the network of a published separation computed, as its pod measured them."""
    ended: Phase | None = None
    failure: tuple[str, FailureCode] | None = None
    """Stage and code of a failed run; a cancelled one has not failed."""
    audio_seconds: float | None = None
    """Length of the audio, if known."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the separate stage's steps, as its pod measured them, in the write that completes that stage."""
    reused: bool = False
    """Whether the stems were copied from another separation."""
    retry: tuple[str, str] | None = None
    """Stage and reason of a failed attempt that will be retried."""
    delivered: int = 0
    """Webhooks that were delivered."""
    given_up: int = 0
    """Webhooks whose delivery was given up."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """All time spans."""
        return tuple(span for span in (*self.stages, self.queue_wait, self.attempt, self.whole) if span is not None)


def status_change_of(
    observed: Observed,
    after: SeparationJobStatus,
    now: datetime,
    settings: Settings,
) -> StatusChange:
    """Return the facts of a status write.

    Args:
        observed: the state that was decided from, with the status before the write.
        after: the status that was written.
        now: time of the write.
        settings: the deployment's settings.
    """
    spec = observed.separation.spec
    before = observed.separation.run_status
    profile, model = spec.profile, settings.default_model if spec.model == AUTO_MODEL else spec.model
    phase = phase_of(after.conditions)
    terminal = phase in TERMINAL_PHASES and phase_of(before.conditions) not in TERMINAL_PHASES
    failed = terminal and phase is Phase.FAILED
    retrying = after.retry_at is not None and before.retry_at is None and after.reason not in _NO_FAILURES
    deliveries = finished_deliveries(before, after)
    code = after.failure.code if after.failure is not None and terminal else after.reason or OTHER
    return StatusChange(
        separation=observed.separation,
        profile=profile if profile in settings.profiles else OTHER,
        model=model if model in settings.models else OTHER,
        queue_wait=_queue_wait(before, after, now),
        stages=tuple(_stages(observed, before, after, now)),
        attempt=_attempt(observed, after, now, code) if retrying or (terminal and after.failure) else None,
        whole=_whole(observed, after, now) if terminal else None,
        gpu_seconds=_gpu_seconds(after) - _gpu_seconds(before),
        busy_gpu_seconds=_busy_gpu_seconds(observed, before, after, settings),
        ended=phase if terminal and not spec.webhook_test else None,
        audio_seconds=after.source.duration if after.source else None,
        timings=_timings(observed, before, after),
        reused=terminal and after.result is not None and after.result.copied_from is not None,
        failure=(after.failure.stage, FailureCode(after.failure.code)) if failed and after.failure else None,
        retry=(after.stage or OTHER, after.reason or OTHER) if retrying and after.reason != Reason.SUSPENDING else None,
        delivered=sum(one.delivered_at is not None for one in deliveries),
        given_up=sum(one.delivered_at is None for one in deliveries),
    )


def _became_true(kind: ConditionType, before: SeparationJobStatus, after: SeparationJobStatus) -> bool:
    return holds(after, kind) and not holds(before, kind)


def _queue_wait(before: SeparationJobStatus, after: SeparationJobStatus, now: datetime) -> Span | None:
    if after.queued_at is None or not _became_true(ConditionType.ADMITTED, before, after):
        return None
    return Span("queue", after.queued_at, now)


def _whole(observed: Observed, after: SeparationJobStatus, now: datetime) -> Span:
    first = observed.separation.spec.run == 1
    begun = observed.separation.created if first else after.started_at or now
    return Span("separation", begun, after.finished_at or now, after.failure.code if after.failure else "")


def _attempt(observed: Observed, after: SeparationJobStatus, now: datetime, code: str) -> Span | None:
    if after.stage not in set(WorkStage):
        return None
    stage = WorkStage(after.stage)
    job, pods = observed.last(stage)
    pod = last_pod(pods)
    if stage is WorkStage.SEPARATE and observed.separation.run_status.lease is not None:
        return Span(stage, _leased_since(observed, now), now, code)
    if job is None:
        return None
    return Span(stage, (pod.started_at if pod else None) or job.created, job.ended_at or now, code)


def _stages(observed: Observed, before: SeparationJobStatus, after: SeparationJobStatus, now: datetime) -> list[Span]:
    """Return the stages whose last pod has ended, known from the write that counts its usage, or whose lease has."""
    found = []
    for stage, kind in STAGE_CONDITION.items():
        job, pods = observed.last(stage)
        pod = last_pod(pods)
        if job and job.ended_at and pod and pod.started_at and _is_counted(job, kind, before, after):
            found.append(Span(stage, pod.started_at, job.ended_at))
    if before.lease is not None and _became_true(ConditionType.SEPARATED, before, after):
        found.append(Span(WorkStage.SEPARATE, _leased_since(observed, now), now))
    return found


def _leased_since(observed: Observed, now: datetime) -> datetime:
    """Return since when a worker's device is held for a leased song."""
    lease = observed.separation.run_status.lease
    return observed.leasing.held_since or (now if lease is None else lease.since)


def _is_counted(job: Job, kind: ConditionType, before: SeparationJobStatus, after: SeparationJobStatus) -> bool:
    if job.name in ending_jobs(before):
        return job.name not in ending_jobs(after)
    return _became_true(kind, before, after) and job.name not in ending_jobs(after)


def _timings(observed: Observed, before: SeparationJobStatus, after: SeparationJobStatus) -> Mapping[str, float]:
    found = observed.manifest
    if found is None or found.mark.copied is not None or not _became_true(ConditionType.SEPARATED, before, after):
        return {}
    return found.mark.timings


def _busy_gpu_seconds(
    observed: Observed, before: SeparationJobStatus, after: SeparationJobStatus, settings: Settings
) -> float:
    found, profile = observed.manifest, settings.profiles.get(observed.separation.spec.profile)
    if found is None or found.mark.copied is not None or not _became_true(ConditionType.SEPARATED, before, after):
        return 0
    gpus = profile.separate.gpu.count if profile is not None and profile.separate.gpu is not None else 0
    return (found.mark.network_seconds or 0) * gpus


def _gpu_seconds(status: SeparationJobStatus) -> float:
    return status.usage.gpu_seconds if status.usage is not None else 0
