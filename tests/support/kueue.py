"""A double of Kueue, which cannot be installed here: it suspends and admits Jobs and writes their Workloads.

It imitates only the documented Workload API (kueue.x-k8s.io/v1beta2) and `suspend`; nothing is queued.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from localcluster.control_plane import ControlPlane

VERSION: Final = "v1beta2"
_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OPEN: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: Final[Mapping[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "workloads.kueue.x-k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/kueue"},
    },
    "spec": {
        "group": "kueue.x-k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "Workload", "plural": "workloads", "singular": "workload"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}},
            }
        ],
    },
}


class Kueue:
    """Plays Kueue for the Jobs of one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._api = plane.api
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._workloads = f"/apis/kueue.x-k8s.io/{VERSION}/namespaces/{namespace}/workloads"

    def install(self) -> None:
        """Create the CRD."""
        self._api.apply(f"{_CRDS}/{CRD['metadata']['name']}", dict(CRD))

    def is_served(self) -> bool:
        """Whether Workloads can be created."""
        groups = self._api.get("/apis")["groups"]
        return any(group["name"] == "kueue.x-k8s.io" for group in groups)

    def hold(self, job: Mapping[str, Any], reason: str = "Pending", message: str = "no quota left") -> None:
        """Suspend a Job as Kueue's webhook does, and write why it waits."""
        name = job["metadata"]["name"]
        self._api.merge(f"{self._jobs}/{name}", {"spec": {"suspend": True}})
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True}
        metadata = {
            "name": f"job-{name}",
            "labels": {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]},
            "ownerReferences": [{**owner, "uid": job["metadata"]["uid"]}],
        }
        body = {"apiVersion": f"kueue.x-k8s.io/{VERSION}", "kind": "Workload", "metadata": metadata, "spec": {}}
        self._api.post(self._workloads, body)
        self._tell(name, [self._condition("QuotaReserved", "False", reason, message)])

    def admit(self, job: Mapping[str, Any]) -> None:
        """Reserve quota and let the Job go."""
        name = job["metadata"]["name"]
        self._tell(name, [self._condition(kind, "True", kind, "") for kind in ("QuotaReserved", "Admitted")])
        self._api.merge(f"{self._jobs}/{name}", {"spec": {"suspend": False}})

    def evict(self, job: Mapping[str, Any], message: str) -> None:
        """Take the quota back: the Job is suspended again, and its pods are deleted."""
        name = job["metadata"]["name"]
        evicted = self._condition("Evicted", "True", "Preempted", message)
        self._tell(name, [evicted, self._condition("QuotaReserved", "False", "Pending", "")])
        self._api.merge(f"{self._jobs}/{name}/status", {"status": {"active": 0, "ready": 0}})
        self._api.merge(f"{self._jobs}/{name}", {"spec": {"suspend": True}})

    def _tell(self, name: str, conditions: list[dict[str, Any]]) -> None:
        self._api.merge(f"{self._workloads}/job-{name}/status", {"status": {"conditions": conditions}})

    def _condition(self, kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}
