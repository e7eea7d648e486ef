"""What follows from an attempt that came to nothing: another one later, or the end of the run. Pure."""

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
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.decision.status_draft import StatusDraft
from stemyard_operator.jobs.disk import mebibytes
from stemyard_operator.model.conditions import camel, set_condition
from stemyard_operator.model.job import Job
from stemyard_operator.model.pod import Pod, last_pod

OOM_KILLED: Final = "OOMKilled"
"""Kubernetes' word for a container that outgrew its memory; the next attempt gets more."""
DISRUPTION_LIMIT: Final = 20
"""Disruptions of one run after which it ends as `DISRUPTED`."""
_MEMORY_GROWTH: Final = 1.5
_DEADLINES: Final = {
    WorkStage.FETCH: FailureCode.FETCH_DEADLINE,
    WorkStage.SEPARATE: FailureCode.SEPARATE_DEADLINE,
}
_OVERDUE: Final = timedelta(seconds=120)
"""A pod that has outlived its deadline by this much is not stopped by its kubelet any more."""
_UNANSWERED: Final = timedelta(seconds=60)
"""A disrupted pod that should have been gone for this long is on a node that is dead or cut off."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that came to nothing."""

    code: FailureCode
    message: str = ""
    cause: str = ""
    """Kubernetes' own reason where that matters for the next attempt."""

    @property
    def retryable(self) -> bool:
        """Whether the failure table allows another attempt."""
        return FAILURES[self.code].retryable


def failed(turn: StatusDraft, stage: WorkStage, attempt: int, job: Job | None, why: Failed) -> Decision:
    """Account for an attempt that failed: another one later, or the end of the run."""
    name = job_name(turn.separation.name, turn.separation.uid, stage, turn.spec.run, attempt)
    turn.record(stage, name, attempt)
    why, hopeless = _with_more_memory(turn, stage, job, why)
    sentence = why.message or FAILURES[why.code].sentence
    count = turn.count_failure()
    if why.retryable and count <= retry_limit(why.code, turn.spec.retry_policy.limit) and not hopeless:
        turn.status.retry_at = due = retry_at(turn.now, turn.separation.uid, name, count, turn.settings, why.code)
        turn.waits(stage, Reason.RETRYING, f"Attempt {attempt} failed with {why.code}: {sentence}")
        turn.status.reason = OOM_KILLED if why.cause == OOM_KILLED else camel(why.code)
        return turn.step((due - turn.now).total_seconds(), stop=_stopped(job))
    kind: ConditionType = STAGE_CONDITION[stage]
    set_condition(turn.status, kind, "False", camel(why.code), turn.now, sentence)
    return turn.end(why.code, stage, why.message, stop=_stopped(job))


def given_up(turn: StatusDraft, stage: WorkStage, job: Job, pod: Pod) -> Decision | None:
    """Return the step that gives up a pod which nobody stops: its kubelet, whose task it is, does not answer.

    One that was disrupted is begun anew without counting as a failure. It may be at work still, cut off from us; it
    can do no harm, since no two pods write to the same place.
    """
    if pod.disrupted and pod.gone_at is not None and pod.gone_at + _UNANSWERED < turn.now:
        turn.status.retry_at = turn.now
        turn.status.attempts = turn.attempts.model_copy(update={"disruptions": turn.attempts.disruptions + 1})
        turn.waits(stage, Reason.RETRYING, f"The node of attempt {job.attempt} does not answer.")
        return turn.step(0, stop=_stopped(job))
    seconds = turn.spec.deadlines.fetch if stage is WorkStage.FETCH else turn.spec.deadlines.separate
    if pod.started_at is not None and pod.started_at + timedelta(seconds=seconds) + _OVERDUE < turn.now:
        return failed(turn, stage, job.attempt, job, Failed(_DEADLINES[stage]))
    return None


def _stopped(job: Job | None) -> tuple[Job, ...]:
    return (job,) if job is not None and job.live and job.deleted_at is None else ()


def _with_more_memory(turn: StatusDraft, stage: WorkStage, job: Job | None, why: Failed) -> tuple[Failed, bool]:
    """Give the attempts after one that was killed for want of memory more of it, and say so.

    Returns the failure with what is to be said, and whether another attempt is hopeless: there is no more to give.
    """
    profile = turn.settings.profiles.get(turn.spec.profile)
    if why.cause != OOM_KILLED or profile is None or job is None or job.memory is None:
        return why, False
    had, more = mebibytes(job.memory), more_memory(profile.stage(stage), job)
    if more is None:
        most = f"{why.message} It had {had}, the most that the profile {turn.spec.profile} allows."
        return replace(why, message=most), profile.stage(stage).largest_memory is not None
    turn.status.attempts = turn.attempts.model_copy(update={"memory": mebibytes(more)})
    return replace(why, message=f"{why.message} It had {had}; the next attempt gets {mebibytes(more)}."), False


def failure_of(job: Job, pods: Sequence[Pod]) -> Failed:
    """Return why a Job that ended without a commit mark failed: by its pod's Outcome, else by what Kubernetes says."""
    pod = last_pod(pods)
    if pod is None:
        return Failed(FailureCode.JOB_LOST)
    if pod.terminated == OOM_KILLED:
        return Failed(FailureCode.OUT_OF_MEMORY, "The worker was killed for want of memory.", OOM_KILLED)
    if pod.outcome is not None and pod.outcome.code is not None:
        return Failed(pod.outcome.code, pod.outcome.message or "")
    if pod.reason == "DeadlineExceeded":
        late = FailureCode.FETCH_DEADLINE if job.stage is WorkStage.FETCH else FailureCode.SEPARATE_DEADLINE
        return Failed(late)
    if pod.reason == "Evicted":
        return Failed(FailureCode.EVICTED)
    if job.ended == "Complete" or pod.exit_code == 0:
        return Failed(FailureCode.ARTIFACT_MISMATCH, "The worker ended well, but its files are not as it says.")
    return Failed(failure_of_exit_code(pod.exit_code or 0).code)


def more_memory(profile: StageProfile, job: Job | None) -> int | None:
    """Return the bytes that the attempt after one killed for want of memory gets; None where it can get no more."""
    largest = profile.largest_memory
    if job is None or job.memory is None or largest is None or job.memory >= largest:
        return None
    return min(largest, int(job.memory * _MEMORY_GROWTH))


def retry_limit(code: FailureCode, limit: int) -> int:
    """Return how often an attempt that failed so is tried again: what is asked for, and no more than can help."""
    most = FAILURES[code].most_retries
    return limit if most is None else min(limit, most)


def retry_at(now: datetime, uid: str, job_name: str, failures: int, settings: Settings, code: FailureCode) -> datetime:
    """Return when the next attempt is due, after so many that failed, the last one with `code`.

    Exponential, bounded, and spread over the upper half of its span by a hash instead of chance: the same world
    always gives the same decision, and different separations still do not retry in step. A code that wants a longer
    pause begins with twice that, so that half of it is still enough.
    """
    least, factor = FAILURES[code].least_pause_seconds, 2 ** min(failures - 1, 30)
    span = max(min(settings.retry_max_seconds, settings.retry_base_seconds * factor), 2 * least)
    digest = hashlib.sha256(f"{uid}\n{job_name}".encode()).digest()
    share = int.from_bytes(digest[:4]) / 2**32
    return now + timedelta(seconds=span * (0.5 + share / 2))
