"""Whether a commit mark may be believed: who wrote it, where it lies, and what it says is there. Pure."""

import hashlib
from typing import Final

from pydantic import ValidationError

from stemyard_contract.handover import Manifest, Mark, MarkReference, SourceMark, StoredFile, WorkStage
from stemyard_contract.identity import object_prefix, object_token, track_prefix
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.model.observed import FoundManifest, FoundSource
from stemyard_operator.model.separation import Separation

MARK_LIMIT: Final = 1024 * 1024
"""Bytes of the largest commit mark that is read."""

Found = FoundSource | FoundManifest


def home(separation: Separation, stage: WorkStage, install_id: str) -> str:
    """Return the prefix below which marks of a stage of this separation lie."""
    return track_prefix(install_id, stage.room, separation.track_id)


def verified(content: bytes, key: str, query: FindMark, separation: Separation, install_id: str) -> Found | None:
    """Return the mark where it is the word of a pod of this separation, else None.

    It counts when it names this resource's uid and the run asked for, when the token in its key is the one that
    follows from uid, run and pod, and when its bytes have the digest that the Outcome or the status told.
    """
    digest = hashlib.sha256(content).hexdigest()
    reference = MarkReference(key=key, sha256=digest)
    if query.reference is not None and query.reference.key == key and query.reference.sha256 != digest:
        return None
    try:
        mark = _parse(content, query.stage)
    except ValidationError:
        return None
    if not _of_this_run(mark, query, separation):
        return None
    stage = query.stage
    token = object_token(mark.uid, mark.run, mark.pod_uid, stage.room)
    if key != object_prefix(install_id, stage.room, separation.track_id, token) + stage.mark_file:
        return None
    if isinstance(mark, SourceMark):
        return FoundSource(reference, mark)
    return FoundManifest(reference, mark) if set(mark.stems) == set(separation.spec.stems) else None


def _parse(content: bytes, stage: WorkStage) -> SourceMark | Manifest:
    kind = SourceMark if stage is WorkStage.FETCH else Manifest
    return kind.model_validate_json(content)


def _of_this_run(mark: Mark, query: FindMark, separation: Separation) -> bool:
    run = separation.spec.run
    return mark.uid == separation.uid and (mark.run == run or (query.any_run and mark.run < run))


def files_of(manifest: Manifest) -> list[StoredFile]:
    """Return the files that a manifest says are stored beside it."""
    stems = manifest.stems.values()
    return [*stems, *(stem.peaks for stem in stems if stem.peaks is not None)]


def files(found: Found) -> dict[str, int]:
    """Return the sizes, by object key, of the files a mark says are stored beside it."""
    listed: list[StoredFile] = [found.mark.audio] if isinstance(found, FoundSource) else files_of(found.mark)
    prefix = found.reference.key.rpartition("/")[0]
    return {f"{prefix}/{file.file}": file.bytes for file in listed}
