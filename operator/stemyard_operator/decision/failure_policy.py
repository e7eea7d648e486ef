"""Whether and when a failed, evicted or lost attempt is retried, and with how much memory and disk. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.failures import FAILURES, FailureCode, failure_of_exit_code
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.separationjob import ConditionType, Reason
from stemyard_operator.config.profiles import StageProfile
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Step
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.decision.status_draft import StatusDraft
from stemyard_operator.jobs.disk import first_disk, mebibytes
from stemyard_operator.model.conditions import camel_case, holds, set_condition
from stemyard_operator.model.job import Job
from stemyard_operator.model.pod import Pod, last_pod

OOM_KILLED: Final = "OOMKilled"
"""Reason of a container killed for exceeding its memory limit; the next attempt gets more."""
DISRUPTION_LIMIT: Final = 20
"""Number of disruptions after which a run fails as `DISRUPTED`."""
_DISRUPTIONS: Final = frozenset({FailureCode.DESK_UNREACHABLE})
"""Failures that count as disruptions: the operator or the control plane was away, the attempt could not help it."""
_DISK_EXCEEDED: Final = "DiskExceeded"
_NODE_PRESSURE: Final = "The node was low on resource"
"""In the kubelet's message if the node lacked something, rather than the pod exceeded its own."""
_GROWTH: Final = 1.5
_DEADLINES: Final = {
    WorkStage.FETCH: FailureCode.FETCH_DEADLINE,
    WorkStage.SEPARATE: FailureCode.SEPARATE_DEADLINE,
}
_OVERDUE: Final = timedelta(seconds=120)
"""Time past its deadline after which a pod is taken for lost: its kubelet should have stopped it."""
_UNANSWERED: Final = timedelta(seconds=60)
"""Time past its grace period after which a disrupted pod is taken for lost: its node is dead or unreachable."""


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """Why an attempt failed."""

    code: FailureCode
    message: str = ""
    cause: str = ""
    """Kubernetes' reason, if it affects the next attempt."""

    @property
    def retryable(self) -> bool:
        """Whether the failure table allows another attempt."""
        return FAILURES[self.code].retryable


def fail_attempt(draft: StatusDraft, stage: WorkStage, attempt: int, job: Job | None, why: AttemptFailure) -> Step:
    """Record a failed attempt; return the step that retries it later or ends the run."""
    own = draft.separation.name, draft.separation.uid, stage, draft.spec.run, attempt
    name = job.name if job is not None else job_name(*own)
    draft.record(stage, name, attempt)
    if why.code in _DISRUPTIONS:
        return _repeat_disrupted(draft, stage, name, attempt, job, why)
    why, exhausted = _with_more_memory(draft, stage, job, why)
    if why.cause == _DISK_EXCEEDED:
        why, exhausted = _with_more_disk(draft, stage, job, why)
    count = draft.count_failure()
    if why.retryable and count <= retry_limit(why.code, draft.spec.retry_policy.limit) and not exhausted:
        return _retry(draft, stage, name, attempt, job, why, count)
    return _end_run(draft, stage, job, why)


def fetch_again(draft: StatusDraft, job: Job, why: AttemptFailure) -> Step:
    """Record a separation that failed because the store no longer has its source; return the step that fetches again.

    A lifecycle rule of the bucket may remove the source while the separation waits in a queue, or the store lost it.
    """
    step = fail_attempt(draft, WorkStage.SEPARATE, job.attempt, job, why)
    if not holds(draft.status, ConditionType.FAILED):
        draft.drop_source()
        draft.waiting(WorkStage.FETCH, Reason.RETRYING, "The store no longer has the fetched source.")
        draft.status.reason = camel_case(why.code)
    return step


def _repeat_disrupted(
    draft: StatusDraft, stage: WorkStage, name: str, attempt: int, job: Job | None, why: AttemptFailure
) -> Step:
    """Return the step that repeats a disrupted attempt, which does not count against the retry limit."""
    count = _count_disruption(draft)
    draft.status.pending_since = None
    if count < DISRUPTION_LIMIT:
        return _retry(draft, stage, name, attempt, job, why, count)
    message = f"{FAILURES[FailureCode.DISRUPTED].sentence} {why.message or FAILURES[why.code].sentence}"
    return _end_run(draft, stage, job, AttemptFailure(FailureCode.DISRUPTED, message))


def lose_attempt(draft: StatusDraft, worker: Job | None, message: str) -> Step:
    """Return the step after a lease was lost by no fault of the song: it is repeated at once, and not counted."""
    if _count_disruption(draft) >= DISRUPTION_LIMIT:
        why = AttemptFailure(FailureCode.DISRUPTED, f"{FAILURES[FailureCode.DISRUPTED].sentence} {message}")
        return _end_run(draft, WorkStage.SEPARATE, worker, why)
    draft.status.retry_at = draft.now
    draft.waiting(WorkStage.SEPARATE, Reason.RETRYING, message)
    return Step(requeue_after=0)


def _count_disruption(draft: StatusDraft) -> int:
    """Count a disruption after which no replacement pod is seen; return the run's disruptions."""
    count = max(draft.observed.disruptions, draft.attempts.disruptions) + 1
    draft.status.attempts = draft.attempts.model_copy(update={"disruptions": count})
    return count


def _retry(
    draft: StatusDraft, stage: WorkStage, name: str, attempt: int, job: Job | None, why: AttemptFailure, count: int
) -> Step:
    draft.status.retry_at = due = retry_at(draft.now, draft.separation.uid, name, count, draft.settings, why.code)
    sentence = why.message or FAILURES[why.code].sentence
    draft.waiting(stage, Reason.RETRYING, f"Attempt {attempt} failed with {why.code}: {sentence}")
    draft.status.reason = OOM_KILLED if why.cause == OOM_KILLED else camel_case(why.code)
    return Step(requeue_after=(due - draft.now).total_seconds(), stop=job_to_stop(job))


def _end_run(draft: StatusDraft, stage: WorkStage, job: Job | None, why: AttemptFailure) -> Step:
    kind: ConditionType = STAGE_CONDITION[stage]
    sentence = why.message or FAILURES[why.code].sentence
    set_condition(draft.status, kind, "False", camel_case(why.code), draft.now, sentence)
    return draft.fail(why.code, stage, why.message, stop=job_to_stop(job))


def give_up_pod(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod) -> Step | None:
    """Return the step that abandons a pod whose kubelet does not respond, or None.

    A disrupted pod is replaced without counting a failure. It may still be running, cut off from the cluster: it
    does no harm, since no two pods write to the same keys.
    """
    if pod.disrupted and pod.gone_at is not None and pod.gone_at + _UNANSWERED < draft.now:
        draft.status.retry_at = draft.now
        _count_disruption(draft)
        draft.waiting(stage, Reason.RETRYING, f"The node of attempt {job.attempt} does not respond.")
        return Step(requeue_after=0, stop=job_to_stop(job))
    seconds = draft.deadlines.fetch if stage is WorkStage.FETCH else draft.deadlines.separate
    if pod.started_at is not None and pod.started_at + timedelta(seconds=seconds) + _OVERDUE < draft.now:
        return fail_attempt(draft, stage, job.attempt, job, AttemptFailure(_DEADLINES[stage]))
    return None


def job_to_stop(job: Job | None) -> tuple[Job, ...]:
    """Return a Job if it has to be stopped; a worker goes on with its other songs."""
    return (job,) if job is not None and not job.shape and job.live and job.deleted_at is None else ()


def _with_more_memory(
    draft: StatusDraft, stage: WorkStage, job: Job | None, why: AttemptFailure
) -> tuple[AttemptFailure, bool]:
    """Increase the memory of the attempts after an OOM-killed one.

    Returns the failure with an extended message, and whether retrying is pointless since no more memory is allowed.
    """
    profile = draft.settings.profiles.get(draft.spec.profile)
    if why.cause != OOM_KILLED or profile is None or job is None or job.memory is None:
        return why, False
    had, more = mebibytes(job.memory), more_memory(profile.stage(stage), job)
    if more is None:
        message = f"{why.message} It had {had}, the maximum of the profile {draft.spec.profile}."
        return replace(why, message=message), profile.stage(stage).largest_memory is not None
    draft.status.attempts = draft.attempts.model_copy(update={"memory": mebibytes(more)})
    return replace(why, message=f"{why.message} It had {had}; the next attempt gets {mebibytes(more)}."), False


def _with_more_disk(
    draft: StatusDraft, stage: WorkStage, job: Job | None, why: AttemptFailure
) -> tuple[AttemptFailure, bool]:
    """Increase the ephemeral storage of the attempts after one that exceeded its own; as `_with_more_memory`."""
    profile = draft.settings.profiles.get(draft.spec.profile)
    if profile is None or job is None or job.disk is None:
        return why, False
    most = profile.stage(stage).largest_disk(first_disk(draft.separation, stage, draft.settings))
    had, more = mebibytes(job.disk), mebibytes(min(most, int(job.disk * _GROWTH)))
    if job.disk >= most:
        return replace(why, message=f"{why.message} It had {had}, the maximum of the profile."), True
    draft.status.attempts = draft.attempts.model_copy(update={"ephemeral_storage": more})
    return replace(why, message=f"{why.message} It had {had}; the next attempt gets {more}."), False


def failure_of(job: Job, pods: Sequence[Pod]) -> AttemptFailure:
    """Return why a Job without a commit mark failed: by its pod's Outcome, else by the pod's status."""
    pod = last_pod(pods)
    if pod is None:
        return AttemptFailure(FailureCode.JOB_LOST)
    if pod.terminated == OOM_KILLED:
        return AttemptFailure(
            FailureCode.OUT_OF_MEMORY, "The worker was killed for exceeding its memory limit.", OOM_KILLED
        )
    if pod.outcome is not None and pod.outcome.code is not None:
        return AttemptFailure(pod.outcome.code, pod.outcome.message or "")
    if pod.reason == "DeadlineExceeded" and pod.started_at is None:
        return AttemptFailure(FailureCode.START_DEADLINE)
    if pod.reason == "DeadlineExceeded":
        late = FailureCode.FETCH_DEADLINE if job.stage is WorkStage.FETCH else FailureCode.SEPARATE_DEADLINE
        return AttemptFailure(late)
    if pod.reason == "Evicted":
        return _eviction(pod)
    if job.ended == "Complete" or pod.exit_code == 0:
        return AttemptFailure(FailureCode.ARTIFACT_MISMATCH, "The worker succeeded, but its files do not match.")
    return AttemptFailure(failure_of_exit_code(pod.exit_code or 0).code)


def _eviction(pod: Pod) -> AttemptFailure:
    """Return the failure of an evicted pod that was not disrupted: it exceeded the limit of a volume or container."""
    message = f"{FAILURES[FailureCode.EVICTED].sentence} {pod.message}".strip()
    cause = "" if _NODE_PRESSURE in pod.message else _DISK_EXCEEDED
    return AttemptFailure(FailureCode.EVICTED, message, cause)


def more_memory(profile: StageProfile, job: Job | None) -> int | None:
    """Return the memory in bytes of the attempt after an OOM-killed one; None if no more is allowed."""
    largest = profile.largest_memory
    if job is None or job.memory is None or largest is None or job.memory >= largest:
        return None
    return min(largest, int(job.memory * _GROWTH))


def retry_limit(code: FailureCode, limit: int) -> int:
    """Return the maximum number of retries after this failure: the requested limit, or the table's if lower."""
    most = FAILURES[code].most_retries
    return limit if most is None else min(limit, most)


def retry_at(now: datetime, uid: str, job_name: str, failures: int, settings: Settings, code: FailureCode) -> datetime:
    """Return when the next attempt is due, after `failures` failed attempts, the last one with `code`.

    Exponential backoff with a maximum and jitter over the upper half of the delay. The jitter is a hash: the same
    observed state always gives the same decision, and separations do not retry in step. For a code with a minimum
    delay the backoff starts at twice the minimum, so that the jitter never goes below it.
    """
    least = FAILURES[code].least_pause_seconds
    span = max(_backoff(failures, settings.retry_base_seconds, settings.retry_max_seconds), 2 * least)
    return now + _with_jitter(span, uid, job_name)


def requeue_at(now: datetime, job: Job, requeued: int, settings: Settings) -> datetime:
    """Return when a Job may be created again after so many of the stage had no scheduled pod in time."""
    span = _backoff(requeued, settings.requeue_base_seconds, settings.requeue_max_seconds)
    return now + _with_jitter(span, job.owner, job.name)


def _backoff(failures: int, base: float, most: float) -> float:
    return min(most, base * 2.0 ** min(failures - 1, 30))


def _with_jitter(span: float, uid: str, job_name: str) -> timedelta:
    digest = hashlib.sha256(f"{uid}\n{job_name}".encode()).digest()
    share = int.from_bytes(digest[:4]) / 2**32
    return timedelta(seconds=span * (0.5 + share / 2))
