"""One stage of a run, fetch or separate: starts attempts, follows them and evaluates how they ended. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import MarkReference, WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.separationjob import Reason
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.decision.actions import (
    ConfirmJobAbsent,
    FindMark,
    ReadPods,
    ReadWorkload,
    Step,
    VerifyFinished,
    query,
)
from stemyard_operator.decision.deduplication import reuse_duplicate
from stemyard_operator.decision.failure_policy import (
    DISRUPTION_LIMIT,
    AttemptFailure,
    fail_attempt,
    failure_of,
    fetch_again,
    give_up_pod,
)
from stemyard_operator.decision.leases import follow_lease, lease_or_wait, shared_worker
from stemyard_operator.decision.pending import give_up_job, wait_for_retry
from stemyard_operator.decision.status_draft import HOLD_SECONDS, TICK_SECONDS, StatusDraft
from stemyard_operator.jobs.kueue import UNEXPLAINED, queue_of
from stemyard_operator.jobs.manifest import JOB_TTL_SECONDS, build_job
from stemyard_operator.model.job import Job, live_jobs
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import PULL_REASONS, Pod, last_pod

_LOOK_SECONDS: Final = 10
"""Interval at which a pod that does not start is checked."""
_STOP_LOOK_SECONDS: Final = 2
_GRACE_MARGIN: Final = timedelta(seconds=5)
_SLOT_LOOK_SECONDS: Final = 60
_NO_SLOT: Final = "Waiting for a free slot: the concurrency limit is reached."


def stop_jobs(observed: Observed, jobs: Sequence[Job], now: datetime) -> Step | None:
    """Return the step that stops these Jobs, or None once none of them can run pods any more."""
    stuck = [job for job in jobs if job.is_stuck(now) and job.uid not in observed.pods]
    if stuck:
        return query(*(ReadPods(job) for job in stuck))
    running = [job for job in jobs if not _past_grace(observed, job, now)]
    if not running:
        return None
    stop = tuple(job for job in running if job.deleted_at is None)
    return Step(stop=stop, requeue_after=_STOP_LOOK_SECONDS, write=False)


def _past_grace(observed: Observed, job: Job, now: datetime) -> bool:
    """Return whether a Job that is not deleted yet can no longer have running pods."""
    pods = observed.pods.get(job.uid)
    if pods is None or not job.is_stuck(now):
        return False
    return all(pod.gone_at is not None and pod.gone_at + _GRACE_MARGIN < now for pod in pods)


def advance(draft: StatusDraft, stage: WorkStage) -> Step | None:
    """Return the next step of a stage, or None if it is done: its commit mark was found."""
    jobs = draft.observed.of_stage(stage)
    last = jobs[-1] if jobs else None
    if (draft.observed.source if stage is WorkStage.FETCH else draft.observed.manifest) is not None:
        return _done(draft, stage, last)
    if stage is WorkStage.SEPARATE and draft.status.lease is not None:
        step = follow_lease(draft, draft.status.lease)
        return step or _start(draft, stage, draft.recorded(stage) + 1)
    suspending = _stop_for_suspension(draft, live_jobs(jobs)) if draft.spec.suspend else None
    if suspending is not None:
        return suspending
    recorded, finished = draft.recorded(stage), draft.status.attempt_over
    superseded = [job for job in jobs if job.live and (job is not last or (finished and job.attempt == recorded))]
    stopping = stop_jobs(draft.observed, superseded, draft.now)
    if stopping is not None:
        return stopping
    if last is not None and (last.attempt > recorded or (last.attempt == recorded and not finished)):
        return _follow(draft, stage, last)
    if recorded and not finished:
        return _lost_job(draft, stage, recorded)
    return _start(draft, stage, recorded + 1)


def _done(draft: StatusDraft, stage: WorkStage, last: Job | None) -> Step | None:
    """Record the last attempt at a stage that is done; its pod may still be ending."""
    if last is not None:
        draft.record(stage, last.name, last.attempt)
        seen = last.live and last.uid in draft.observed.last_seen_pods
        if not seen and last.uid not in draft.observed.pods:
            return query(ReadPods(last))
    return None


def _stop_for_suspension(draft: StatusDraft, live: Sequence[Job]) -> Step | None:
    """Return the step that stops the Jobs of a suspended run, recorded first: these attempts have not failed."""
    stopping = stop_jobs(draft.observed, live, draft.now)
    if stopping is None or stopping.queries:
        return stopping
    for job in live:
        draft.record(job.stage, job.name, job.attempt)
    draft.suspend(Reason.SUSPENDING, f"Stopping {', '.join(job.name for job in live)}.")
    return Step(requeue_after=stopping.requeue_after, stop=stopping.stop)


def _lost_job(draft: StatusDraft, stage: WorkStage, attempt: int) -> Step:
    """Evaluate a recorded Job that no longer exists: it succeeded only if its commit mark exists."""
    name = job_name(draft.separation.name, draft.separation.uid, stage, draft.spec.run, attempt)
    if name not in draft.observed.absent_jobs:
        return query(ConfirmJobAbsent(name))
    if stage not in draft.observed.searched_marks:
        return query(FindMark(stage))
    return fail_attempt(draft, stage, attempt, None, AttemptFailure(FailureCode.JOB_LOST))


def _start(draft: StatusDraft, stage: WorkStage, attempt: int) -> Step:
    """Start an attempt when it is due and a slot is free, unless a commit mark exists already."""
    if draft.spec.suspend:
        draft.suspend(Reason.SUSPENDED, "No Job is running; set spec.suspend to false to resume.")
        draft.status.pending_since = None
        return Step(requeue_after=draft.seconds_until_retry())
    reused = reuse_duplicate(draft) if stage is WorkStage.SEPARATE and not draft.recorded(stage) else None
    if reused is not None:
        return reused
    waiting = wait_for_retry(draft, stage, attempt)
    if waiting is not None:
        return waiting
    plan = shared_worker(draft) if stage is WorkStage.SEPARATE else None
    if plan is not None:
        return lease_or_wait(draft, attempt, plan, may_have_mark=not _is_first_attempt(draft, stage))
    previous = _previous_source_mark(draft, stage)
    if not _has_slot(draft, stage) and previous is None:
        return _wait_for_slot(draft, stage)
    if stage not in draft.observed.searched_marks and not _is_first_attempt(draft, stage):
        return query(FindMark(stage, previous, any_run=previous is not None))
    if previous is not None:
        draft.status.source = None
        return _start_afresh(draft, stage)
    return _create(draft, stage, attempt)


def _is_first_attempt(draft: StatusDraft, stage: WorkStage) -> bool:
    """Return whether no attempt of a stage can have written a commit mark yet: its Job would still exist.

    A finished Job is kept for its TTL, so the Job of a younger separation is in the cache, or its name is taken. If it
    was deleted by hand before it was recorded, its work is repeated.
    """
    age = draft.now - draft.separation.created
    new = draft.spec.run == 1 and not draft.recorded(stage)
    return new and age < timedelta(seconds=JOB_TTL_SECONDS / 2)


def _start_afresh(draft: StatusDraft, stage: WorkStage) -> Step:
    """Fetch again: the source audio of the previous run is gone."""
    if not _has_slot(draft, stage):
        return _wait_for_slot(draft, stage)
    return _create(draft, stage, 1)


def _has_slot(draft: StatusDraft, stage: WorkStage) -> bool:
    """Return whether a Job may be created now. Jobs in a Kueue queue are limited there."""
    return stage in draft.observed.free_stages or queue_of(draft.separation, stage, draft.settings) != ""


def _previous_source_mark(draft: StatusDraft, stage: WorkStage) -> MarkReference | None:
    """Return the source mark of the previous run, which makes a fetch unnecessary."""
    return draft.source_mark if stage is WorkStage.FETCH else None


def _wait_for_slot(draft: StatusDraft, stage: WorkStage) -> Step:
    draft.status.pending_since = None
    draft.seconds_until_retry()
    if stage is WorkStage.FETCH:
        return _wait_to_fetch(draft)
    deadline = draft.queue_deadline
    if deadline <= draft.now:
        return draft.fail(FailureCode.QUEUE_DEADLINE, stage)
    draft.waiting(stage, Reason.CONCURRENCY_LIMIT, _NO_SLOT)
    return Step(requeue_after=min(_SLOT_LOOK_SECONDS, (deadline - draft.now).total_seconds()), waiting_for=stage)


def _wait_to_fetch(draft: StatusDraft) -> Step:
    """Wait for a slot to fetch. After a failed attempt the condition keeps the failure, which says more."""
    pause = draft.observed.host_pause_seconds
    if draft.is_retrying(WorkStage.FETCH):
        draft.status.reason = Reason.CONCURRENCY_LIMIT
    else:
        message = "Fetches from the same host are spaced." if pause else _NO_SLOT
        draft.waiting(WorkStage.FETCH, Reason.CONCURRENCY_LIMIT, message)
    return Step(requeue_after=pause or _SLOT_LOOK_SECONDS, waiting_for=WorkStage.FETCH)


def _create(draft: StatusDraft, stage: WorkStage, attempt: int) -> Step:
    profile = draft.settings.profiles.get(draft.spec.profile)
    if profile is None:
        return draft.fail(FailureCode.INVALID_REQUEST, stage, f"The profile {draft.spec.profile} no longer exists.")
    memory = quantity_bytes(draft.attempts.memory) if draft.attempts.memory else profile.stage(stage).memory
    fetched = draft.source_mark if stage is WorkStage.SEPARATE else None
    creation = build_job(draft.drafted, stage, attempt, draft.settings, memory, fetched)
    if creation.name in draft.observed.foreign_jobs:
        return draft.fail(
            FailureCode.NAME_CONFLICT, stage, f"A Job named {creation.name} exists and has another owner."
        )
    draft.record(stage, creation.name, attempt)
    draft.attempt_begins()
    draft.waiting_for_pod(stage)
    draft.hold_seconds = HOLD_SECONDS if stage is WorkStage.SEPARATE else 0
    return Step(requeue_after=HOLD_SECONDS, create=creation)


def _follow(draft: StatusDraft, stage: WorkStage, job: Job) -> Step:
    """Follow the current attempt, or evaluate it once it has ended."""
    draft.record(stage, job.name, job.attempt)
    draft.record_pod(job)
    draft.attempt_begins()
    if not job.live or job.ready:
        draft.status.pending_since = None
    if not job.live:
        return _evaluate(draft, stage, job)
    reported = draft.observed.finished.get(job.uid)
    if reported is not None:
        return query(VerifyFinished(job, reported.reference))
    if max(draft.observed.disruptions, draft.attempts.disruptions) >= DISRUPTION_LIMIT:
        return draft.fail(FailureCode.DISRUPTED, stage, stop=(job,) if job.deleted_at is None else ())
    if job.deleted_at is not None:
        stopping = stop_jobs(draft.observed, [job], draft.now)
        return stopping or fail_attempt(draft, stage, job.attempt, job, AttemptFailure(FailureCode.JOB_LOST))
    if job.suspended:
        return _suspended(draft, stage, job)
    if job.ready:
        draft.working(stage, Reason.RUNNING)
        return Step(requeue_after=TICK_SECONDS if job.watched else _LOOK_SECONDS)
    age = (draft.now - job.since).total_seconds()
    if age < HOLD_SECONDS:
        draft.waiting_for_pod(stage)
        draft.hold_seconds = HOLD_SECONDS - age if stage is WorkStage.SEPARATE else 0
        return Step(requeue_after=HOLD_SECONDS - age)
    if job.uid not in draft.observed.pods:
        return query(ReadPods(job))
    return _pod_starting(draft, stage, job, last_pod(draft.observed.pods[job.uid]))


def _suspended(draft: StatusDraft, stage: WorkStage, job: Job) -> Step:
    """Report why a Job is suspended: by Kueue until there is quota, or by another party. It is never modified."""
    if draft.settings.kueue_enabled and job.uid not in draft.observed.workloads:
        return query(ReadWorkload(job))
    draft.restart_queue_time()
    workload = draft.observed.workloads.get(job.uid)
    unexplained = job.since + UNEXPLAINED - draft.now
    who = "and Kueue has no Workload for it" if job.queue else "and not by Stemyard"
    message = workload.message if workload is not None else f"The Job {job.name} is suspended, {who}."
    given_up = give_up_job(draft, stage, job, None, message)
    if given_up is not None:
        return given_up
    if workload is not None:
        draft.waiting(stage, workload.reason, message)
    elif unexplained <= timedelta():
        draft.waiting(stage, Reason.SUSPENDED_EXTERNALLY, message)
    else:
        draft.waiting_for_pod(stage)
        return Step(requeue_after=min(_LOOK_SECONDS, unexplained.total_seconds()))
    return Step(requeue_after=_LOOK_SECONDS)


def _evaluate(draft: StatusDraft, stage: WorkStage, job: Job) -> Step:
    """Evaluate an attempt that has ended: by its commit mark, else by why it failed."""
    pods = draft.observed.pods.get(job.uid)
    if pods is None:
        return query(ReadPods(job))
    pod = last_pod(pods)
    if stage not in draft.observed.searched_marks:
        return query(FindMark(stage, pod.outcome.mark if pod and pod.outcome else None))
    failure = failure_of(job, pods)
    if stage is WorkStage.SEPARATE and failure.code is FailureCode.ARTIFACT_MISMATCH and draft.may_fetch_again:
        if WorkStage.FETCH not in draft.observed.searched_marks:
            return query(FindMark(WorkStage.FETCH, draft.source_mark, any_run=True))
        if draft.observed.source is None:
            return fetch_again(draft, job, failure)
    return fail_attempt(draft, stage, job.attempt, job, failure)


def _pod_starting(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None) -> Step:
    """Report why a pod does not run yet, and fail the attempt after its deadline."""
    scheduled = pod.scheduled_at if pod else None
    if scheduled is not None:
        draft.status.pending_since = None
    if pod is not None and pod.running:
        draft.working(stage, Reason.RUNNING)
        return give_up_pod(draft, stage, job, pod) or Step(requeue_after=_LOOK_SECONDS)
    if pod is None or scheduled is None:
        return _unscheduled(draft, stage, job, pod)
    if scheduled + timedelta(seconds=draft.deadlines.start) <= draft.now:
        return fail_attempt(draft, stage, job.attempt, job, AttemptFailure(FailureCode.START_DEADLINE, pod.waits_for))
    draft.working(stage, Reason.IMAGE_PULL if pod.waiting in PULL_REASONS else Reason.STARTING, pod.waits_for)
    return Step(requeue_after=_LOOK_SECONDS)


def _unscheduled(draft: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None) -> Step:
    """Report why a Job has no scheduled pod, and give it up when it has waited for too long."""
    draft.restart_queue_time()
    no_pod = f"The Job {job.name} has no pod yet; its events say why, often a quota."
    message = pod.unschedulable if pod else no_pod
    given_up = give_up_job(draft, stage, job, pod, message)
    if given_up is not None:
        return given_up
    reason = Reason.UNSCHEDULABLE if pod and pod.unschedulable else Reason.WAITING
    if job.queue:
        draft.working(stage, reason, message, admitted=Reason.ADMITTED)
    else:
        draft.waiting(stage, reason, message)
    return Step(requeue_after=_LOOK_SECONDS)
