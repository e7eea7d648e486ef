"""Identity of a request (cache key, track id) and the names derived from it: resources, Jobs, objects. Pure."""

import hashlib
import json
import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from stemyard_contract.handover import Room, WorkStage
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.separationjob import (
    LABEL_TRACK,
    Output,
    SeparationJobSpec,
    SeparationJobStatus,
    Source,
    Stem,
)

QUERY_LIMIT: Final = 500
"""Maximum length of a search query, in characters."""
TRACK_NAMESPACE: Final = uuid.UUID("104a3622-3887-4910-b74e-c6df00466590")
"""UUIDv5 namespace of track ids. Changing it would give every track a new id; golden tests guard it."""
RESOURCE_PREFIX: Final = "sep-"
NAME_LIMIT: Final = 40
"""Maximum length of a SeparationJob's name, so that the names of its Jobs stay within 63 characters."""

_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
_TRACK_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALLOWED_CONTROLS: Final = frozenset("\t\r\n")
_YOUTUBE_HOSTS: Final = frozenset(
    {
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "gaming.youtube.com",
        "youtube-nocookie.com",
        "www.youtube-nocookie.com",
    }
)
_IN_YOUTUBE_LINKS: Final = "youtu"
_CONSENT_HOSTS: Final = frozenset({"consent.youtube.com", "consent.google.com"})
_YOUTUBE_ID: Final = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_PATHS: Final = frozenset({"shorts", "embed", "live", "v", "e", "watch"})
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class QueryError(ValueError):
    """The search query is invalid; the message says what to change."""


def check_query(text: str) -> str:
    """Return the query without surrounding white space.

    Raises:
        QueryError: it is empty, longer than 500 characters or holds control characters.
    """
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in _ALLOWED_CONTROLS:
            raise QueryError("must not contain control characters")
    trimmed = text.strip()
    if len(trimmed) > QUERY_LIMIT:
        raise QueryError(f"must have at most {QUERY_LIMIT} characters")
    if not normalise_query(trimmed):
        raise QueryError("must not be empty")
    return trimmed


def normalise_query(text: str) -> str:
    """Return the canonical form of a query: case, width, white space and punctuation at its ends do not matter."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = "".join(character for character in folded if unicodedata.category(character) != "Cf")
    collapsed = " ".join(visible.split())
    return _strip_punctuation(collapsed) or collapsed


def _strip_punctuation(text: str) -> str:
    def is_edge(character: str) -> bool:
        return character.isspace() or unicodedata.category(character).startswith("P")

    start, end = 0, len(text)
    while start < end and is_edge(text[start]):
        start += 1
    while end > start and is_edge(text[end - 1]):
        end -= 1
    return text[start:end]


def youtube_id(link: str) -> str | None:
    """Return the 11-character id of the video of a YouTube link, which needs no scheme; None for anything else."""
    text = link.strip()
    if _IN_YOUTUBE_LINKS not in text.lower():  # every search query comes here
        return None
    if "://" not in text.partition("?")[0]:
        text = f"https://{text.removeprefix('//')}"
    try:
        parts = urlsplit(text)
        host, query = (parts.hostname or "").lower(), parse_qs(parts.query)
    except ValueError:
        return None
    path = parts.path.strip("/").split("/")
    if host in _CONSENT_HOSTS:
        return _video_of((query.get("continue") or [""])[0])
    if host in _YOUTUBE_HOSTS and path[0] == "attribution_link":
        return _video_of(f"https://www.youtube.com{(query.get('u') or [''])[0]}")
    if host in {"youtu.be", "www.youtu.be"}:
        found = path[0]
    elif host in _YOUTUBE_HOSTS and path == ["watch"]:
        found = (query.get("v") or [""])[0]
    elif host in _YOUTUBE_HOSTS and len(path) > 1 and path[0] in _YOUTUBE_PATHS:
        found = path[1]
    else:
        return None
    return found if _YOUTUBE_ID.fullmatch(found) else None


def _video_of(target: str) -> str | None:
    """Return the video that a link leads on to; the target leads on no further."""
    is_direct = "attribution_link" not in target and not any(host in target for host in _CONSENT_HOSTS)
    return youtube_id(target) if is_direct else None


def normalise_url(url: str) -> str:
    """Return the URL with lower-case scheme and host, without default port and fragment.

    Raises:
        ValueError: it cannot be parsed.
    """
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    port = f":{parts.port}" if parts.port is not None and parts.port != default else ""
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit((parts.scheme.lower(), f"{user}{host}{port}", parts.path or "/", parts.query, ""))


def canonical_source(source: Source) -> str:
    """Return a string that is equal for equivalent sources."""
    if source.search_query is not None:
        if video := youtube_id(source.search_query):
            return f"youtube:{video}"
        return f"query:{normalise_query(source.search_query)}"
    if source.upload is not None:
        return f"upload:{source.upload.owner}:{source.upload.id}"
    if source.object is not None:
        return f"object:{source.object.key}"
    url = source.url or ""
    video = youtube_id(url)
    if video:
        return f"youtube:{video}"
    try:
        return f"url:{normalise_url(url)}"
    except ValueError:
        return f"url:{url}"


def cache_key(
    source: Source,
    model: str,
    stems: Iterable[Stem],
    output: Output,
    sharing_key: str | None = None,
    quality: Quality = DEFAULT_QUALITY,
) -> str:
    """Return the SHA-256, in hex, of everything that determines the result of a separation.

    Args:
        source: where the audio comes from.
        model: name of the model, never `auto`.
        stems: stems to publish, in any order.
        output: how they are encoded.
        sharing_key: id of the API key, if results are not shared between keys.
        quality: quality level; the default is not hashed, so that older keys stay valid.
    """
    return _digest(canonical_source(source), model, stems, output, sharing_key, quality)


def recording_key(spec: SeparationJobSpec, default_model: str, sharing_key: str | None, audio_sha256: str) -> str:
    """Return the key that identifies duplicates: separations with the same key have the same result.

    Ids of media are no part of it: they are what a fetch pod says, and equal ids need not mean equal audio.

    Args:
        spec: the request; its source is ignored.
        default_model: model that `auto` stands for.
        sharing_key: id of the API key, if results are not shared between keys.
        audio_sha256: SHA-256 of the decoded samples.
    """
    model = default_model if spec.model == "auto" else spec.model
    return _digest(f"audio:{audio_sha256}", model, spec.stems, spec.output, sharing_key, spec.quality)


def _digest(
    source: str, model: str, stems: Iterable[Stem], output: Output, sharing_key: str | None, quality: Quality
) -> str:
    content = {
        "source": source,
        "model": model,
        "stems": sorted(stems),
        "output": output.dump(),
    }
    if sharing_key is not None:
        content["key"] = sharing_key
    if quality != DEFAULT_QUALITY:
        content["quality"] = quality
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()


def spec_cache_key(spec: SeparationJobSpec, default_model: str, sharing_key: str | None = None) -> str:
    """Return the cache key of a spec, with `auto` resolved to the default model."""
    model = default_model if spec.model == "auto" else spec.model
    return cache_key(spec.source, model, spec.stems, spec.output, sharing_key, spec.quality)


def track_id(key: str) -> str:
    """Return the track id of a cache key, a UUIDv5."""
    return str(uuid.uuid5(TRACK_NAMESPACE, key))


def resource_name(track: str) -> str:
    """Return the name of the SeparationJob of a track requested through the API."""
    return f"{RESOURCE_PREFIX}{track}"


def is_track_id(text: str) -> bool:
    """Return whether a text has the form of the API's track ids: a UUID in lower case."""
    return _TRACK_ID.fullmatch(text) is not None


def track_of(namespace: str, name: str, labels: Mapping[str, str], api_namespace: str) -> str:
    """Return the track id of a SeparationJob: the API's, or `<namespace>.<name>` if it was not created by the API.

    The label counts only in the API's namespace: ids of tracks can be computed by anybody who knows the request.
    """
    labelled = labels.get(LABEL_TRACK, "")
    of_api = namespace == api_namespace and is_track_id(labelled) and name == resource_name(labelled)
    return labelled if of_api else f"{namespace}.{name}"


def job_name(name: str, uid: str, stage: WorkStage, run: int, attempt: int) -> str:
    """Return the name of a stage's Job; `attempt` counts the Jobs of this stage and run from 1."""
    return f"{name}-{uid[:8]}-{stage[0]}{run}-{attempt}"


def worker_name(shape: str, number: int) -> str:
    """Return the name of a worker's Job; `number` counts the workers of a shape from 1."""
    return f"stemyard-worker-{shape}-{number}"


def object_token(uid: str, run: int, pod_uid: str, room: Room) -> str:
    """Return the unguessable part of an object key, unique to a pod."""
    return hashlib.sha256("\n".join((uid, str(run), pod_uid, room)).encode()).hexdigest()[:32]


def track_prefix(install_id: str, room: Room, track: str) -> str:
    """Return the prefix of a track's objects in a room, with a trailing slash."""
    return f"{install_id}/{room}/{track}/"


def object_prefix(install_id: str, room: Room, track: str, token: str) -> str:
    """Return the prefix of one pod's objects, with a trailing slash."""
    return f"{track_prefix(install_id, room, track)}{token}/"


def is_of_track(key: str, room: Room, track: str) -> bool:
    """Return whether a key has the form of those that a pod writes for a track."""
    parts = key.split("/")
    return len(parts) == 5 and parts[1:3] == [room, track] and _TOKEN.fullmatch(parts[3]) is not None and parts[4] != ""


def with_own_objects(status: SeparationJobStatus, track: str) -> SeparationJobStatus:
    """Return a status without a result or a source that has objects of others.

    Whoever may write the status of one SeparationJob could name the objects of any other there: to read them, to have
    them copied, or to have them deleted with it.
    """
    result, source = status.result, status.source
    changes: dict[str, object] = {}
    if result is not None:
        stems = result.stems.values()
        keys = [result.manifest_key, *(stem.key for stem in stems), *(stem.peaks_key for stem in stems)]
        if not all(key is None or is_of_track(key, Room.STEMS, track) for key in keys):
            changes["result"] = None
    if source is not None and source.mark_key and not is_of_track(source.mark_key, Room.WORK, track):
        changes["source"] = source.model_copy(update={"mark_key": None, "mark_sha256": None})
    return status.model_copy(update=changes) if changes else status


def uploads_prefix(install_id: str, owner: str) -> str:
    """Return the prefix of all uploads of an API key, with a trailing slash."""
    return f"{install_id}/{Room.UPLOADS}/{owner}/"


def upload_key(install_id: str, owner: str, upload_id: str) -> str:
    """Return the object key of an upload; it contains the API key's id, so that other keys cannot address it."""
    return f"{uploads_prefix(install_id, owner)}{upload_id}/source"


def multipart_key(install_id: str, owner: str, upload_id: str) -> str:
    """Return the key of the object that describes an upload in parts, until it is completed or aborted."""
    return f"{uploads_prefix(install_id, owner)}{upload_id}/multipart.json"
