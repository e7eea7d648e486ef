"""The objects that belong to a separation, as named by its status and spec. Pure."""

from collections.abc import Iterable

from stemyard_contract.handover import AUDIO_FILE
from stemyard_contract.identity import upload_key
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_contract.source import UploadSource


def prefix_of(key: str) -> str:
    """Return the prefix of the pod that wrote an object, with a trailing slash."""
    return key.rpartition("/")[0] + "/"


def objects_of_result(status: SeparationJobStatus, install_id: str) -> tuple[str, ...]:
    """Return the prefix of the published stems."""
    if status.result is None:
        return ()
    keys = [status.result.manifest_key, *(stem.key for stem in status.result.stems.values())]
    return _own((prefix_of(key) for key in keys), install_id)


def objects_of_source(status: SeparationJobStatus, upload: UploadSource | None, install_id: str) -> tuple[str, ...]:
    """Return the keys of the fetched audio, its commit mark and an upload.

    A fetch pod can write nothing else, so no listing is needed.
    """
    mark = status.source.mark_key if status.source else None
    marked = [mark, prefix_of(mark) + AUDIO_FILE] if mark else []
    uploads = [upload_key(install_id, upload.owner, upload.id)] if upload else []
    return _own([*marked, *uploads], install_id)


def objects_of(status: SeparationJobStatus, upload: UploadSource | None, install_id: str) -> tuple[str, ...]:
    """Return all objects of a SeparationJob, and an upload, which are removed when it is deleted."""
    return (*objects_of_result(status, install_id), *objects_of_source(status, upload, install_id))


def _own(keys: Iterable[str], install_id: str) -> tuple[str, ...]:
    """Return each key once, without those of other installations, which a forged status may name in a shared bucket."""
    return tuple(dict.fromkeys(key for key in keys if key.startswith(f"{install_id}/")))
