"""Jobs that are refused, or have no scheduled pod: tried again with backoff, until a deadline. Pure."""

from datetime import datetime, timedelta

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.separationjob import ConditionType, Reason
from stemyard_operator.decision.actions import Step
from stemyard_operator.decision.failure_policy import AttemptFailure, fail_attempt, job_to_stop, requeue_at
from stemyard_operator.decision.status_draft import StatusDraft
from stemyard_operator.model.conditions import condition_of
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Refusal
from stemyard_operator.model.pod import Pod


def wait_for_retry(draft: StatusDraft, stage: WorkStage, attempt: int) -> Step | None:
    """Return the step that waits until the next attempt is due, or None if it is.

    An attempt whose Job was refused counts against a deadline: `start` for fetch, `queue` for separate.
    """
    name = job_name(draft.separation.name, draft.separation.uid, stage, draft.spec.run, attempt)
    refusal = draft.observed.refusals.get(name)
    if refusal is not None and refusal.due > draft.now:
        _record_refusal(draft, stage, refusal)
    due, deadline = draft.status.retry_at, pending_deadline(draft, stage)
    if due is None or due <= draft.now:
        return None
    if deadline is not None and deadline <= draft.now:
        code = FailureCode.START_DEADLINE if stage is WorkStage.FETCH else FailureCode.QUEUE_DEADLINE
        return fail_waiting(draft, stage, code, draft.waits_for(stage))
    until = due if deadline is None else min(due, deadline)
    return Step(requeue_after=(until - draft.now).total_seconds())


def give_up_job(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None, why: str) -> Step | None:
    """Return the step that gives up a Job without a scheduled pod, or None while it may wait.

    At a deadline the run or the attempt fails: `queue` while the Job or its separation is queued, else `start`. Before
    that, a Job that is not in a queue of Kueue gives its slot to others, as Kueue's waitForPodsReady does.
    """
    deadlines = draft.deadlines
    if stage is WorkStage.SEPARATE:
        if draft.queue_deadline <= draft.now:
            return fail_waiting(draft, stage, FailureCode.QUEUE_DEADLINE, why, job_to_stop(job))
    elif job.queue and job.suspended:
        if job.since + timedelta(seconds=deadlines.queue) <= draft.now:
            return fail_waiting(draft, stage, FailureCode.QUEUE_DEADLINE, why, job_to_stop(job))
    else:
        since = job.since if job.queue else draft.status.pending_since or job.since
        if since + timedelta(seconds=deadlines.start) <= draft.now:
            failure = AttemptFailure(FailureCode.START_DEADLINE, why)
            return fail_attempt(draft, stage, job.attempt, job, failure)
    return _requeue(draft, stage, job, pod, why)


def _requeue(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None, why: str) -> Step | None:
    timeout = draft.settings.unscheduled_timeout_seconds
    since = _unscheduled_since(draft, stage, job, pod)
    if not timeout or job.queue or since + timedelta(seconds=timeout) > draft.now:
        return None
    requeued = (draft.attempts.requeued or 0) + 1
    draft.status.attempts = draft.attempts.model_copy(update={"requeued": requeued})
    draft.status.pending_since = draft.status.pending_since or job.since
    draft.status.retry_at = due = requeue_at(draft.now, job, requeued, draft.settings)
    message = f"No pod of the Job {job.name} was scheduled within {timeout:g} seconds. {why}"
    draft.waiting(stage, Reason.REQUEUED, message)
    return Step(requeue_after=(due - draft.now).total_seconds(), stop=job_to_stop(job))


def _unscheduled_since(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None) -> datetime:
    """Return since when a Job has no scheduled pod; a pod before that may have been disrupted."""
    if pod is not None and pod.created is not None:
        return max(job.since, pod.created)
    admitted = condition_of(draft.status, ConditionType.ADMITTED)
    if stage is WorkStage.FETCH or admitted is None or job.suspended:
        return job.since
    return draft.now if admitted.status == "True" else max(job.since, admitted.last_transition_time)


def pending_deadline(draft: StatusDraft, stage: WorkStage) -> datetime | None:
    """Return when the run fails unless a Job has been created, None while none is overdue."""
    since = draft.status.pending_since
    if since is None:
        return None
    if stage is WorkStage.SEPARATE:
        return draft.queue_deadline
    return since + timedelta(seconds=draft.deadlines.start)


def _record_refusal(draft: StatusDraft, stage: WorkStage, refusal: Refusal) -> None:
    draft.status.pending_since = draft.status.pending_since or max(refusal.at, draft.resumed_at or refusal.at)
    draft.status.retry_at = refusal.due
    draft.waiting(stage, Reason.JOB_REFUSED, refusal.message)


def fail_waiting(draft: StatusDraft, stage: WorkStage, code: FailureCode, why: str, stop: tuple[Job, ...] = ()) -> Step:
    """Fail the run; the message says what it waited for."""
    return draft.fail(code, stage, f"{FAILURES[code].sentence} {why}".strip(), stop)
