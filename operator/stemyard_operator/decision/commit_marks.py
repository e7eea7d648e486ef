"""Verification of commit marks: origin, key, digest and listed files. Pure."""

import hashlib
import re
from typing import Final

from pydantic import ValidationError

from stemyard_contract.handover import (
    AUDIO_FILE,
    Manifest,
    Mark,
    MarkReference,
    SourceMark,
    StoredFile,
    WorkStage,
    peaks_file,
)
from stemyard_contract.identity import object_prefix, object_token, track_prefix
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.decision.status import result_of, source_of
from stemyard_operator.model.observed import FoundManifest, FoundSource
from stemyard_operator.model.separation import Separation

MARK_LIMIT: Final = 1024 * 1024
"""Maximum size of a commit mark, in bytes."""

_TOKEN: Final = re.compile("[0-9a-f]{32}")

Found = FoundSource | FoundManifest


def marks_prefix(separation: Separation, stage: WorkStage, install_id: str) -> str:
    """Return the prefix of the commit marks of a stage of this separation."""
    return track_prefix(install_id, stage.room, separation.track_id)


def may_be_mark(key: str, separation: Separation, stage: WorkStage, install_id: str) -> bool:
    """Return whether a key that a pod names has the form of a commit mark's.

    Others are not even read: to some the store answers as if it had failed, which would be tried again for ever.
    """
    prefix, tail = marks_prefix(separation, stage, install_id), f"/{stage.mark_file}"
    token = key.removeprefix(prefix).removesuffix(tail)
    return key == f"{prefix}{token}{tail}" and _TOKEN.fullmatch(token) is not None


def verify_mark(content: bytes, key: str, query: FindMark, separation: Separation, install_id: str) -> Found | None:
    """Return the mark if it was written by a pod of this separation, else None.

    It is valid if it names the uid and the requested run, if the token in its key is the one derived from uid, run and
    pod, and if its bytes have the digest stated by the Outcome or the status.
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
        found: Found = FoundSource(reference, mark)
        own_files = mark.audio.file == AUDIO_FILE
    else:
        found = FoundManifest(reference, mark)
        own_files = _has_own_files(mark, separation)
    return found if own_files and _fits_the_status(found) else None


def _parse(content: bytes, stage: WorkStage) -> SourceMark | Manifest:
    kind = SourceMark if stage is WorkStage.FETCH else Manifest
    return kind.model_validate_json(content)


def _of_this_run(mark: Mark, query: FindMark, separation: Separation) -> bool:
    run = separation.spec.run
    return mark.uid == separation.uid and (mark.run == run or (query.any_run and mark.run < run))


def _fits_the_status(found: Found) -> bool:
    """Return whether the status can hold what a mark states."""
    try:
        source_of(found) if isinstance(found, FoundSource) else result_of(found)
    except ValidationError:
        return False
    return True


def _has_own_files(manifest: Manifest, separation: Separation) -> bool:
    """Return whether a manifest lists exactly the files that the desk lets its pod write; their names become keys."""
    spec = separation.spec
    return set(manifest.stems) == set(spec.stems) and all(
        file.file == f"{stem}.{spec.output.format}" and (file.peaks is None or file.peaks.file == peaks_file(stem))
        for stem, file in manifest.stems.items()
    )


def manifest_files(manifest: Manifest) -> list[StoredFile]:
    """Return the files that a manifest lists."""
    stems = manifest.stems.values()
    return [*stems, *(stem.peaks for stem in stems if stem.peaks is not None)]


def file_sizes(found: Found) -> dict[str, int]:
    """Return the sizes of the files that a mark lists, by object key."""
    listed: list[StoredFile] = [found.mark.audio] if isinstance(found, FoundSource) else manifest_files(found.mark)
    prefix = found.reference.key.rpartition("/")[0]
    return {f"{prefix}/{file.file}": file.bytes for file in listed}
