"""Typed view of a SeparationJob. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stemyard_contract.identity import track_of
from stemyard_contract.separationjob import (
    ANNOTATION_REDELIVER,
    LABEL_OWNER,
    REDELIVER_LIMIT,
    SeparationJobSpec,
    SeparationJobStatus,
)
from stemyard_contract.tracing import traceparent_of

Resource = Mapping[str, Any]
"""A Kubernetes object as raw JSON."""


def parse_time(text: str | None) -> datetime | None:
    """Return a Kubernetes timestamp as a datetime."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True, slots=True)
class Separation:
    """A SeparationJob."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: datetime
    deleting: bool
    track_id: str
    labels: Mapping[str, str]
    spec: SeparationJobSpec
    status: SeparationJobStatus
    redeliver: str | None = None
    """Value of the redelivery annotation."""
    traceparent: str | None = None
    """Trace of the request that created it."""

    @property
    def owner(self) -> str | None:
        """Id of the API key it belongs to, if results are not shared between keys."""
        return self.labels.get(LABEL_OWNER)

    @property
    def run_status(self) -> SeparationJobStatus:
        """Stored status of the requested run; empty if the status is of an earlier run."""
        return self.status if self.status.run == self.spec.run else SeparationJobStatus()

    @property
    def queue_key(self) -> tuple[int, float, str]:
        """Sort key in the queue: priority, then age."""
        return (-self.spec.priority, self.created.timestamp(), self.uid)

    @property
    def log_fields(self) -> dict[str, Any]:
        """Fields of every log line about it."""
        key = f"{self.namespace}/{self.name}"
        return {"track_id": self.track_id, "key": key, "uid": self.uid, "run": self.spec.run}


def separation_of(resource: Resource) -> Separation:
    """Return the typed view of a SeparationJob.

    Raises:
        pydantic.ValidationError: it does not match its schema.
    """
    metadata = resource["metadata"]
    return Separation(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=metadata.get("generation", 1),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        track_id=track_of(metadata["namespace"], metadata["name"], metadata.get("labels") or {}),
        labels=metadata.get("labels") or {},
        spec=SeparationJobSpec.model_validate(resource["spec"]),
        status=SeparationJobStatus.model_validate(resource.get("status") or {}),
        redeliver=((metadata.get("annotations") or {}).get(ANNOTATION_REDELIVER) or "")[:REDELIVER_LIMIT] or None,
        traceparent=traceparent_of(resource),
    )


def controller_of(metadata: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the controller's owner reference if it is of that kind, else None."""
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller") and reference.get("kind") == kind:
            return dict(reference)
    return None
