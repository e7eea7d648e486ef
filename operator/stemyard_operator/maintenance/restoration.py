"""Which SeparationJobs to create again from the manifests in the bucket, with which spec and status. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from stemyard_contract.handover import JobRequest, Manifest, MarkReference, Room, WorkStage
from stemyard_contract.identity import cache_key, object_prefix, object_token, track_id, track_of
from stemyard_contract.separationjob import (
    API_TTL_SECONDS,
    API_VERSION,
    KIND,
    LABEL_OWNER,
    LABEL_TRACK,
    ConditionType,
    Reason,
    SeparationJobSpec,
    SourceStatus,
)
from stemyard_operator.decision.status import complete, derive_phase, first_status, media_fields
from stemyard_operator.model.conditions import set_condition
from stemyard_operator.model.observed import FoundManifest
from stemyard_operator.model.separation import Separation


def manifests_among(keys: Iterable[str]) -> list[str]:
    """Return the keys of manifests."""
    return [key for key in keys if key.endswith(f"/{WorkStage.SEPARATE.mark_file}")]


def track_of_key(key: str, install_id: str) -> str:
    """Return the track that a key of the room `stems` belongs to, "" if it is not such a key."""
    parts = key.removeprefix(f"{install_id}/{Room.STEMS}/").split("/")
    return parts[0] if len(parts) == 3 else ""


def restorable(key: str, content: bytes, install_id: str, api_namespace: str) -> FoundManifest | None:
    """Return a manifest that can be restored from, else None.

    Its key is the one that the pod it names had to use, and it contains the request; manifests written before they
    contained the request cannot be restored from. A pod wrote it, so the request must be the one of the track: a track
    of the API has the id of its request, and any other that of its SeparationJob.
    """
    try:
        mark = Manifest.model_validate_json(content)
    except ValidationError:
        return None
    track = track_of_key(key, install_id)
    token = object_token(mark.uid, mark.run, mark.pod_uid, Room.STEMS)
    if key != object_prefix(install_id, Room.STEMS, track, token) + WorkStage.SEPARATE.mark_file:
        return None
    if mark.request is None or not _requests(mark, mark.request, track, api_namespace):
        return None
    found = FoundManifest(MarkReference(key=key, sha256=hashlib.sha256(content).hexdigest()), mark)
    try:
        resource_of(found)
    except ValidationError:
        return None
    return found


def _requests(mark: Manifest, request: JobRequest, track: str, api_namespace: str) -> bool:
    if track_of(request.namespace, request.name, {LABEL_TRACK: track}, api_namespace) != track:
        return False
    if not _of_api(request, track):
        return request.owner is None
    key = cache_key(request.source, mark.model, mark.stems, mark.output, request.owner, request.quality)
    return track == track_id(key)


def _of_api(request: JobRequest, track: str) -> bool:
    return track != f"{request.namespace}.{request.name}"


def newest(found: Iterable[FoundManifest], install_id: str) -> list[FoundManifest]:
    """Return the manifest of each track's last run, in the order of the tracks."""
    by_track: dict[str, FoundManifest] = {}
    for manifest in sorted(found, key=lambda manifest: (manifest.mark.run, published_at(manifest))):
        by_track[track_of_key(manifest.reference.key, install_id)] = manifest
    return [by_track[track] for track in sorted(by_track)]


def published_at(found: FoundManifest) -> datetime:
    """Return when a result was published."""
    return found.mark.published_at or datetime.fromtimestamp(0, UTC)


def expired(found: FoundManifest, now: datetime) -> bool:
    """Return whether a result has outlived the time to live that its SeparationJob would have."""
    ttl = SeparationJobSpec.model_validate(resource_of(found)["spec"]).ttl_seconds_after_finished
    return ttl is not None and published_at(found) + timedelta(seconds=ttl) <= now


def resource_of(found: FoundManifest) -> dict[str, Any]:
    """Return the SeparationJob to create.

    It is suspended, so that a running operator starts no Job before the status says that the run is completed.
    """
    mark, request = found.mark, found.mark.request
    if request is None:
        raise ValueError("the manifest does not contain the request")
    track = found.reference.key.split("/")[2]
    labels = {LABEL_TRACK: track} if _of_api(request, track) else {}
    if request.owner:
        labels[LABEL_OWNER] = request.owner
    spec = SeparationJobSpec(
        source=request.source,
        model=mark.model,
        quality=request.quality,
        stems=list(mark.stems),
        output=mark.output,
        run=mark.run,
        suspend=True,
        ttl_seconds_after_finished=API_TTL_SECONDS if _of_api(request, track) else None,
    )
    metadata = {"name": request.name, "namespace": request.namespace, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec.dump()}


def status_of(separation: Separation, found: FoundManifest, default_model: str) -> dict[str, Any]:
    """Return the status of a completed separation, as far as its manifest says.

    Its start is computed from its end and the seconds of the separate stage; those of fetch are unknown.
    """
    mark, ended = found.mark, published_at(found)
    status = first_status(separation, default_model)
    status.started_at = ended - timedelta(seconds=sum(mark.timings.values()))
    status.source = _source(mark)
    status.title = mark.media.title or status.title
    for kind, reason in ((ConditionType.ACCEPTED, Reason.VALID), (ConditionType.FETCHED, Reason.SUCCEEDED)):
        set_condition(status, kind, "True", reason, ended)
    complete(status, found, ended)
    return derive_phase(status, separation, ended).dump()


def _source(mark: Manifest) -> SourceStatus:
    return SourceStatus(
        **media_fields(mark.media),
        duration=max(round(stem.duration_seconds, 3) for stem in mark.stems.values()),
        sha256=mark.source_audio_sha256,
    )
