"""What one status write tells of time and outcome: the figures behind the metrics. Pure."""

from dataclasses import dataclass
from datetime import datetime

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.models import AUTO_MODEL
from stemyard_contract.separationjob import TERMINAL_PHASES, ConditionType, Phase, Reason, SeparationJobStatus, phase_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.decision.webhook_outbox import settled_by
from stemyard_operator.model.conditions import holds
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod
from stemyard_operator.model.separation import Separation

OTHER = "other"
"""What a label says instead of a value that the deployment does not know: labels stay as few as its settings."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is over."""

    name: str
    begun: datetime
    ended: datetime
    error: str = ""
    """Failure code or reason, where it came to nothing."""

    @property
    def seconds(self) -> float:
        """How long it was; clocks that disagree make it no less than nothing."""
        return max(0.0, (self.ended - self.begun).total_seconds())


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What became true by one write, each fact in exactly one write of a run."""

    separation: Separation
    """As it was before the write."""
    profile: str
    model: str
    queue_wait: Span | None = None
    """From the end of fetch until a node took the separate pod."""
    stages: tuple[Span, ...] = ()
    """Stages that are done, named as such, while their last pod ran."""
    attempt: Span | None = None
    """An attempt at a stage that failed and is made again, or ended the run."""
    whole: Span | None = None
    """A run that is over, from its beginning."""
    gpu_seconds: float = 0
    """Seconds for which a separate pod that is over held its GPUs, times their number."""
    ended: Phase | None = None
    failure: tuple[str, FailureCode] | None = None
    """Stage and code of a run that failed."""
    audio_seconds: float | None = None
    """Length of the song, where it is known."""
    reused: bool = False
    """Whether the stems were copied from another separation."""
    retry: tuple[str, str] | None = None
    """Stage and reason of an attempt that will be made again."""
    delivered: int = 0
    """Webhooks that arrived."""
    given_up: int = 0
    """Webhooks that will not be tried again."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Everything that took time and is over."""
        return tuple(span for span in (*self.stages, self.queue_wait, self.attempt, self.whole) if span is not None)


def account(
    observed: Observed,
    after: SeparationJobStatus,
    now: datetime,
    settings: Settings,
) -> StatusChange:
    """Return what a write makes true.

    Args:
        observed: what it was decided from; its status is the one that the write replaces.
        after: the status that was written.
        now: when it was written.
        settings: the deployment.
    """
    spec = observed.separation.spec
    before = observed.separation.run_status
    profile, model = spec.profile, settings.default_model if spec.model == AUTO_MODEL else spec.model
    terminal = phase_of(after.conditions) in TERMINAL_PHASES and phase_of(before.conditions) not in TERMINAL_PHASES
    over = after.retry_at is not None and before.retry_at is None
    settled = settled_by(before, after)
    code = after.failure.code if after.failure is not None and terminal else after.reason or OTHER
    return StatusChange(
        separation=observed.separation,
        profile=profile if profile in settings.profiles else OTHER,
        model=model if model in settings.models else OTHER,
        queue_wait=_queue_wait(before, after, now),
        stages=tuple(_stages(observed, before, after)),
        attempt=_attempt(observed, after, now, code) if over or (terminal and after.failure) else None,
        whole=_whole(observed, after, now) if terminal else None,
        gpu_seconds=_gpu_seconds(after) - _gpu_seconds(before),
        ended=phase_of(after.conditions) if terminal and not spec.webhook_test else None,
        audio_seconds=after.source.duration if after.source else None,
        reused=terminal and after.result is not None and after.result.copied_from is not None,
        failure=(after.failure.stage, FailureCode(after.failure.code)) if terminal and after.failure else None,
        retry=(after.stage or OTHER, after.reason or OTHER) if over and after.reason != Reason.SUSPENDING else None,
        delivered=sum(one.delivered_at is not None for one in settled),
        given_up=sum(one.delivered_at is None for one in settled),
    )


def _turned(kind: ConditionType, before: SeparationJobStatus, after: SeparationJobStatus) -> bool:
    return holds(after, kind) and not holds(before, kind)


def _queue_wait(before: SeparationJobStatus, after: SeparationJobStatus, now: datetime) -> Span | None:
    if after.queued_at is None or not _turned(ConditionType.ADMITTED, before, after):
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
    if job is None:
        return None
    return Span(stage, (pod.started_at if pod else None) or job.created, job.ended_at or now, code)


def _stages(observed: Observed, before: SeparationJobStatus, after: SeparationJobStatus) -> list[Span]:
    found = []
    for stage, kind in STAGE_CONDITION.items():
        job, pods = observed.last(stage)
        pod = last_pod(pods)
        if job and job.ended_at and pod and pod.started_at and _turned(kind, before, after):
            found.append(Span(stage, pod.started_at, job.ended_at))
    return found


def _gpu_seconds(status: SeparationJobStatus) -> float:
    return status.usage.gpu_seconds if status.usage is not None else 0
