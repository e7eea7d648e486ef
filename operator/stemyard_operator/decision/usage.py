"""Resource usage of a run: the requests of its pods times the seconds they were scheduled. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus, UsageStatus
from stemyard_operator.config.profiles import StageProfile
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import ReadPods
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.model.conditions import holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import Pod, last_pod

ENDING_SECONDS: Final = 60
"""Seconds that the pods of a completed run have to end by themselves before their Jobs are stopped."""


def usage_after(
    observed: Observed, after: SeparationJobStatus, now: datetime, settings: Settings
) -> UsageStatus | None:
    """Return the usage of the run including the attempts that `after` ends, None if nothing is known yet.

    Each attempt is added by the one write that records its end, so none is counted twice. If its stage is done while
    its pod is still ending, that write notes the Job, and a later one adds it: the pod holds its resources until then.
    Pods that were replaced after a disruption are not counted: they are gone before their run time can be read. A lease
    counts for as long as the worker's device was held for the song, the start of the worker with its first song.
    """
    before = observed.separation.run_status
    usage, profile = before.usage, settings.profiles.get(observed.separation.spec.profile)
    if profile is None:
        return usage
    noted = ending_jobs(before)
    still = sorted(job.name for job in observed.jobs if job.name in noted and is_ending(job, after, now))
    for stage in WorkStage:
        job, pods = observed.last(stage)
        if job is None or job.name in still or not (job.name in noted or _ends_now(stage, job, before, after)):
            continue
        if job.name not in noted and holds(after, STAGE_CONDITION[stage]) and job in observed.jobs and job.live:
            still.append(job.name)
        else:
            usage = _added(usage, profile.stage(stage), job, pods, now)
    if before.lease is not None and after.lease != before.lease:
        since = observed.leasing.held_since or before.lease.since
        usage = _plus(usage, profile.separate, (now - since).total_seconds())
    if still == noted:
        return usage
    return (usage or UsageStatus()).model_copy(update={"ending_jobs": sorted(still) or None})


def is_ending(job: Job, status: SeparationJobStatus, now: datetime) -> bool:
    """Return whether a Job whose stage is done still has the time to end by itself."""
    given = status.finished_at is None or now < status.finished_at + timedelta(seconds=ENDING_SECONDS)
    return given and job.live and job.deleted_at is None and job.name in ending_jobs(status)


def unread_ends(observed: Observed, now: datetime) -> tuple[ReadPods, ...]:
    """Return the queries for the pods of noted Jobs that are to be counted: when they started may not be known yet."""
    status = observed.separation.run_status
    jobs = (job for job in observed.jobs if job.name in ending_jobs(status) and not is_ending(job, status, now))
    return tuple(ReadPods(job) for job in jobs if job.uid not in observed.pods)


def ending_jobs(status: SeparationJobStatus) -> list[str]:
    """Return the names of the Jobs that a status notes: their stage is done, and their pods were still ending."""
    return (status.usage.ending_jobs or []) if status.usage is not None else []


def _added(
    usage: UsageStatus | None, profile: StageProfile, job: Job, pods: Sequence[Pod], now: datetime
) -> UsageStatus | None:
    """Return the usage with that of an attempt; the same if its pod was never scheduled."""
    pod = last_pod(pods)
    if pod is None or pod.scheduled_at is None:
        return usage
    return _plus(usage, profile, ((job.ended_at or now) - pod.scheduled_at).total_seconds())


def _plus(usage: UsageStatus | None, profile: StageProfile, seconds: float) -> UsageStatus:
    """Return the usage with what a pod of this profile holds for so many seconds."""
    seconds, usage = max(0.0, seconds), usage or UsageStatus()
    gpus = profile.gpu.count if profile.gpu else 0
    return usage.model_copy(
        update={
            "cpu_seconds": round(usage.cpu_seconds + seconds * profile.cpu, 3),
            "gpu_seconds": round(usage.gpu_seconds + seconds * gpus, 3),
        }
    )


def _ends_now(stage: WorkStage, job: Job, before: SeparationJobStatus, after: SeparationJobStatus) -> bool:
    """Return whether a status is the first that records the end of an attempt."""
    return not holds(before, STAGE_CONDITION[stage]) and _has_ended(stage, after) and not _had_ended(job, before)


def _has_ended(stage: WorkStage, status: SeparationJobStatus) -> bool:
    """Return whether a status records the end of the last attempt at a stage."""
    failed = status.attempt_over and status.stage == stage
    return failed or status.finished_at is not None or holds(status, STAGE_CONDITION[stage])


def _had_ended(job: Job, status: SeparationJobStatus) -> bool:
    """Return whether a status has recorded the end of this attempt already; earlier attempts have always ended."""
    attempts = status.attempts
    recorded = 0 if attempts is None else attempts.fetch if job.stage is WorkStage.FETCH else attempts.separate
    return recorded > job.attempt or (recorded == job.attempt and _has_ended(job.stage, status))
