"""The draft of one decision about a run at work: the status as it will be, and whether it is worth a write. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import (
    AttemptsStatus,
    ConditionType,
    Phase,
    Reason,
    SeparationJobSpec,
    SeparationJobStatus,
)
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.artifacts import objects_of_result
from stemyard_operator.decision.status import fail, pass_test, settle
from stemyard_operator.decision.usage import used
from stemyard_operator.decision.webhook_outbox import freeze
from stemyard_operator.decision.webhook_targets import named, targets
from stemyard_operator.jobs.manifest import Creation
from stemyard_operator.model.conditions import holds, set_condition
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod
from stemyard_operator.model.separation import Separation

HOLD_SECONDS: Final = 5
"""A wait shorter than this is not worth a write."""
TICK_SECONDS: Final = 30
"""Progress is written no more often than this."""
LOOK_SECONDS: Final = 10
"""How often a pod that does not start is looked at."""


@dataclass(slots=True)
class StatusDraft:
    """What a decision is made from, and the status it is making."""

    observed: Observed
    now: datetime
    settings: Settings
    status: SeparationJobStatus
    patience: float = 0
    """Seconds for which the write may wait, since a new pod's news will replace it."""
    urgent: bool = False
    """Whether the write may not wait."""

    @property
    def separation(self) -> Separation:
        """The SeparationJob as it is stored."""
        return self.observed.separation

    @property
    def drafted(self) -> Separation:
        """The SeparationJob as it will be."""
        return replace(self.separation, status=self.status)

    @property
    def spec(self) -> SeparationJobSpec:
        """What is asked for."""
        return self.separation.spec

    @property
    def attempts(self) -> AttemptsStatus:
        """Jobs made in this run, as far as recorded."""
        if self.status.attempts is None:
            self.status.attempts = AttemptsStatus()
        return self.status.attempts

    @property
    def queue_deadline(self) -> datetime:
        """When waiting to be separated has lasted too long."""
        return (self.status.queued_at or self.now) + timedelta(seconds=self.spec.deadlines.queue)

    def recorded(self, stage: WorkStage) -> int:
        """Return how many Jobs of a stage are recorded."""
        return self.attempts.fetch if stage is WorkStage.FETCH else self.attempts.separate

    def record(self, stage: WorkStage, name: str, attempt: int) -> None:
        """Record the Job that is at work."""
        if self.status.job != name:
            self.status.pod = None
        self.status.stage, self.status.job = stage, name
        counts = {"fetch": attempt} if stage is WorkStage.FETCH else {"separate": attempt}
        self.status.attempts = self.attempts.model_copy(update=counts)

    def name_pod(self, job: Job) -> None:
        """Name the pod of the Job at work: another one later tells even a new leader of a disruption."""
        _, pods = self.observed.seen.get(job.uid, (job, ()))
        pod = last_pod([pod for pod in pods if pod.gone_at is None])
        if pod is not None:
            self.status.pod = pod.name

    def count_failure(self) -> int:
        """Count an attempt that failed; return how many of this stage have."""
        self.status.attempts = self.attempts.model_copy(update={"failed": self.attempts.failed + 1})
        return self.attempts.failed

    def waits(self, stage: WorkStage, reason: str, message: str = "") -> None:
        """Say that a stage has not got onto a node yet, and why."""
        kind = ConditionType.FETCHED if stage is WorkStage.FETCH else ConditionType.ADMITTED
        set_condition(self.status, kind, "False", reason, self.now, message)
        self.status.reason = reason

    def waits_at_first(self, stage: WorkStage) -> None:
        """Say that a stage waits for its pod, unless more is known already."""
        kind = ConditionType.FETCHED if stage is WorkStage.FETCH else ConditionType.ADMITTED
        known = next((one for one in self.status.conditions if one.type == kind), None)
        if known is None or known.reason in _BEFORE_ITS_POD:
            self.waits(stage, Reason.STARTING if stage is WorkStage.FETCH else Reason.WAITING)
            self.status.reason = None

    def works(self, stage: WorkStage, reason: str, message: str = "", admitted: str = Reason.SCHEDULED) -> None:
        """Say that a stage is on a node, or that Kueue has admitted it to one, and how it goes there."""
        if stage is WorkStage.SEPARATE:
            set_condition(self.status, ConditionType.ADMITTED, "True", admitted, self.now)
            set_condition(self.status, ConditionType.SEPARATED, "False", reason, self.now, message)
        else:
            set_condition(self.status, ConditionType.FETCHED, "False", reason, self.now, message)
        self.status.reason = None if reason in _CALM else reason

    def suspend(self, reason: Literal[Reason.SUSPENDING, Reason.SUSPENDED], message: str) -> None:
        """Say that the work stops, or has stopped. Whatever attempt was recorded is over: the next is due."""
        done = reason is Reason.SUSPENDED
        if done and self.status.stage == WorkStage.SEPARATE:
            set_condition(self.status, ConditionType.ADMITTED, "False", reason, self.now)
        set_condition(self.status, ConditionType.SUSPENDED, "True" if done else "False", reason, self.now, message)
        self.status.reason = reason
        if self.status.retry_at is None and self.status.job is not None:
            self.status.retry_at = self.now

    def resume(self) -> None:
        """Say that the work goes on. Waiting for room begins anew."""
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

    def end(self, code: FailureCode, stage: str, message: str = "", stop: tuple[Job, ...] = ()) -> Decision:
        """Return the decision that ends the run with a failure; objects of the run before go."""
        fail(self.status, code, stage, self.now, message)
        self.freeze_webhooks()
        return self.step(remove=objects_of_result(self.separation.status), stop=stop)

    def end_test(self) -> Decision:
        """Return the decision that ends a test of webhooks: only those whom it names itself are told."""
        pass_test(self.status, self.now)
        freeze(self.status, self.separation, named(self.spec, self.observed.endpoints), self.now)
        return self.step(self.spec.ttl_seconds_after_finished)

    def freeze_webhooks(self) -> None:
        """Write down who is to be told, in the very write that ends the run."""
        told = targets(self.spec, self.settings, self.observed.endpoints)
        freeze(self.status, self.separation, told, self.now)

    def step(
        self,
        again_in: float | None = None,
        *,
        create: Creation | None = None,
        remove: tuple[str, ...] = (),
        stop: tuple[Job, ...] = (),
        waits_for: WorkStage | None = None,
    ) -> Decision:
        """Return the decision, with the status only where it is worth a write now."""
        self._take_progress()
        self.status.usage = used(self.observed, self.status, self.now, self.settings)
        settle(self.status, self.separation)
        hold = self._hold()
        write = hold <= 0 and self._worth_writing()
        if hold > 0 and (again_in is None or hold < again_in):
            again_in = hold
        return Decision(
            remove=remove,
            create=create,
            status=self.status if write else None,
            stop=stop,
            waits_for=waits_for,
            again_in=again_in,
        )

    def _take_progress(self) -> None:
        if self.observed.progress is not None:
            self.status.progress = max(self.status.progress or 0, min(99, int(self.observed.progress)))
        if self.observed.disruptions > self.attempts.disruptions:
            update = {"disruptions": self.observed.disruptions}
            self.status.attempts = self.attempts.model_copy(update=update)

    def _hold(self) -> float:
        """Return how many seconds a write may still wait for news that would replace it."""
        at_once = holds(self.status, ConditionType.ADMITTED) or holds(self.status, ConditionType.SUSPENDED)
        if self.urgent or self.status.finished_at or self.status.retry_at or at_once:
            return 0
        if self.patience > 0:
            return self.patience
        if holds(self.status, ConditionType.FETCHED) and not holds(self.separation.run_status, ConditionType.FETCHED):
            return self._left(self.status.queued_at)
        return self._left(self.separation.created) if self.status.phase is Phase.PENDING else 0

    def _left(self, since: datetime | None) -> float:
        return (since + timedelta(seconds=HOLD_SECONDS) - self.now).total_seconds() if since else 0

    def _worth_writing(self) -> bool:
        before, after = self.separation.status, self.status
        if _essence(before) != _essence(after):
            return True
        return before != after and self.observed.quiet_seconds >= TICK_SECONDS


_CALM: Final = frozenset({str(Reason.STARTING), str(Reason.RUNNING)})
_BEFORE_ITS_POD: Final = frozenset(
    map(str, (Reason.CONCURRENCY_LIMIT, Reason.RETRYING, Reason.SUSPENDED, Reason.DUPLICATE))
)
_SOFT: Final = frozenset({"progress", "pod", "started_at", "observed_generation", "reason"})
_HARD: Final = tuple(name for name in SeparationJobStatus.model_fields if name not in {*_SOFT, "conditions"})


def _essence(status: SeparationJobStatus) -> tuple[list[Any], dict[str, Any]]:
    """Return what is worth a write at once; the rest waits for the next tick."""
    conditions = {one.type: (one.status, "" if one.reason in _CALM else one.reason) for one in status.conditions}
    return [getattr(status, name) for name in _HARD], conditions
