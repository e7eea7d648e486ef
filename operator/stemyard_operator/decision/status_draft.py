"""The draft of a running separation's status: what policies change, by the words of the resource. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import (
    AttemptsStatus,
    ConditionType,
    Reason,
    SeparationJobSpec,
    SeparationJobStatus,
)
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Step
from stemyard_operator.decision.artifacts import objects_of_result
from stemyard_operator.decision.status import fail, pass_test
from stemyard_operator.decision.webhook_outbox import freeze
from stemyard_operator.decision.webhook_targets import named, targets
from stemyard_operator.model.conditions import set_condition
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod
from stemyard_operator.model.separation import Separation

HOLD_SECONDS: Final = 5
"""Seconds for which a wait is not written: shorter waits never appear in the status."""
TICK_SECONDS: Final = 30
"""Minimum seconds between two writes that change only progress and the like."""
QUIET_REASONS: Final = frozenset({str(Reason.STARTING), str(Reason.RUNNING)})
"""Reasons that are no news: they are not shown in `status.reason`, and changing between them is no reason to write."""
_REASONS_BEFORE_A_POD: Final = frozenset(
    map(str, (Reason.CONCURRENCY_LIMIT, Reason.RETRYING, Reason.SUSPENDED, Reason.DUPLICATE))
)


@dataclass(slots=True)
class StatusDraft:
    """The observed state that a decision is made from, and the status that it drafts."""

    observed: Observed
    now: datetime
    settings: Settings
    status: SeparationJobStatus
    hold_seconds: float = 0
    """Seconds that the write may be delayed: events of the new pod will replace it."""
    urgent: bool = False
    """Whether the write may not be delayed."""

    @property
    def separation(self) -> Separation:
        """The SeparationJob as stored."""
        return self.observed.separation

    @property
    def drafted(self) -> Separation:
        """The SeparationJob with the drafted status."""
        return replace(self.separation, status=self.status)

    @property
    def spec(self) -> SeparationJobSpec:
        """The spec."""
        return self.separation.spec

    @property
    def attempts(self) -> AttemptsStatus:
        """Attempts of this run, as recorded."""
        if self.status.attempts is None:
            self.status.attempts = AttemptsStatus()
        return self.status.attempts

    @property
    def queue_deadline(self) -> datetime:
        """When the run fails if it is still queued."""
        return (self.status.queued_at or self.now) + timedelta(seconds=self.spec.deadlines.queue)

    def recorded(self, stage: WorkStage) -> int:
        """Return the number of recorded Jobs of a stage."""
        return self.attempts.fetch if stage is WorkStage.FETCH else self.attempts.separate

    def record(self, stage: WorkStage, name: str, attempt: int) -> None:
        """Record the current Job."""
        if self.status.job != name:
            self.status.pod = None
        self.status.stage, self.status.job = stage, name
        counts = {"fetch": attempt} if stage is WorkStage.FETCH else {"separate": attempt}
        self.status.attempts = self.attempts.model_copy(update=counts)

    def record_pod(self, job: Job) -> None:
        """Record the pod of the current Job: a different pod later means a disruption, also to a new leader."""
        _, pods = self.observed.seen.get(job.uid, (job, ()))
        pod = last_pod([pod for pod in pods if pod.gone_at is None])
        if pod is not None:
            self.status.pod = pod.name

    def count_failure(self) -> int:
        """Count a failed attempt; return the number of failed attempts of this stage."""
        self.status.attempts = self.attempts.model_copy(update={"failed": self.attempts.failed + 1})
        return self.attempts.failed

    def waiting(self, stage: WorkStage, reason: str, message: str = "") -> None:
        """Set the condition of a stage that is not on a node yet."""
        kind = ConditionType.FETCHED if stage is WorkStage.FETCH else ConditionType.ADMITTED
        set_condition(self.status, kind, "False", reason, self.now, message)
        self.status.reason = reason

    def waiting_for_pod(self, stage: WorkStage) -> None:
        """Set the condition of a stage that waits for its pod, unless it says more already."""
        kind = ConditionType.FETCHED if stage is WorkStage.FETCH else ConditionType.ADMITTED
        known = next((one for one in self.status.conditions if one.type == kind), None)
        if known is None or known.reason in _REASONS_BEFORE_A_POD:
            self.waiting(stage, Reason.STARTING if stage is WorkStage.FETCH else Reason.WAITING)
            self.status.reason = None

    def working(self, stage: WorkStage, reason: str, message: str = "", admitted: str = Reason.SCHEDULED) -> None:
        """Set the conditions of a stage that is on a node, or admitted by Kueue."""
        if stage is WorkStage.SEPARATE:
            set_condition(self.status, ConditionType.ADMITTED, "True", admitted, self.now)
            set_condition(self.status, ConditionType.SEPARATED, "False", reason, self.now, message)
        else:
            set_condition(self.status, ConditionType.FETCHED, "False", reason, self.now, message)
        self.status.reason = None if reason in QUIET_REASONS else reason

    def suspend(self, reason: Literal[Reason.SUSPENDING, Reason.SUSPENDED], message: str) -> None:
        """Set the conditions of a run that is suspended or being suspended. Its attempt is over; the next is due."""
        done = reason is Reason.SUSPENDED
        if done and self.status.stage == WorkStage.SEPARATE:
            set_condition(self.status, ConditionType.ADMITTED, "False", reason, self.now)
        set_condition(self.status, ConditionType.SUSPENDED, "True" if done else "False", reason, self.now, message)
        self.status.reason = reason
        if self.status.retry_at is None and self.status.job is not None:
            self.status.retry_at = self.now

    def resume(self) -> None:
        """Set the condition of a run that was suspended and goes on. Its time in the queue starts again."""
        known = next((one for one in self.status.conditions if one.type == ConditionType.SUSPENDED), None)
        if known is None or known.reason == Reason.RESUMED:
            return
        set_condition(self.status, ConditionType.SUSPENDED, "False", Reason.RESUMED, self.now)
        self.status.reason = None
        self.status.queued_at = self.now if self.status.queued_at else None

    def note_start(self) -> None:
        """Take the start of the run from its first pod."""
        own = [self.observed.pods.get(job.uid, ()) for job in self.observed.jobs if job.run == self.spec.run]
        seen = (self.observed.started_at, *(pod.started_at for pods in own for pod in pods))
        starts = [start for start in seen if start is not None]
        if self.status.started_at is None and starts:
            self.status.started_at = min(starts)

    def fail(self, code: FailureCode, stage: str, message: str = "", stop: tuple[Job, ...] = ()) -> Step:
        """End the run with a failure; return the step, which removes the result of the previous run."""
        fail(self.status, code, stage, self.now, message)
        self.freeze_webhooks()
        return Step(remove=objects_of_result(self.separation.status), stop=stop)

    def pass_test(self) -> Step:
        """End a webhook test; only the targets that it names itself are notified."""
        pass_test(self.status, self.now)
        freeze(self.status, self.separation, named(self.spec, self.observed.endpoints), self.now)
        return Step(requeue_after=self.spec.ttl_seconds_after_finished)

    def freeze_webhooks(self) -> None:
        """Store the webhook targets, in the same write that ends the run."""
        frozen = targets(self.spec, self.settings, self.observed.endpoints)
        freeze(self.status, self.separation, frozen, self.now)
