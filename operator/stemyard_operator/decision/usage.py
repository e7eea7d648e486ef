"""Resource usage of a run: the requests of its pods times the seconds they were scheduled. Pure."""

from datetime import datetime

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus, UsageStatus
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.status import STAGE_CONDITION
from stemyard_operator.model.conditions import holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.pod import last_pod


def usage_after(
    observed: Observed, after: SeparationJobStatus, now: datetime, settings: Settings
) -> UsageStatus | None:
    """Return the usage of the run including the attempts that `after` ends, None if nothing is known yet.

    Each attempt is added by the one write that records its end, so none is counted twice. Pods that were replaced after
    a disruption are not counted: they are gone before their run time can be read.
    """
    before = observed.separation.run_status
    usage, profile = before.usage, settings.profiles.get(observed.separation.spec.profile)
    if profile is None:
        return usage
    for stage in WorkStage:
        if holds(before, STAGE_CONDITION[stage]) or not _has_ended(stage, after):
            continue
        job, pods = observed.last(stage)
        pod = last_pod(pods)
        if job is None or pod is None or pod.scheduled_at is None or _had_ended(job, before):
            continue
        seconds = max(0.0, ((job.ended_at or now) - pod.scheduled_at).total_seconds())
        requests, usage = profile.stage(stage), usage or UsageStatus()
        usage = UsageStatus(
            cpu_seconds=round(usage.cpu_seconds + seconds * requests.cpu, 3),
            gpu_seconds=round(usage.gpu_seconds + seconds * (requests.gpu.count if requests.gpu else 0), 3),
        )
    return usage


def _has_ended(stage: WorkStage, status: SeparationJobStatus) -> bool:
    """Return whether a status records the end of the last attempt at a stage."""
    failed = status.retry_at is not None and status.stage == stage
    return failed or status.finished_at is not None or holds(status, STAGE_CONDITION[stage])


def _had_ended(job: Job, status: SeparationJobStatus) -> bool:
    """Return whether a status has recorded the end of this attempt already; earlier attempts have always ended."""
    attempts = status.attempts
    recorded = 0 if attempts is None else attempts.fetch if job.stage is WorkStage.FETCH else attempts.separate
    return recorded > job.attempt or (recorded == job.attempt and _has_ended(job.stage, status))
