"""The objects that belong to a separation, as named by its status and spec. Pure."""

from collections.abc import Iterable

from stemyard_contract.handover import AUDIO_FILE
from stemyard_contract.identity import upload_key
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_contract.source import UploadSource


def prefix_of(key: str) -> str:
    """Return the prefix of the pod that wrote an object, with a trailing slash."""
    return key.rpartition("/")[0] + "/"


def objects_of_result(status: SeparationJobStatus) -> tuple[str, ...]:
    """Return the prefix of the published stems."""
    if status.result is None:
        return ()
    keys = [status.result.manifest_key, *(stem.key for stem in status.result.stems.values())]
    return _unique(prefix_of(key) for key in keys)


def objects_of_source(status: SeparationJobStatus, upload: UploadSource | None, install_id: str) -> tuple[str, ...]:
    """Return the keys of the fetched audio, its commit mark and an upload.

    A fetch pod can write nothing else, so no listing is needed.
    """
    mark = status.source.mark_key if status.source else None
    marked = [mark, prefix_of(mark) + AUDIO_FILE] if mark else []
    uploads = [upload_key(install_id, upload.owner, upload.id)] if upload else []
    return _unique([*marked, *uploads])


def objects_of(status: SeparationJobStatus, upload: UploadSource | None, install_id: str) -> tuple[str, ...]:
    """Return all objects of a SeparationJob, and an upload, which are removed when it is deleted."""
    return _unique([*objects_of_result(status), *objects_of_source(status, upload, install_id)])


def _unique(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))
