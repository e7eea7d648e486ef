"""What the pods of a run have held, and for how long: what they asked for, times seconds. Pure."""

from datetime import datetime

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus, UsageStatus
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.model.conditions import holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod


def used(observed: Observed, after: SeparationJobStatus, now: datetime, settings: Settings) -> UsageStatus | None:
    """Return what the run has used once `after` is its status, None where nothing is known of it yet.

    An attempt is added by the one write that tells of its end, so none is counted twice, whoever writes. Pods that
    were replaced after a disruption are gone before anybody can tell how long they ran: they are not counted.
    """
    before = observed.separation.run_status
    usage, profile = before.usage, settings.profiles.get(observed.separation.spec.profile)
    if profile is None:
        return usage
    for stage in WorkStage:
        if holds(before, STAGE_CONDITION[stage]) or not _is_over(stage, after):
            continue
        job, pods = observed.last(stage)
        pod = last_pod(pods)
        if job is None or pod is None or pod.scheduled_at is None or _was_over(job, before):
            continue
        seconds = max(0.0, ((job.ended_at or now) - pod.scheduled_at).total_seconds())
        asked, usage = profile.stage(stage), usage or UsageStatus()
        usage = UsageStatus(
            cpu_seconds=round(usage.cpu_seconds + seconds * asked.cpu, 3),
            gpu_seconds=round(usage.gpu_seconds + seconds * (asked.gpu.count if asked.gpu else 0), 3),
        )
    return usage


def _is_over(stage: WorkStage, status: SeparationJobStatus) -> bool:
    """Return whether a status tells that the last attempt at a stage has ended, however it did."""
    failed = status.retry_at is not None and status.stage == stage
    return failed or status.finished_at is not None or holds(status, STAGE_CONDITION[stage])


def _was_over(job: Job, status: SeparationJobStatus) -> bool:
    """Return whether a status has told that already of this attempt, as of each before the one it records."""
    attempts = status.attempts
    recorded = 0 if attempts is None else attempts.fetch if job.stage is WorkStage.FETCH else attempts.separate
    return recorded > job.attempt or (recorded == job.attempt and _is_over(job.stage, status))
