"""What an attempt at a stage came to, and when the next one is due. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stemyard_contract.failures import FAILURES, FailureCode, failure_of_exit_code
from stemyard_contract.handover import WorkStage
from stemyard_operator.config.profiles import StageProfile
from stemyard_operator.config.settings import Settings
from stemyard_operator.model.job import Job
from stemyard_operator.model.pod import Pod, last_pod

OOM_KILLED: Final = "OOMKilled"
"""Kubernetes' word for a container that outgrew its memory; the next attempt gets more."""


DISRUPTION_LIMIT: Final = 20
"""Disruptions of one run after which it ends as `DISRUPTED`."""


_MEMORY_GROWTH: Final = 1.5


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
