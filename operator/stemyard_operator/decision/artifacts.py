"""Which objects a separation names in its status or spec, and may therefore remove. Pure."""

from collections.abc import Iterable

from stemyard_contract.handover import AUDIO_FILE
from stemyard_contract.identity import upload_key
from stemyard_contract.separationjob import SeparationJobSpec, SeparationJobStatus


def prefix_of(key: str) -> str:
    """Return the prefix, with a trailing slash, of the pod that wrote an object."""
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
    """Return the keys of the fetched audio and its mark, and of the upload it was made from.

    A fetch pod may write these two and nothing beside them: they need not be searched for.
    """
    mark = status.source.mark_key if status.source else None
    marked = [mark, prefix_of(mark) + AUDIO_FILE] if mark else []
    sent = spec.source.upload
    uploads = [upload_key(install_id, sent.owner, sent.id)] if sent and upload else []
    return _unique([*marked, *uploads])


def objects_of(spec: SeparationJobSpec, status: SeparationJobStatus, install_id: str) -> tuple[str, ...]:
    """Return everything a SeparationJob names: what goes when it is deleted, and nothing beside it."""
    return _unique([*objects_of_result(status), *objects_of_source(spec, status, install_id)])


def _unique(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))
