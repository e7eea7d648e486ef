"""The objects that belong to a separation, as named by its status and spec. Pure."""

from collections.abc import Iterable

from stemyard_contract.handover import AUDIO_FILE
from stemyard_contract.identity import upload_key
from stemyard_contract.separationjob import SeparationJobSpec, SeparationJobStatus


def prefix_of(key: str) -> str:
    """Return the prefix of the pod that wrote an object, with a trailing slash."""
    return key.rpartition("/")[0] + "/"


def objects_of_result(status: SeparationJobStatus) -> tuple[str, ...]:
    """Return the prefix of the published stems."""
    if status.result is None:
        return ()
    keys = [status.result.manifest_key, *(stem.key for stem in status.result.stems.values())]
    return _unique(prefix_of(key) for key in keys)


def objects_of_source(
    spec: SeparationJobSpec, status: SeparationJobStatus, install_id: str, *, upload: bool = True
) -> tuple[str, ...]:
    """Return the keys of the fetched audio, its commit mark and its upload.

    A fetch pod can write nothing else, so no listing is needed.
    """
    mark = status.source.mark_key if status.source else None
    marked = [mark, prefix_of(mark) + AUDIO_FILE] if mark else []
    source = spec.source.upload
    uploads = [upload_key(install_id, source.owner, source.id)] if source and upload else []
    return _unique([*marked, *uploads])


def objects_of(spec: SeparationJobSpec, status: SeparationJobStatus, install_id: str) -> tuple[str, ...]:
    """Return all objects of a SeparationJob, which are removed when it is deleted."""
    return _unique([*objects_of_result(status), *objects_of_source(spec, status, install_id)])


def _unique(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))
