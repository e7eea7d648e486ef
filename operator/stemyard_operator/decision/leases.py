"""Songs that are leased to workers: when one is leased, followed, lost, and when another worker is created. Pure.

A worker's Job belongs to no song. What a song knows of its lease is in its status: the worker, its pod, since when.
"""

from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import LeaseStatus, Reason
from stemyard_operator.decision.actions import (
    ConfirmJobAbsent,
    FindMark,
    ReadPods,
    ReadWorkload,
    Step,
    VerifyFinished,
    query,
)
from stemyard_operator.decision.failure_policy import AttemptFailure, fail_attempt, lose_attempt
from stemyard_operator.decision.pending import fail_waiting
from stemyard_operator.decision.status_draft import TICK_SECONDS, StatusDraft
from stemyard_operator.jobs.workers import WorkerPlan, fits_worker, worker_plan
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Refusal
from stemyard_operator.model.pod import Pod

SILENT_SECONDS: Final = 60
"""Time without a call after which a pod that is not ready is taken for lost: its node is dead or unreachable."""
_SEPARATE: Final = WorkStage.SEPARATE
_LOOK_SECONDS: Final = 10
_WAIT_SECONDS: Final = 60
_TERMINATED: Final = 143
"""Exit code of a separator that SIGTERM ended."""
_NEXT: Final = "A worker will take it."
_NO_SLOT: Final = "Waiting for a worker; another one waits for a free slot: the concurrency limit is reached."


def shared_worker(draft: StatusDraft) -> WorkerPlan | None:
    """Return the worker that the next attempt may share, or None if it gets a Job of its own.

    So does a song that has failed, or whose worker crashed, since one that crashes processes must meet no others twice,
    and one whose files need more room than a worker has.
    """
    if draft.attempts.failed or draft.attempts.alone or not fits_worker(draft.drafted, draft.settings):
        return None
    return worker_plan(draft.drafted, draft.settings)


# waiting


def lease_or_wait(draft: StatusDraft, attempt: int, plan: WorkerPlan, *, may_have_mark: bool) -> Step:
    """Return the step that leases the song to the pod that is offered, or else waits for one."""
    offer = draft.observed.leasing.offer
    if draft.queue_deadline <= draft.now:
        return fail_waiting(draft, _SEPARATE, FailureCode.QUEUE_DEADLINE, draft.waits_for(_SEPARATE))
    if offer is None or offer.worker.shape != plan.shape:
        return _await_worker(draft, plan)
    if may_have_mark and _SEPARATE not in draft.observed.searched_marks:
        return query(FindMark(_SEPARATE))
    draft.lease(offer, attempt)
    draft.urgent = True
    return Step(requeue_after=TICK_SECONDS)


def _await_worker(draft: StatusDraft, plan: WorkerPlan) -> Step:
    """Wait for a worker; create one if those there are have enough to do and there is a slot."""
    draft.status.pending_since = None
    draft.seconds_until_retry()
    view = draft.observed.leasing
    if view.ahead < view.free:
        return _expect_worker(draft, plan)
    if plan.queue and any(job.live and not job.ready for job in view.peers):
        return _wait(draft, plan, _NEXT)
    creation = plan.creation(max((job.attempt for job in view.peers), default=0) + 1)
    if creation.name in draft.observed.foreign_jobs:
        message = f"A Job named {creation.name} exists and is not a worker."
        return draft.fail(FailureCode.NAME_CONFLICT, _SEPARATE, message)
    refusal = draft.observed.refusals.get(creation.name)
    if refusal is not None and refusal.due > draft.now:
        return _wait_refused(draft, plan, refusal)
    if view.paused_until is not None and view.paused_until > draft.now:
        seconds = (view.paused_until - draft.now).total_seconds()
        return _wait(draft, plan, "No worker has started in time; another one is created later.", seconds=seconds)
    if not plan.queue and _SEPARATE not in draft.observed.free_stages:
        return _wait(draft, plan, _NO_SLOT, waiting_for=_SEPARATE)
    step = _wait(draft, plan, _NEXT)
    return Step(create=creation, waiting_shape=plan.shape, requeue_after=step.requeue_after)


def _expect_worker(draft: StatusDraft, plan: WorkerPlan) -> Step:
    """Wait for a worker that has no song; the first in the queue says why that has not started."""
    view = draft.observed.leasing
    starting = [job for job in view.peers if job.live and not job.ready]
    if view.ahead or not starting:
        return _wait(draft, plan, _NEXT)
    worker = starting[-1]
    if worker.suspended and draft.settings.kueue_enabled and worker.uid not in draft.observed.workloads:
        return query(ReadWorkload(worker))
    if draft.now - worker.since < timedelta(seconds=_LOOK_SECONDS):
        return _wait(draft, plan, _NEXT, seconds=_LOOK_SECONDS)
    if not worker.suspended and worker.uid not in draft.observed.pods:
        return query(ReadPods(worker))
    return _wait(draft, plan, _why_not_ready(draft, worker), seconds=_LOOK_SECONDS)


def _why_not_ready(draft: StatusDraft, worker: Job) -> str:
    workload = draft.observed.workloads.get(worker.uid)
    if worker.suspended:
        return workload.message if workload is not None else f"The worker {worker.name} is suspended."
    pods = draft.observed.pods.get(worker.uid, ())
    return next((pod.waits_for for pod in pods if pod.waits_for), f"The worker {worker.name} is starting.")


def _wait_refused(draft: StatusDraft, plan: WorkerPlan, refusal: Refusal) -> Step:
    seconds = (refusal.due - draft.now).total_seconds()
    return _wait(draft, plan, f"The Job of a worker was refused: {refusal.message}", seconds=seconds)


def _wait(
    draft: StatusDraft,
    plan: WorkerPlan,
    message: str,
    *,
    seconds: float = _WAIT_SECONDS,
    waiting_for: WorkStage | None = None,
) -> Step:
    draft.waiting(_SEPARATE, Reason.WAITING_FOR_WORKER, message)
    left = (draft.queue_deadline - draft.now).total_seconds()
    return Step(requeue_after=min(seconds, left), waiting_for=waiting_for, waiting_shape=plan.shape)


# following


def follow_lease(draft: StatusDraft, lease: LeaseStatus) -> Step | None:
    """Return the next step of a leased song, or None if its run is suspended: the lease is over.

    The worker is not notified: the desk refuses its next request about the song, and it drops the song.
    """
    view = draft.observed.leasing
    worker, reported = view.worker, view.reported
    finished = draft.observed.finished.get(worker.uid) if worker is not None else None
    if worker is not None and finished is not None:
        return query(VerifyFinished(worker, finished.reference))
    if draft.spec.suspend:
        draft.suspend(Reason.SUSPENDING, "Taking the song from its worker.")
        return None
    if reported is not None:
        if _SEPARATE not in draft.observed.searched_marks:
            return query(FindMark(_SEPARATE, reported.outcome.mark))
        code = reported.outcome.code or FailureCode.ARTIFACT_MISMATCH
        return fail_attempt(
            draft, _SEPARATE, lease.attempt, worker, AttemptFailure(code, reported.outcome.message or "")
        )
    if worker is None:
        return _worker_gone(draft, lease)
    if worker.live and worker.ready and view.caller in {"", lease.pod_uid}:
        return _at_work(draft, lease, worker)
    if worker.uid not in draft.observed.pods:
        return query(ReadPods(worker))
    pod = next((pod for pod in draft.observed.pods[worker.uid] if pod.uid == lease.pod_uid), None)
    return _pod_troubled(draft, lease, worker, pod)


def _at_work(draft: StatusDraft, lease: LeaseStatus, worker: Job) -> Step:
    """Go on, or end a song that takes longer than it may, and its worker with it, which does not respond then."""
    if _deadline(draft, lease) > draft.now:
        draft.working(_SEPARATE, Reason.RUNNING, admitted=Reason.LEASED)
        return Step(requeue_after=TICK_SECONDS)
    step = fail_attempt(draft, _SEPARATE, lease.attempt, worker, AttemptFailure(FailureCode.SEPARATE_DEADLINE))
    stop = (worker,) if worker.deleted_at is None else ()
    return Step(remove=step.remove, stop=stop, requeue_after=step.requeue_after)


def _deadline(draft: StatusDraft, lease: LeaseStatus) -> datetime:
    """Return when the song has taken too long; its time does not begin before its worker has ended the one before."""
    since = max(lease.since, draft.observed.leasing.held_since or lease.since)
    profile = draft.settings.profiles.get(draft.spec.profile)
    worker = profile.separate.worker if profile is not None else None
    turns = 1 + (worker.prefetch if worker is not None else 0)
    return since + timedelta(seconds=draft.deadlines.separate * turns)


def _worker_gone(draft: StatusDraft, lease: LeaseStatus) -> Step:
    """Repeat a song whose worker's Job does not exist any more, unless it left its commit mark."""
    name = draft.status.job or ""
    if name not in draft.observed.absent_jobs:
        return query(ConfirmJobAbsent(name))
    if _SEPARATE not in draft.observed.searched_marks:
        return query(FindMark(_SEPARATE))
    return lose_attempt(draft, None, f"The worker {name} of attempt {lease.attempt} is gone.")


def _pod_troubled(draft: StatusDraft, lease: LeaseStatus, worker: Job, pod: Pod | None) -> Step:
    """Evaluate a lease whose pod is not ready, has ended or was replaced."""
    silent = draft.observed.leasing.silent_seconds
    if pod is not None and worker.live and _may_go_on(pod) and silent < SILENT_SECONDS:
        draft.working(_SEPARATE, Reason.RUNNING, admitted=Reason.LEASED)
        return Step(requeue_after=min(_LOOK_SECONDS, SILENT_SECONDS - silent))
    if _SEPARATE not in draft.observed.searched_marks:
        return query(FindMark(_SEPARATE))
    crashed = pod is not None and _crashed(worker, pod)
    if crashed:
        draft.status.attempts = draft.attempts.model_copy(update={"alone": True})
    return lose_attempt(draft, worker, _how_lost(lease, worker, crashed=crashed))


def _may_go_on(pod: Pod) -> bool:
    return pod.exit_code is None and pod.phase not in {"Failed", "Succeeded"}


def _crashed(worker: Job, pod: Pod) -> bool:
    """Return whether a pod ended by itself without a word; by which of its songs is unknown."""
    if _may_go_on(pod) or pod.disrupted or worker.deleted_at is not None or pod.exit_code in {0, _TERMINATED}:
        return False
    return pod.outcome is None or pod.outcome.code is None


def _how_lost(lease: LeaseStatus, worker: Job, *, crashed: bool) -> str:
    if crashed:
        return f"The worker {worker.name} ended unexpectedly; the next attempt has a Job of its own."
    return f"The pod of the worker {worker.name} with attempt {lease.attempt} was lost."
