"""Which objects a stage may read and write, how large they may be, and of which type. Pure."""

from typing import Final, NamedTuple

from stemyard_contract.download_name import disposition
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    AUDIO_FILE,
    INPUT_FILE,
    MANIFEST_FILE,
    SOURCE_MARK_FILE,
    LinkRequest,
    MarkReference,
    WorkStage,
    peaks_file,
)
from stemyard_contract.identity import object_prefix, object_token, upload_key
from stemyard_contract.object_source import allows
from stemyard_contract.separationjob import title_of
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.artifacts import prefix_of
from stemyard_operator.decision.commit_marks import MARK_LIMIT, marks_prefix
from stemyard_operator.desk.authentication import Caller
from stemyard_operator.errors import DeskError
from stemyard_operator.jobs.disk import encoded_bytes, flac_bytes
from stemyard_operator.model.separation import Separation


class Grant(NamedTuple):
    """An object that a stage may read or write."""

    key: str
    limit: int = 0
    """Bytes that may be written; 0 for reading."""
    content_type: str = ""
    """Type that is stored with a file. The desk sets it: stems may be public, and a browser would run what is HTML."""


_GET: Final = "GET"
_PUT: Final = "PUT"
_FLAC: Final = "audio/flac"
_JSON: Final = "application/json"


def authorize(request: LinkRequest, caller: Caller, separation: Separation, settings: Settings) -> Grant:
    """Return the object that a link may be signed for.

    Raises:
        DeskError: 403 if the stage may not access it, 413 if it is too large.
    """
    table = _fetch if caller.job.stage is WorkStage.FETCH else _separate
    grant = table(caller, separation, settings).get((request.method, request.file))
    if grant is None:
        raise DeskError(
            403, FailureCode.LINK_REFUSED, f"Refused: {caller.job.stage} may not {request.method} {request.file}."
        )
    if request.method == _PUT and (request.bytes or 0) > grant.limit:
        raise DeskError(413, FailureCode.REQUEST_TOO_LARGE, f"{request.file} may have at most {grant.limit} bytes.")
    return grant


def authorized_mark(mark: MarkReference, caller: Caller, separation: Separation, settings: Settings) -> None:
    """Check that a commit mark is where the calling pod writes its own.

    Raises:
        DeskError: 403 if it is not.
    """
    if mark.key != _own_prefix(caller, separation, settings) + caller.job.stage.mark_file:
        raise DeskError(403, FailureCode.LINK_REFUSED, "Refused: this is not the key of the pod's own commit mark.")


def upload_headers(request: LinkRequest, grant: Grant, separation: Separation) -> dict[str, str]:
    """Return the headers that a file must be uploaded with; a stem's name its download."""
    headers = {"Content-Length": str(request.bytes), "Content-Type": grant.content_type}
    extension, source = separation.spec.output.format, separation.status.source
    for stem in separation.spec.stems:
        if request.file == f"{stem}.{extension}":
            tagged, artist = (source.title, source.artist) if source is not None else (None, None)
            title = title_of(separation.spec.source, tagged)
            headers["Content-Disposition"] = disposition(title, artist, separation.track_id, stem, extension)
    return headers


def _fetch(caller: Caller, separation: Separation, settings: Settings) -> dict[tuple[str, str], Grant]:
    own = _own_prefix(caller, separation, settings)
    table = {
        (_PUT, AUDIO_FILE): Grant(own + AUDIO_FILE, flac_bytes(settings.max_duration_seconds), _FLAC),
        (_PUT, SOURCE_MARK_FILE): Grant(own + SOURCE_MARK_FILE, MARK_LIMIT, _JSON),
    }
    stored = _stored_source(separation, settings)
    if stored is not None:
        table[_GET, INPUT_FILE] = Grant(stored)
    return table


def _stored_source(separation: Separation, settings: Settings) -> str | None:
    """Return the key of the upload or object to be fetched; never of an object outside the allowed prefixes."""
    if separation.upload is not None:
        return upload_key(settings.stemyard_install_id, separation.upload.owner, separation.upload.id)
    given, prefixes = separation.spec.source.object, settings.object_source_prefixes
    return given.key if given is not None and allows(prefixes, given.key, settings.stemyard_install_id) else None


def _separate(caller: Caller, separation: Separation, settings: Settings) -> dict[tuple[str, str], Grant]:
    own = _own_prefix(caller, separation, settings)
    output = separation.spec.output
    largest = encoded_bytes(settings.max_duration_seconds, output)
    stems = [f"{stem}.{output.format}" for stem in separation.spec.stems]
    table = {(_PUT, stem): Grant(own + stem, largest, output.content_type) for stem in stems}
    documents = [MANIFEST_FILE, *map(peaks_file, separation.spec.stems)]
    table |= {(_PUT, file): Grant(own + file, MARK_LIMIT, _JSON) for file in documents}
    source = _source_prefix(caller, separation, settings)
    if source is not None:
        table |= {(_GET, file): Grant(source + file) for file in (AUDIO_FILE, SOURCE_MARK_FILE)}
    return table


def _own_prefix(caller: Caller, separation: Separation, settings: Settings) -> str:
    room = caller.job.stage.room
    token = object_token(separation.uid, caller.job.run, caller.pod_uid, room)
    return object_prefix(settings.stemyard_install_id, room, separation.track_id, token)


def _source_prefix(caller: Caller, separation: Separation, settings: Settings) -> str | None:
    """Return the prefix of the accepted source, as the Job names it; never outside this track."""
    fetched = caller.job.fetched
    if fetched is None:
        return None
    within = marks_prefix(separation, WorkStage.FETCH, settings.stemyard_install_id)
    return prefix_of(fetched.key) if fetched.key.startswith(within) else None
