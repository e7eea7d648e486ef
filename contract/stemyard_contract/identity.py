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
from stemyard_contract.separationjob import LABEL_TRACK, Output, SeparationJobSpec, Source, Stem

QUERY_LIMIT: Final = 500
"""Maximum length of a search query, in characters."""
TRACK_NAMESPACE: Final = uuid.UUID("104a3622-3887-4910-b74e-c6df00466590")
"""UUIDv5 namespace of track ids. Changing it would give every track a new id; golden tests guard it."""
RESOURCE_PREFIX: Final = "sep-"
NAME_LIMIT: Final = 40
"""Maximum length of a SeparationJob's name, so that the names of its Jobs stay within 63 characters."""

_ALLOWED_CONTROLS: Final = frozenset("\t\r\n")
_YOUTUBE_HOSTS: Final = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtube-nocookie.com"}
)
_YOUTUBE_ID: Final = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_PATHS: Final = frozenset({"shorts", "embed", "live", "v"})
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


def youtube_id(url: str) -> str | None:
    """Return the 11-character id of a YouTube video, or None if the URL is not one of a video."""
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path.strip("/").split("/")
    if host in {"youtu.be", "www.youtu.be"}:
        found = path[0]
    elif host in _YOUTUBE_HOSTS and path[0] == "watch":
        found = (parse_qs(parts.query).get("v") or [""])[0]
    elif host in _YOUTUBE_HOSTS and len(path) > 1 and path[0] in _YOUTUBE_PATHS:
        found = path[1]
    else:
        return None
    return found if _YOUTUBE_ID.fullmatch(found) else None


def normalise_url(url: str) -> str:
    """Return the URL with lower-case scheme and host, without default port and fragment."""
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
        return f"query:{normalise_query(source.search_query)}"
    if source.upload is not None:
        return f"upload:{source.upload.owner}:{source.upload.id}"
    if source.object is not None:
        return f"object:{source.object.key}"
    url = source.url or ""
    video = youtube_id(url)
    return f"youtube:{video}" if video else f"url:{normalise_url(url)}"


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


def recording_keys(
    spec: SeparationJobSpec, default_model: str, sharing_key: str | None, media_id: str | None, audio_sha256: str | None
) -> tuple[str, ...]:
    """Return the keys that identify duplicates: separations with a common key have the same result.

    Args:
        spec: the request; its source is ignored.
        default_model: model that `auto` stands for.
        sharing_key: id of the API key, if results are not shared between keys.
        media_id: canonical id of the recording, if it has one.
        audio_sha256: SHA-256 of its decoded samples.
    """
    model = default_model if spec.model == "auto" else spec.model
    found = {"media": media_id, "audio": audio_sha256}
    return tuple(
        _digest(f"{kind}:{value}", model, spec.stems, spec.output, sharing_key, spec.quality)
        for kind, value in found.items()
        if value
    )


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


def track_of(namespace: str, name: str, labels: Mapping[str, str]) -> str:
    """Return the track id of a SeparationJob: the API's, or `<namespace>.<name>` if it was not created by the API."""
    labelled = labels.get(LABEL_TRACK, "")
    return labelled if labelled and name == resource_name(labelled) else f"{namespace}.{name}"


def job_name(name: str, uid: str, stage: WorkStage, run: int, attempt: int) -> str:
    """Return the name of a stage's Job; `attempt` counts the Jobs of this stage and run from 1."""
    return f"{name}-{uid[:8]}-{stage[0]}{run}-{attempt}"


def object_token(uid: str, run: int, pod_uid: str, room: Room) -> str:
    """Return the unguessable part of an object key, unique to a pod."""
    return hashlib.sha256("\n".join((uid, str(run), pod_uid, room)).encode()).hexdigest()[:32]


def track_prefix(install_id: str, room: Room, track: str) -> str:
    """Return the prefix of a track's objects in a room, with a trailing slash."""
    return f"{install_id}/{room}/{track}/"


def object_prefix(install_id: str, room: Room, track: str, token: str) -> str:
    """Return the prefix of one pod's objects, with a trailing slash."""
    return f"{track_prefix(install_id, room, track)}{token}/"


def uploads_prefix(install_id: str, owner: str) -> str:
    """Return the prefix of all uploads of an API key, with a trailing slash."""
    return f"{install_id}/{Room.UPLOADS}/{owner}/"


def upload_key(install_id: str, owner: str, upload_id: str) -> str:
    """Return the object key of an upload; it contains the API key's id, so that other keys cannot address it."""
    return f"{uploads_prefix(install_id, owner)}{upload_id}/source"
