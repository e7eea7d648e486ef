"""What the operator knows of Kueue: which queue a Job goes to, and what its Workload tells. Pure.

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
"""A Job that is suspended for this long without a Workload is not held by Kueue."""


def queue_of(separation: Separation, stage: WorkStage, settings: Settings) -> str:
    """Return the LocalQueue that a stage's Job goes to, "" where our own limits bound it."""
    profile = settings.profiles.get(separation.spec.profile)
    if not settings.kueue_enabled or profile is None:
        return ""
    if stage is WorkStage.FETCH:
        return profile.fetch.queue_name
    return separation.labels.get(LABEL_QUEUE) or profile.separate.queue_name or profile.queue_name


def queue_labels(separation: Separation, stage: WorkStage, settings: Settings) -> dict[str, str]:
    """Return the labels by which Kueue takes a Job in."""
    queue = queue_of(separation, stage, settings)
    if not queue:
        return {}
    priority = separation.labels.get(LABEL_PRIORITY)
    return {LABEL_QUEUE: queue, **({LABEL_PRIORITY: priority} if priority else {})}


def workload_of(resource: Mapping[str, Any]) -> Workload:
    """Return what a Workload tells of its Job, in Kueue's own words."""
    conditions = {one["type"]: one for one in (resource.get("status") or {}).get("conditions") or []}
    evicted = conditions.get("Evicted", {})
    if evicted.get("status") == "True":
        return Workload(Reason.EVICTED, _words(evicted))
    waiting = [conditions[kind] for kind in ("QuotaReserved", "Admitted") if kind in conditions]
    told: Mapping[str, Any] = next((one for one in waiting if one.get("status") != "True"), {})
    return Workload(Reason.WAITING_FOR_QUOTA, _words(told))


def _words(condition: Mapping[str, Any]) -> str:
    parts = (condition.get("reason", ""), condition.get("message", ""))
    return ": ".join(part for part in parts if part) or "Kueue has not said why yet."
