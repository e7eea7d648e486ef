"""The draft of a running separation's status: what policies change, by the words of the resource. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import MarkReference, WorkStage
from stemyard_contract.separationjob import (
    AttemptsStatus,
    ConditionType,
    Deadlines,
    LeaseStatus,
    Reason,
    SeparationJobSpec,
    SeparationJobStatus,
)
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Step
from stemyard_operator.decision.artifacts import objects_of_result
from stemyard_operator.decision.status import fail, pass_test
from stemyard_operator.decision.webhook_outbox import freeze_targets
from stemyard_operator.decision.webhook_targets import requested_targets, targets
from stemyard_operator.model.conditions import condition_of, holds, set_condition
from stemyard_operator.model.job import Job
from stemyard_operator.model.lease import LeaseOffer
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod
from stemyard_operator.model.separation import Separation, source_mark_of

HOLD_SECONDS: Final = 5
"""Seconds for which a wait is not written: shorter waits never appear in the status."""
TICK_SECONDS: Final = 30
"""Minimum seconds between two writes that change only progress and the like."""
QUIET_REASONS: Final = frozenset({str(Reason.STARTING), str(Reason.RUNNING)})
"""Reasons that are no news: they are not shown in `status.reason`, and changing between them is no reason to write."""
_WAITING_CONDITION: Final = {
    WorkStage.FETCH: ConditionType.FETCHED,
    WorkStage.SEPARATE: ConditionType.ADMITTED,
}
"""Condition that says why a stage is not on a node yet."""
_REASONS_BEFORE_A_POD: Final = frozenset(
    map(
        str,
        (
            Reason.CONCURRENCY_LIMIT,
            Reason.JOB_REFUSED,
            Reason.REQUEUED,
            Reason.RETRYING,
            Reason.SUSPENDED,
            Reason.DUPLICATE,
            Reason.WAITING_FOR_WORKER,
        ),
    )
)
_ON_A_NODE: Final = frozenset({str(Reason.SCHEDULED), str(Reason.LEASED)})
"""Reasons of a song that is admitted because a pod has it."""


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
    def deadlines(self) -> Deadlines:
        """The deadlines of the spec, as far as the deployment allows them."""
        return self.settings.deadlines(self.spec.deadlines)

    @property
    def attempts(self) -> AttemptsStatus:
        """Attempts of this run, as recorded."""
        if self.status.attempts is None:
            self.status.attempts = AttemptsStatus()
        return self.status.attempts

    @property
    def queue_deadline(self) -> datetime:
        """When the run fails if it is still queued."""
        return (self.status.queued_at or self.now) + timedelta(seconds=self.deadlines.queue)

    @property
    def resumed_at(self) -> datetime | None:
        """When the run was resumed, if it was suspended."""
        known = condition_of(self.status, ConditionType.SUSPENDED)
        return known.last_transition_time if known is not None and known.reason == Reason.RESUMED else None

    def recorded(self, stage: WorkStage) -> int:
        """Return the number of recorded Jobs of a stage."""
        return self.attempts.fetch if stage is WorkStage.FETCH else self.attempts.separate

    @property
    def source_mark(self) -> MarkReference | None:
        """The commit mark of the fetched source, as recorded; None if nothing is fetched or it is no longer needed."""
        return source_mark_of(self.status)

    @property
    def may_fetch_again(self) -> bool:
        """Whether a source that is lost may be fetched again in this run, which the retry limit bounds."""
        return self.source_mark is not None and self.attempts.fetch <= self.spec.retry_policy.limit

    def drop_source(self) -> None:
        """Forget the fetched source, so that the run fetches again; what is known of the recording stays."""
        if self.status.source is not None:
            self.status.source = self.status.source.model_copy(update={"mark_key": None, "mark_sha256": None})

    def record(self, stage: WorkStage, name: str, attempt: int) -> None:
        """Record the current Job."""
        if self.status.job != name:
            self.status.pod = None
        self.status.stage, self.status.job = stage, name
        counts = {"fetch": attempt} if stage is WorkStage.FETCH else {"separate": attempt}
        self.status.attempts = self.attempts.model_copy(update=counts)

    def record_pod(self, job: Job) -> None:
        """Record the pod of the current Job: a different pod later means a disruption, also to a new leader."""
        _, pods = self.observed.last_seen_pods.get(job.uid, (job, ()))
        pod = last_pod([pod for pod in pods if pod.gone_at is None])
        if pod is not None:
            self.status.pod = pod.name

    def attempt_begins(self) -> None:
        """Record that the current attempt is not over."""
        self.status.retry_at = None
        self._mark_attempt(ended=None)

    def attempt_ends(self) -> None:
        """Record that the current attempt is over."""
        self._mark_attempt(ended=True)

    def seconds_until_retry(self) -> float | None:
        """Return the seconds until the next attempt is due; None if it is, and then drop its time from the status.

        A time in the past does not say when it begins: when a slot is free, or the run is resumed.
        """
        due = self.status.retry_at
        if due is None or due > self.now:
            return None if due is None else (due - self.now).total_seconds()
        self.status.retry_at = None
        self.attempt_ends()
        return None

    def _mark_attempt(self, *, ended: bool | None) -> None:
        if self.status.attempts is not None and self.status.attempts.ended != ended:
            self.status.attempts = self.status.attempts.model_copy(update={"ended": ended})

    def lease(self, offer: LeaseOffer, attempt: int) -> None:
        """Lease the song to the pod that waits for one."""
        self.record(WorkStage.SEPARATE, offer.worker.name, attempt)
        self.attempt_begins()
        self.status.pod, self.status.pending_since = offer.pod_name, None
        self.status.lease = LeaseStatus(pod_uid=offer.pod_uid, since=self.now, attempt=attempt)
        self.working(WorkStage.SEPARATE, Reason.RUNNING, admitted=Reason.LEASED)

    def count_failure(self) -> int:
        """Count a failed attempt; return the number of failed attempts of this stage."""
        self.status.attempts = self.attempts.model_copy(update={"failed": self.attempts.failed + 1})
        self.status.pending_since = None
        return self.attempts.failed

    def is_retrying(self, stage: WorkStage) -> bool:
        """Return whether the condition of a stage says that an attempt failed."""
        known = condition_of(self.status, _WAITING_CONDITION[stage])
        return known is not None and known.reason == Reason.RETRYING

    def waits_for(self, stage: WorkStage) -> str:
        """Return the message of the condition of a stage that is not on a node yet."""
        known = condition_of(self.status, _WAITING_CONDITION[stage])
        return known.message if known is not None else ""

    def waiting(self, stage: WorkStage, reason: str, message: str = "") -> None:
        """Set the condition of a stage that is not on a node yet."""
        if stage is WorkStage.SEPARATE:
            self.restart_queue_time()
            self._stop_separating(reason)
            self.status.lease = None
        set_condition(self.status, _WAITING_CONDITION[stage], "False", reason, self.now, message)
        self.status.reason = reason

    def restart_queue_time(self) -> None:
        """Start the time in the queue again if the last attempt was on a node: running is not waiting."""
        admitted = condition_of(self.status, ConditionType.ADMITTED)
        if admitted is not None and admitted.status == "True" and admitted.reason in _ON_A_NODE:
            self.status.queued_at = self.now

    def waiting_for_pod(self, stage: WorkStage) -> None:
        """Set the condition of a stage that waits for its pod, unless it says more already."""
        known = condition_of(self.status, _WAITING_CONDITION[stage])
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
        self.status.lease = None
        if done and holds(self.status, ConditionType.FETCHED):
            set_condition(self.status, ConditionType.ADMITTED, "False", reason, self.now)
            self._stop_separating(reason)
        elif done and self.status.job is not None:
            set_condition(self.status, ConditionType.FETCHED, "False", reason, self.now)
        set_condition(self.status, ConditionType.SUSPENDED, "True" if done else "False", reason, self.now, message)
        self.status.reason = reason
        if self.status.job is not None:
            self.attempt_ends()

    def _stop_separating(self, reason: str) -> None:
        """Set the condition of a separation that was at work: no pod of it runs any more."""
        known = condition_of(self.status, ConditionType.SEPARATED)
        if known is not None and known.status != "True":
            set_condition(self.status, ConditionType.SEPARATED, "False", reason, self.now)

    def resume(self) -> None:
        """Set the condition of a run that was suspended and goes on. Its time in the queue starts again."""
        known = condition_of(self.status, ConditionType.SUSPENDED)
        if known is None or known.reason == Reason.RESUMED:
            return
        set_condition(self.status, ConditionType.SUSPENDED, "False", Reason.RESUMED, self.now)
        self.urgent = True
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
        return Step(remove=objects_of_result(self.separation.status, self.settings.stemyard_install_id), stop=stop)

    def pass_test(self) -> Step:
        """End a webhook test; only the targets that it names itself are notified."""
        pass_test(self.status, self.now)
        frozen = requested_targets(self.spec, self.observed.endpoints, self.observed.registrations)
        freeze_targets(self.status, self.separation, frozen, self.now)
        return Step(requeue_after=self.spec.ttl_seconds_after_finished)

    def freeze_webhooks(self) -> None:
        """Store the webhook targets, in the same write that ends the run."""
        frozen = targets(self.spec, self.settings, self.observed.endpoints, self.observed.registrations)
        freeze_targets(self.status, self.separation, frozen, self.now)
