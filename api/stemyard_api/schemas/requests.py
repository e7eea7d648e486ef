"""The body of POST /separate-audio and the checks of its fields."""

import json
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from stemyard_api.auth.api_keys import HIGHEST_PRIORITY
from stemyard_api.schemas.integers import WHOLE
from stemyard_contract.identity import (
    QUERY_LIMIT,
    check_query,
    normalise_url,
)
from stemyard_contract.models import AUTO_MODEL, MODELS
from stemyard_contract.object_source import KEY_LIMIT, check_object_key
from stemyard_contract.outbox import URL_LIMIT as WEBHOOK_LIMIT
from stemyard_contract.outbox import ChosenEvent
from stemyard_contract.output import BITRATES, AudioFormat
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.separationjob import (
    Stem,
)

METADATA_LIMIT: Final = 1024
"""Bytes of a caller's metadata as JSON."""
URL_LIMIT: Final = 2048
_SOURCE_FIELDS: Final = ("search_query", "url", "upload_id", "object")
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_text(text: str) -> str:
    """Return the text, if it can be stored.

    Raises:
        ValueError: it holds half a surrogate pair, which JSON can spell and UTF-8 cannot.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be valid Unicode")
    return text


def _check_url(url: str) -> str:
    url = url.strip()
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("must not contain white space or control characters")
    try:
        parts = urlsplit(normalise_url(url))
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    return url


def check_webhook_url(url: str) -> str:
    """Return the one spelling of a webhook's address.

    Raises:
        ValueError: it is no address, or too long.
    """
    url = normalise_url(_check_url(url))
    if len(url) > WEBHOOK_LIMIT:
        raise ValueError(f"must have at most {WEBHOOK_LIMIT} characters")
    return url


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(dump_metadata(metadata).encode())
    except (ValueError, RecursionError):
        raise ValueError("must be plain JSON, not too deeply nested") from None
    if size > METADATA_LIMIT:
        raise ValueError(f"must take at most {METADATA_LIMIT} bytes as JSON; it takes {size}")
    return metadata


def dump_metadata(metadata: dict[str, Any]) -> str:
    """Return the text form in which metadata is kept."""
    return _COMPACT.encode(metadata)


class SeparationRequest(BaseModel):
    """What to separate. Exactly one of `search_query`, `url`, `upload_id`, `object`; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"search_query": "Song Title Artist"}],
            "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in _SOURCE_FIELDS],
        },
    )

    search_query: (
        Annotated[StrictStr, Field(max_length=QUERY_LIMIT), AfterValidator(check_text), AfterValidator(check_query)]
        | None
    ) = None
    """Words to search a recording by, for example title and artist; at most 500 characters."""
    url: Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(_check_url)] | None = None
    """Address of a media file or of a video page."""
    upload_id: Annotated[StrictStr, Field(max_length=64)] | None = None
    """A file uploaded through POST /uploads."""
    object: Annotated[StrictStr, Field(min_length=1, max_length=KEY_LIMIT), AfterValidator(check_object_key)] | None = (
        None
    )
    """Key of a file in the service's own bucket, below a prefix that the deployment allows."""
    model: Annotated[
        StrictStr, Field(min_length=1, max_length=64, json_schema_extra={"enum": [AUTO_MODEL, *MODELS]})
    ] = AUTO_MODEL
    """Separation model, of those that are enabled here; `auto` is the one the service prefers."""
    quality: Quality = DEFAULT_QUALITY
    """Speed against quality, for models that know the choice: the demucs models, not spleeter."""
    stems: Annotated[list[Stem], Field(min_length=1, max_length=8)] = [Stem.VOCALS, Stem.INSTRUMENTAL]
    """Stems to publish."""
    format: AudioFormat = "mp3"
    """Container and codec of the stems; m4a holds AAC."""
    bitrate: Annotated[StrictInt, Field(json_schema_extra={"enum": list(BITRATES)}), WHOLE] = 320
    """Kilobits per second of mp3, m4a and opus."""
    bit_depth: Annotated[StrictInt, Field(json_schema_extra={"enum": [16, 24, 32]}), WHOLE] | None = None
    """Bits per sample of flac and wav, 24 where absent; 32 is floating point, for wav."""
    vbr_quality: Annotated[StrictInt, Field(ge=0, le=9), WHOLE] | None = None
    """Makes mp3 of variable bit rate: 0 best and largest, 9 smallest."""
    webhook_url: (
        Annotated[StrictStr, Field(min_length=8, max_length=WEBHOOK_LIMIT), AfterValidator(check_webhook_url)] | None
    ) = None
    """Where to POST when the separation ends; on a completed one, at once. https, at a public address."""
    webhook_events: Annotated[list[ChosenEvent], Field(min_length=1, max_length=8)] | None = None
    """What to tell there; by default the three ends: completed, failed, cancelled."""
    metadata: Annotated[dict[str, Any], AfterValidator(_check_metadata)] | None = None
    """Anything to be echoed with the track, to this API key only; at most 1 KiB as JSON."""
    priority: Annotated[StrictInt, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY), WHOLE] = 0
    """Among separations that wait, a higher one goes first. Above 0 only as far as the API key may."""
    cache: Literal["use", "refresh"] = "use"
    """`refresh` separates again even where a result exists."""
