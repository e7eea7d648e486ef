"""Typed view of a SeparationJob. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stemyard_contract.handover import MarkReference
from stemyard_contract.identity import track_of, with_own_objects
from stemyard_contract.mirror import MirrorRecord, record_from
from stemyard_contract.separationjob import (
    ANNOTATION_REDELIVER,
    LABEL_OWNER,
    REDELIVER_LIMIT,
    SeparationJobSpec,
    SeparationJobStatus,
    requested_run,
)
from stemyard_contract.source import UploadSource
from stemyard_contract.tracing import traceparent_of

Resource = Mapping[str, Any]
"""A Kubernetes object as raw JSON."""
LEFTOVER_SECONDS: Final = 24 * 3600
"""Seconds after which source audio and upload of a failed or cancelled run are removed."""


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
    owner: str | None
    """Id of the API key it belongs to, if results are not shared between keys."""
    labels: Mapping[str, str]
    spec: SeparationJobSpec
    status: SeparationJobStatus
    upload: UploadSource | None = None
    """The upload it is made from, if it is one of the API's."""
    redeliver: str | None = None
    """Value of the redelivery annotation."""
    traceparent: str | None = None
    """Trace of the request that created it."""

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


def separation_of(resource: Resource, api_namespace: str) -> Separation:
    """Return the typed view of a SeparationJob.

    Track id, owner, claims and uploads are the API's: elsewhere than in its namespace anybody may have written them, so
    they are ignored there. So are objects of other tracks in a status, everywhere.

    Raises:
        pydantic.ValidationError: it does not match its schema.
    """
    metadata, spec = resource["metadata"], SeparationJobSpec.model_validate(resource["spec"])
    status = SeparationJobStatus.model_validate(resource.get("status") or {})
    labels = metadata.get("labels") or {}
    of_api = metadata["namespace"] == api_namespace
    track_id = track_of(metadata["namespace"], metadata["name"], labels, api_namespace)
    return Separation(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=metadata.get("generation", 1),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        track_id=track_id,
        owner=labels.get(LABEL_OWNER) if of_api else None,
        labels=labels,
        spec=spec.model_copy(update={"run": requested_run(spec, status), **({} if of_api else {"claims": []})}),
        status=with_own_objects(status, track_id),
        upload=spec.source.upload if of_api else None,
        redeliver=((metadata.get("annotations") or {}).get(ANNOTATION_REDELIVER) or "")[:REDELIVER_LIMIT] or None,
        traceparent=traceparent_of(resource),
    )


def source_mark_of(status: SeparationJobStatus) -> MarkReference | None:
    """Return the commit mark of the accepted source that a status names; None if there is none, or none any more."""
    source = status.source
    if source is None or not source.mark_key or not source.mark_sha256:
        return None
    return MarkReference(key=source.mark_key, sha256=source.mark_sha256)


def mirror_record(resource: Resource, separation: Separation) -> MirrorRecord:
    """Return the record of a SeparationJob for the mirror, from the object and its typed view."""
    metadata = resource["metadata"]
    return record_from(metadata, separation.spec, separation.status, separation.track_id, separation.owner)


def controller_of(metadata: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Return the controller's owner reference if it is of that kind, else None."""
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("controller") and reference.get("kind") == kind:
            return dict(reference)
    return None
