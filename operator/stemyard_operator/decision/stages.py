"""One stage of a run, fetch or separate: start an attempt, watch it, and judge how it ended. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import MarkReference, WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.separationjob import Reason
from stemyard_operator.config.profiles import quantity_bytes
from stemyard_operator.decision.actions import ConfirmAbsent, Decision, LookForMark, ReadPods, ReadWorkload, ask
from stemyard_operator.decision.deduplication import reuse
from stemyard_operator.decision.failure_policy import DISRUPTION_LIMIT, Failed, failed, failure_of, given_up
from stemyard_operator.decision.status_draft import HOLD_SECONDS, LOOK_SECONDS, TICK_SECONDS, StatusDraft
from stemyard_operator.jobs.kueue import UNEXPLAINED, queue_of
from stemyard_operator.jobs.manifest import JOB_TTL_SECONDS, build_job
from stemyard_operator.model.job import Job, live_jobs
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import PULL_REASONS, Pod, last_pod

_STOP_LOOK_SECONDS: Final = 2
_STUCK_SECONDS: Final = 40
"""A Job that is still being deleted after this is looked at: its node may be dead."""
_GRACE_MARGIN: Final = timedelta(seconds=5)
_ROOM_SECONDS: Final = 60


def stopping(observed: Observed, jobs: Sequence[Job], now: datetime) -> Decision | None:
    """Return the step that stops these Jobs, or None once none of them can run pods any longer."""
    stuck = [job for job in jobs if _stuck(job, now) and job.uid not in observed.pods]
    if stuck:
        return ask(*(ReadPods(job) for job in stuck))
    running = [job for job in jobs if not _past_grace(observed, job, now)]
    if not running:
        return None
    return Decision(stop=tuple(job for job in running if job.deleted_at is None), again_in=_STOP_LOOK_SECONDS)


def _stuck(job: Job, now: datetime) -> bool:
    return job.deleted_at is not None and now - job.deleted_at > timedelta(seconds=_STUCK_SECONDS)


def _past_grace(observed: Observed, job: Job, now: datetime) -> bool:
    """Return whether a Job that does not go away can no longer have pods at work."""
    pods = observed.pods.get(job.uid)
    if pods is None or not _stuck(job, now):
        return False
    return all(pod.gone_at is not None and pod.gone_at + _GRACE_MARGIN < now for pod in pods)


def advance(turn: StatusDraft, stage: WorkStage) -> Decision | None:
    """Return the next step of a stage, or None when its commit mark was found: the stage is done."""
    jobs = turn.observed.of_stage(stage)
    last = jobs[-1] if jobs else None
    if (turn.observed.source if stage is WorkStage.FETCH else turn.observed.manifest) is not None:
        if last is not None:
            turn.record(stage, last.name, last.attempt)
        return None
    suspending = _suspending(turn, live_jobs(jobs)) if turn.spec.suspend else None
    if suspending is not None:
        return suspending
    recorded, over = turn.recorded(stage), turn.status.retry_at is not None
    overtaken = [job for job in jobs if job.live and (job is not last or (over and job.attempt == recorded))]
    waiting = stopping(turn.observed, overtaken, turn.now)
    if waiting is not None:
        return waiting
    if last is not None and (last.attempt > recorded or (last.attempt == recorded and not over)):
        return _watch(turn, stage, last)
    if recorded and not over:
        return _lost(turn, stage, recorded)
    return _start(turn, stage, recorded + 1)


def _suspending(turn: StatusDraft, live: Sequence[Job]) -> Decision | None:
    """Return the step that stops what is at work, written down before it is done: such an attempt has not failed."""
    waiting = stopping(turn.observed, live, turn.now)
    if waiting is None or waiting.questions:
        return waiting
    for job in live:
        turn.record(job.stage, job.name, job.attempt)
    turn.suspend(Reason.SUSPENDING, f"Stopping {', '.join(job.name for job in live)}.")
    return turn.step(waiting.again_in, stop=waiting.stop)


def _lost(turn: StatusDraft, stage: WorkStage, attempt: int) -> Decision:
    """Judge a Job that was recorded and is not there: only its mark could speak for it."""
    name = job_name(turn.separation.name, turn.separation.uid, stage, turn.spec.run, attempt)
    if name not in turn.observed.absent:
        return ask(ConfirmAbsent(name))
    if stage not in turn.observed.looked:
        return ask(LookForMark(stage))
    return failed(turn, stage, attempt, None, Failed(FailureCode.JOB_LOST))


def _start(turn: StatusDraft, stage: WorkStage, attempt: int) -> Decision:
    """Start an attempt as soon as it is due and there is room; a mark that is already there saves it."""
    if turn.spec.suspend:
        turn.suspend(Reason.SUSPENDED, "Nothing is at work; set spec.suspend to false to go on.")
        return turn.step()
    spared = reuse(turn) if stage is WorkStage.SEPARATE and not turn.recorded(stage) else None
    if spared is not None:
        return spared
    due = turn.status.retry_at
    if due is not None and due > turn.now:
        return turn.step((due - turn.now).total_seconds())
    hint = _earlier_source(turn, stage)
    if not _has_room(turn, stage) and hint is None:
        return _wait_for_room(turn, stage)
    if stage not in turn.observed.looked and not _is_first(turn, stage):
        return ask(LookForMark(stage, hint, any_run=hint is not None))
    if hint is not None:
        turn.status.source = None
        return _start_afresh(turn, stage)
    return _create(turn, stage, attempt)


def _is_first(turn: StatusDraft, stage: WorkStage) -> bool:
    """Return whether no attempt of a stage can have come to anything yet: a Job that left a mark would still be there.

    Kubernetes keeps a finished Job for a while, so one made for a separation that is younger is known, or in the way
    of another of its name. Where somebody deleted it by hand before it was recorded, its work is done once more.
    """
    age = turn.now - turn.separation.created
    new = turn.spec.run == 1 and not turn.recorded(stage)
    return new and age < timedelta(seconds=JOB_TTL_SECONDS / 2)


def _start_afresh(turn: StatusDraft, stage: WorkStage) -> Decision:
    """Fetch again: what an earlier run fetched is gone."""
    if not _has_room(turn, stage):
        return _wait_for_room(turn, stage)
    return _create(turn, stage, 1)


def _has_room(turn: StatusDraft, stage: WorkStage) -> bool:
    """Return whether a Job may be made now; what goes through a queue of Kueue is bounded there."""
    return stage in turn.observed.room or queue_of(turn.separation, stage, turn.settings) != ""


def _earlier_source(turn: StatusDraft, stage: WorkStage) -> MarkReference | None:
    """Return the mark of an earlier run's source, which spares this run its fetch."""
    source = turn.status.source
    if stage is not WorkStage.FETCH or source is None or not source.mark_key or not source.mark_sha256:
        return None
    return MarkReference(key=source.mark_key, sha256=source.mark_sha256)


def _wait_for_room(turn: StatusDraft, stage: WorkStage) -> Decision:
    if stage is WorkStage.FETCH:
        return _wait_to_fetch(turn)
    late = turn.queue_deadline
    if late <= turn.now:
        return turn.end(FailureCode.QUEUE_DEADLINE, stage)
    turn.waits(stage, Reason.CONCURRENCY_LIMIT, "Waiting for others to be separated.")
    return turn.step(min(_ROOM_SECONDS, (late - turn.now).total_seconds()), waits_for=stage)


def _wait_to_fetch(turn: StatusDraft) -> Decision:
    """Wait for room to fetch. An attempt that failed says more of a retry than that it waits."""
    rest = turn.observed.rest_seconds
    if turn.recorded(WorkStage.FETCH):
        turn.status.reason = Reason.CONCURRENCY_LIMIT
    else:
        message = "Fetches from one host are spaced." if rest else "Waiting for others to be fetched."
        turn.waits(WorkStage.FETCH, Reason.CONCURRENCY_LIMIT, message)
    return turn.step(rest or _ROOM_SECONDS, waits_for=WorkStage.FETCH)


def _create(turn: StatusDraft, stage: WorkStage, attempt: int) -> Decision:
    profile = turn.settings.profiles.get(turn.spec.profile)
    if profile is None:
        return turn.end(FailureCode.INVALID_REQUEST, stage, f"There is no profile {turn.spec.profile} any more.")
    memory = quantity_bytes(turn.attempts.memory) if turn.attempts.memory else profile.stage(stage).memory
    source = turn.status.source
    fetched = (
        MarkReference(key=source.mark_key, sha256=source.mark_sha256)
        if stage is WorkStage.SEPARATE and source and source.mark_key and source.mark_sha256
        else None
    )
    creation = build_job(turn.drafted, stage, attempt, turn.settings, memory, fetched)
    if creation.name in turn.observed.foreign:
        return turn.end(FailureCode.NAME_CONFLICT, stage, f"A Job named {creation.name} belongs to something else.")
    turn.record(stage, creation.name, attempt)
    turn.status.retry_at = None
    turn.waits_at_first(stage)
    turn.patience = HOLD_SECONDS if stage is WorkStage.SEPARATE else 0
    return turn.step(HOLD_SECONDS, create=creation)


def _watch(turn: StatusDraft, stage: WorkStage, job: Job) -> Decision:
    """Follow the attempt that is at work, or judge it."""
    turn.record(stage, job.name, job.attempt)
    turn.name_pod(job)
    turn.status.retry_at = None
    if not job.live:
        return _judge(turn, stage, job)
    if max(turn.observed.disruptions, turn.attempts.disruptions) >= DISRUPTION_LIMIT:
        return turn.end(FailureCode.DISRUPTED, stage, stop=(job,) if job.deleted_at is None else ())
    if job.deleted_at is not None:
        gone = stopping(turn.observed, [job], turn.now)
        return gone or failed(turn, stage, job.attempt, job, Failed(FailureCode.JOB_LOST))
    if job.suspended:
        return _held(turn, stage, job)
    if job.ready:
        turn.works(stage, Reason.RUNNING)
        return turn.step(TICK_SECONDS)
    age = (turn.now - job.since).total_seconds()
    if age < HOLD_SECONDS:
        turn.waits_at_first(stage)
        turn.patience = HOLD_SECONDS - age if stage is WorkStage.SEPARATE else 0
        return turn.step(HOLD_SECONDS - age)
    if job.uid not in turn.observed.pods:
        return ask(ReadPods(job))
    return _starting(turn, stage, job, last_pod(turn.observed.pods[job.uid]))


def _held(turn: StatusDraft, stage: WorkStage, job: Job) -> Decision:
    """Say why a Job is suspended: by Kueue until there is quota, or by somebody unknown. It is never touched."""
    if turn.settings.kueue_enabled and job.uid not in turn.observed.workloads:
        return ask(ReadWorkload(job))
    if stage is WorkStage.SEPARATE and turn.queue_deadline <= turn.now:
        return turn.end(FailureCode.QUEUE_DEADLINE, stage, stop=(job,))
    workload = turn.observed.workloads.get(job.uid)
    unexplained = job.since + UNEXPLAINED - turn.now
    if workload is not None:
        turn.waits(stage, workload.reason, workload.message)
    elif unexplained <= timedelta():
        who = "and Kueue has no Workload for it" if job.queue else "and not by Stemyard"
        turn.waits(stage, Reason.SUSPENDED_EXTERNALLY, f"The Job {job.name} is suspended, {who}.")
    else:
        turn.waits_at_first(stage)
        return turn.step(unexplained.total_seconds())
    return turn.step(LOOK_SECONDS)


def _judge(turn: StatusDraft, stage: WorkStage, job: Job) -> Decision:
    """Judge an attempt that has ended: by its mark, else by why it failed."""
    pods = turn.observed.pods.get(job.uid)
    if pods is None:
        return ask(ReadPods(job))
    pod = last_pod(pods)
    if stage not in turn.observed.looked:
        return ask(LookForMark(stage, pod.outcome.mark if pod and pod.outcome else None))
    return failed(turn, stage, job.attempt, job, failure_of(job, pods))


def _starting(turn: StatusDraft, stage: WorkStage, job: Job, pod: Pod | None) -> Decision:
    """Say why a pod does not run yet, and give it up when it is too late."""
    scheduled = pod.scheduled_at if pod else None
    if pod is not None and pod.running:
        turn.works(stage, Reason.RUNNING)
        return given_up(turn, stage, job, pod) or turn.step(LOOK_SECONDS)
    if stage is WorkStage.SEPARATE and scheduled is None:
        late = turn.queue_deadline
        if late <= turn.now:
            return turn.end(FailureCode.QUEUE_DEADLINE, stage, stop=(job,))
    elif (scheduled or job.since) + timedelta(seconds=turn.spec.deadlines.start) <= turn.now:
        return failed(turn, stage, job.attempt, job, Failed(FailureCode.START_DEADLINE, _why(pod)))
    if pod is None or scheduled is None:
        stuck = bool(pod and pod.unschedulable)
        reason = Reason.UNSCHEDULABLE if stuck else Reason.WAITING
        none = f"The Job {job.name} has no pod yet; its events say why, often a quota."
        message = pod.unschedulable if pod else none
        if job.queue:
            turn.works(stage, reason, message, admitted=Reason.ADMITTED)
        else:
            turn.waits(stage, reason, message)
    else:
        turn.works(stage, Reason.IMAGE_PULL if pod.waiting in PULL_REASONS else Reason.STARTING, _why(pod))
    return turn.step(LOOK_SECONDS)


def _why(pod: Pod | None) -> str:
    if pod is None:
        return ""
    return ": ".join(part for part in (pod.waiting, pod.waiting_message) if part) or pod.unschedulable
