"""Which objects a stage may read and write, and how large they may be. Pure."""

from typing import Final

from stemyard_contract.download_name import disposition
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    AUDIO_FILE,
    INPUT_FILE,
    MANIFEST_FILE,
    SOURCE_MARK_FILE,
    LinkRequest,
    WorkStage,
    peaks_file,
)
from stemyard_contract.identity import object_prefix, object_token, upload_key
from stemyard_contract.object_source import allows
from stemyard_contract.separationjob import Source
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.artifacts import prefix_of
from stemyard_operator.decision.commit_marks import MARK_LIMIT, marks_prefix
from stemyard_operator.desk.authentication import Caller
from stemyard_operator.errors import DeskError
from stemyard_operator.jobs.disk import encoded_bytes, flac_bytes
from stemyard_operator.model.separation import Separation

Grant = tuple[str, int]
"""Object key, and the bytes that may be written there (0 for reading)."""

_GET: Final = "GET"
_PUT: Final = "PUT"


def granted(request: LinkRequest, caller: Caller, separation: Separation, settings: Settings) -> str:
    """Return the key of the object that a link may be signed for.

    Raises:
        DeskError: 403 when the stage has no business with it, 413 when it is too large.
    """
    table = _fetch if caller.job.stage is WorkStage.FETCH else _separate
    found = table(caller, separation, settings).get((request.method, request.file))
    if found is None:
        raise DeskError(
            403, FailureCode.LINK_REFUSED, f"Refused: {caller.job.stage} may not {request.method} {request.file}."
        )
    key, limit = found
    if request.method == _PUT and (request.bytes or 0) > limit:
        raise DeskError(413, FailureCode.REQUEST_TOO_LARGE, f"{request.file} may have at most {limit} bytes.")
    return key


def written_with(request: LinkRequest, separation: Separation) -> dict[str, str]:
    """Return the headers that a file is to be written with; a stem's name its download, whatever link leads there."""
    headers = {"Content-Length": str(request.bytes), "Content-Type": request.content_type or ""}
    ending, source = separation.spec.output.format, separation.status.source
    for stem in separation.spec.stems:
        if request.file == f"{stem}.{ending}":
            title, artist = (source.title, source.artist) if source is not None else (None, None)
            headers["Content-Disposition"] = disposition(title, artist, separation.track_id, stem, ending)
    return headers


def _fetch(caller: Caller, separation: Separation, settings: Settings) -> dict[tuple[str, str], Grant]:
    own = _own_prefix(caller, separation, settings)
    table = {
        (_PUT, AUDIO_FILE): (own + AUDIO_FILE, flac_bytes(settings.max_duration_seconds)),
        (_PUT, SOURCE_MARK_FILE): (own + SOURCE_MARK_FILE, MARK_LIMIT),
    }
    stored = _stored_source(separation.spec.source, settings)
    if stored is not None:
        table[_GET, INPUT_FILE] = (stored, 0)
    return table


def _stored_source(source: Source, settings: Settings) -> str | None:
    """Return the key of the upload or object to be fetched; never of an object outside the allowed prefixes."""
    if source.upload is not None:
        return upload_key(settings.stemyard_install_id, source.upload.owner, source.upload.id)
    given, prefixes = source.object, settings.object_source_prefixes
    return given.key if given is not None and allows(prefixes, given.key, settings.stemyard_install_id) else None


def _separate(caller: Caller, separation: Separation, settings: Settings) -> dict[tuple[str, str], Grant]:
    own = _own_prefix(caller, separation, settings)
    output = separation.spec.output
    largest = encoded_bytes(settings.max_duration_seconds, output)
    stems = [f"{stem}.{output.format}" for stem in separation.spec.stems]
    table = {(_PUT, stem): (own + stem, largest) for stem in stems}
    outlines = [peaks_file(stem) for stem in separation.spec.stems]
    table |= {(_PUT, outline): (own + outline, MARK_LIMIT) for outline in outlines}
    table[_PUT, MANIFEST_FILE] = (own + MANIFEST_FILE, MARK_LIMIT)
    source = _source_prefix(caller, separation, settings)
    if source is not None:
        table |= {(_GET, file): (source + file, 0) for file in (AUDIO_FILE, SOURCE_MARK_FILE)}
    return table


def _own_prefix(caller: Caller, separation: Separation, settings: Settings) -> str:
    room = caller.job.stage.room
    token = object_token(separation.uid, caller.job.run, caller.pod_uid, room)
    return object_prefix(settings.stemyard_install_id, room, separation.track_id, token)


def _source_prefix(caller: Caller, separation: Separation, settings: Settings) -> str | None:
    """Return where the accepted source lies: as the Job was told when it was made, and never outside this track."""
    told = caller.job.fetched
    if told is None:
        return None
    within = marks_prefix(separation, WorkStage.FETCH, settings.stemyard_install_id)
    return prefix_of(told.key) if told.key.startswith(within) else None
