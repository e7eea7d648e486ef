"""Copies the stems of one separation to another, within the store."""

from pydantic import ValidationError

from stemyard_contract.handover import MANIFEST_FILE, Asked, Copied, Manifest, Room
from stemyard_contract.identity import object_prefix, object_token
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.decision.actions import CopyStems
from stemyard_operator.decision.commit_marks import MARK_LIMIT, files_of
from stemyard_operator.model.separation import Separation


def asked_by(separation: Separation) -> Asked:
    """Return what a separation is of, as its manifest says it."""
    return Asked(
        namespace=separation.namespace,
        name=separation.name,
        source=separation.spec.source,
        quality=separation.spec.quality,
        owner=separation.owner,
    )


async def copy_stems(objects: ObjectStoreClient, copy: CopyStems, separation: Separation, install_id: str) -> bool:
    """Copy what a manifest names, then write a manifest of our own; return False where one is not there.

    Keys follow from both separations, so that doing it again does the same; and since our manifest comes last and is
    verified like that of a pod, half a copy is none.

    Raises:
        StoreError: the store failed.
    """
    content = await objects.get(copy.manifest_key, MARK_LIMIT)
    if content is None:
        return False
    try:
        made = Manifest.model_validate_json(content)
    except ValidationError:
        return False
    theirs = copy.manifest_key.rpartition("/")[0] + "/"
    token = object_token(separation.uid, separation.spec.run, copy.uid, Room.STEMS)
    ours = object_prefix(install_id, Room.STEMS, separation.track_id, token)
    for file in files_of(made):
        if not await objects.copy(theirs + file.file, ours + file.file):
            await objects.remove(ours)
            return False
    copied = Copied(name=copy.name, processing_seconds=copy.processing_seconds)
    mark = {
        "uid": separation.uid,
        "run": separation.spec.run,
        "pod_uid": copy.uid,
        "copied": copied,
        "asked": asked_by(separation),
    }
    await objects.put(ours + MANIFEST_FILE, made.model_copy(update=mark).dump().encode(), "application/json")
    return True
