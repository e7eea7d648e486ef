"""Identity: when two requests are the same request, and what everything made for one is called."""

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
"""Characters of a search query."""
TRACK_NAMESPACE: Final = uuid.UUID("104a3622-3887-4910-b74e-c6df00466590")
"""Namespace of track ids. A change would give every track another id; golden values in the tests guard it."""
RESOURCE_PREFIX: Final = "sep-"
NAME_LIMIT: Final = 40
"""Characters of a SeparationJob's name, so that the names of its Jobs stay within 63."""

_ALLOWED_CONTROLS: Final = frozenset("\t\r\n")
_YOUTUBE_HOSTS: Final = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtube-nocookie.com"}
)
_YOUTUBE_ID: Final = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_PATHS: Final = frozenset({"shorts", "embed", "live", "v"})
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class QueryError(ValueError):
    """The search query cannot be used; the message says what to change."""


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
    """Return the form under which queries that mean the same are equal; word order is kept."""
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
    """Return the 11 characters that name a YouTube video, or None when the URL names none."""
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
    """Return the URL with scheme and host in lower case, without default port and fragment."""
    parts = urlsplit(url.strip())
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    port = f":{parts.port}" if parts.port is not None and parts.port != default else ""
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit((parts.scheme.lower(), f"{user}{host}{port}", parts.path or "/", parts.query, ""))


def canonical_source(source: Source) -> str:
    """Return one string that is equal for sources that mean the same."""
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
    """Return the SHA-256, in hex, of all that decides what a separation gives.

    Args:
        source: where the audio comes from.
        model: name of the model, never `auto`.
        stems: stems to publish, in any order.
        output: how they are encoded.
        sharing_key: id of the API key, where results are not shared between keys.
        quality: how much work goes into it; the default is not hashed, so that older keys stay valid.
    """
    return _digest(canonical_source(source), model, stems, output, sharing_key, quality)


def recording_keys(
    spec: SeparationJobSpec, default_model: str, sharing_key: str | None, media_id: str | None, audio_sha256: str | None
) -> tuple[str, ...]:
    """Return the keys by which separations of one recording know each other: one in common, and they give the same.

    Args:
        spec: what is asked for, whatever its source.
        default_model: what `auto` means.
        sharing_key: id of the API key, where results are not shared between keys.
        media_id: canonical id of the recording, where it has one.
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
    """Return the cache key of a spec; `auto` counts as the default model."""
    model = default_model if spec.model == "auto" else spec.model
    return cache_key(spec.source, model, spec.stems, spec.output, sharing_key, spec.quality)


def track_id(key: str) -> str:
    """Return the id of the track with this cache key, a UUIDv5."""
    return str(uuid.uuid5(TRACK_NAMESPACE, key))


def resource_name(track: str) -> str:
    """Return the name of the SeparationJob of a track asked for through the API."""
    return f"{RESOURCE_PREFIX}{track}"


def track_of(namespace: str, name: str, labels: Mapping[str, str]) -> str:
    """Return the track id of a SeparationJob: the API's own, or `<namespace>.<name>` of one written by hand."""
    labelled = labels.get(LABEL_TRACK, "")
    return labelled if labelled and name == resource_name(labelled) else f"{namespace}.{name}"


def job_name(name: str, uid: str, stage: WorkStage, run: int, attempt: int) -> str:
    """Return the name of a stage's Job; `attempt` counts the Jobs made for this stage and run, from 1."""
    return f"{name}-{uid[:8]}-{stage[0]}{run}-{attempt}"


def object_token(uid: str, run: int, pod_uid: str, room: Room) -> str:
    """Return the part of an object key that no one can guess and no two pods share."""
    return hashlib.sha256("\n".join((uid, str(run), pod_uid, room)).encode()).hexdigest()[:32]


def track_prefix(install_id: str, room: Room, track: str) -> str:
    """Return the prefix of everything a track has in a room, with a trailing slash."""
    return f"{install_id}/{room}/{track}/"


def object_prefix(install_id: str, room: Room, track: str, token: str) -> str:
    """Return the prefix of one pod's objects, with a trailing slash."""
    return f"{track_prefix(install_id, room, track)}{token}/"


def uploads_prefix(install_id: str, owner: str) -> str:
    """Return the prefix of all uploads of an API key, with a trailing slash."""
    return f"{install_id}/{Room.UPLOADS}/{owner}/"


def upload_key(install_id: str, owner: str, upload_id: str) -> str:
    """Return the object key of an upload; it names the API key, so that another key's upload is not found."""
    return f"{uploads_prefix(install_id, owner)}{upload_id}/source"
