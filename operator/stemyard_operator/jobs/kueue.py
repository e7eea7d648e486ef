"""Kueue: the queue of a Job, its labels and suspension, and the reason why its Workload waits. Pure.

Source: kueue.sigs.k8s.io, "Run a Job" and the Workload API (v1beta2). Kueue owns the suspension of a Job with a queue.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import LABEL_QUEUE, Reason
from stemyard_operator.config.settings import Settings
from stemyard_operator.model.pod import Workload
from stemyard_operator.model.separation import Separation

LABEL_PRIORITY: Final = "kueue.x-k8s.io/priority-class"
LABEL_JOB_UID: Final = "kueue.x-k8s.io/job-uid"
"""On a Workload: the uid of its Job."""
UNEXPLAINED: Final = timedelta(seconds=60)
"""Time after which a suspended Job without a Workload is taken to be suspended by another party."""


def queue_of(separation: Separation, stage: WorkStage, settings: Settings) -> str:
    """Return the LocalQueue of a stage's Job, "" if the operator's own limits apply."""
    profile = settings.profiles.get(separation.spec.profile)
    if not settings.kueue_enabled or profile is None:
        return ""
    if stage is WorkStage.FETCH:
        return profile.fetch.queue_name
    return separation.labels.get(LABEL_QUEUE) or profile.separate.queue_name or profile.queue_name


def queue_labels(separation: Separation, stage: WorkStage, settings: Settings) -> dict[str, str]:
    """Return the labels that submit a Job to Kueue."""
    queue = queue_of(separation, stage, settings)
    if not queue:
        return {}
    priority = separation.labels.get(LABEL_PRIORITY)
    return {LABEL_QUEUE: queue, **({LABEL_PRIORITY: priority} if priority else {})}


def suspension(separation: Separation, stage: WorkStage, settings: Settings) -> dict[str, bool]:
    """Return the field of a Job's spec that suspends it from the start, if it has a queue: Kueue alone resumes it.

    Its documentation asks for that: without it the Job would start if Kueue's webhook is away.
    """
    return {"suspend": True} if queue_of(separation, stage, settings) else {}


def workload_of(resource: Mapping[str, Any]) -> Workload:
    """Return the reason why a Workload waits, with Kueue's own message."""
    conditions = {one["type"]: one for one in (resource.get("status") or {}).get("conditions") or []}
    evicted = conditions.get("Evicted", {})
    if evicted.get("status") == "True":
        return Workload(Reason.EVICTED, _message(evicted))
    waiting = [conditions[kind] for kind in ("QuotaReserved", "Admitted") if kind in conditions]
    condition: Mapping[str, Any] = next((one for one in waiting if one.get("status") != "True"), {})
    return Workload(Reason.WAITING_FOR_QUOTA, _message(condition))


def _message(condition: Mapping[str, Any]) -> str:
    parts = (condition.get("reason", ""), condition.get("message", ""))
    return ": ".join(part for part in parts if part) or "Kueue has not stated a reason yet."
