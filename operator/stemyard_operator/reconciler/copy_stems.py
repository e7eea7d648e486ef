"""Copies the stems of one separation to another within the object store."""

from pydantic import ValidationError

from stemyard_contract.handover import MANIFEST_FILE, Copied, JobRequest, Manifest, Room
from stemyard_contract.identity import object_prefix, object_token
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.decision.actions import CopyStems
from stemyard_operator.decision.commit_marks import MARK_LIMIT, manifest_files
from stemyard_operator.model.separation import Separation


def job_request(separation: Separation) -> JobRequest:
    """Return what a separation requests, as its manifest records it."""
    return JobRequest(
        namespace=separation.namespace,
        name=separation.name,
        source=separation.spec.source,
        quality=separation.spec.quality,
        owner=separation.owner,
    )


async def copy_stems(objects: ObjectStoreClient, copy: CopyStems, separation: Separation, install_id: str) -> bool:
    """Copy the files that a manifest names, then write a new manifest; return False if one of them is missing.

    Keys are derived from both separations, so repeating a copy is harmless. The manifest is written last and verified
    like a pod's, so an incomplete copy is never used.

    Raises:
        ObjectStoreError: the store failed.
    """
    content = await objects.get(copy.manifest_key, MARK_LIMIT)
    if content is None:
        return False
    try:
        original = Manifest.model_validate_json(content)
    except ValidationError:
        return False
    source_prefix = copy.manifest_key.rpartition("/")[0] + "/"
    token = object_token(separation.uid, separation.spec.run, copy.uid, Room.STEMS)
    own_prefix = object_prefix(install_id, Room.STEMS, separation.track_id, token)
    for file in manifest_files(original):
        if not await objects.copy(source_prefix + file.file, own_prefix + file.file):
            await objects.remove(own_prefix)
            return False
    copied = Copied(name=copy.name, processing_seconds=copy.processing_seconds)
    mark = {
        "uid": separation.uid,
        "run": separation.spec.run,
        "pod_uid": copy.uid,
        "copied": copied,
        "request": job_request(separation),
    }
    await objects.put(own_prefix + MANIFEST_FILE, original.model_copy(update=mark).dump().encode(), "application/json")
    return True
