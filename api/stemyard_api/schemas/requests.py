"""The body of POST /separate-audio and the checks of its fields."""

import json
import re
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
from stemyard_contract.output import ALL_BIT_DEPTHS, BITRATES, DEFAULT_BITRATE, AudioFormat, Channels, SampleRate
from stemyard_contract.patterns import HTTP_URL
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.separationjob import (
    Stem,
)

METADATA_LIMIT: Final = 1024
"""Maximum size of a caller's metadata as JSON, in bytes."""
URL_LIMIT: Final = 2048
DEFAULT_STEMS: Final = (Stem.VOCALS, Stem.INSTRUMENTAL)
"""Not in the type of the field: generated Java sends an empty list for a list that cannot be null."""
SOURCE_FIELDS: Final = ("search_query", "url", "upload_id", "object")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_text(text: str) -> str:
    """Return the text, if it can be stored.

    Raises:
        ValueError: it contains half a surrogate pair, which JSON can express and UTF-8 cannot.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be valid Unicode")
    return text


def _lower_uuid(text: str) -> str:
    """Return a UUID in lower case (RFC 9562 accepts both), any other text as it is."""
    return text.lower() if _UUID.fullmatch(text) else text


def _check_url(url: str) -> str:
    scheme, separator, rest = url.strip().partition("://")
    url = f"{scheme.lower()}{separator}{rest}"
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
    if not re.search(HTTP_URL, url):
        raise ValueError("is not a URL")
    return url


def check_webhook_url(url: str) -> str:
    """Return a webhook URL in normal form.

    Raises:
        ValueError: it is not a URL, or too long.
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
    """Return metadata as it is stored: compact JSON."""
    return _COMPACT.encode(metadata)


class SeparationRequest(BaseModel):
    """What to separate. Exactly one of `search_query`, `url`, `upload_id`, `object`; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"search_query": "Song Title Artist"}]},
    )

    search_query: (
        Annotated[StrictStr, Field(max_length=QUERY_LIMIT), AfterValidator(check_text), AfterValidator(check_query)]
        | None
    ) = None
    """Words to search a recording by, for example title and artist; at most 500 characters."""
    url: Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(_check_url)] | None = None
    """Address of a media file or of a video page."""
    upload_id: Annotated[StrictStr, Field(max_length=64), AfterValidator(_lower_uuid)] | None = None
    """A file uploaded through POST /uploads."""
    object: Annotated[StrictStr, Field(min_length=1, max_length=KEY_LIMIT), AfterValidator(check_object_key)] | None = (
        None
    )
    """Key of an object in the service's own bucket, below an allowed prefix."""
    model: Annotated[
        StrictStr, Field(min_length=1, max_length=64, json_schema_extra={"enum": [AUTO_MODEL, *MODELS]})
    ] = AUTO_MODEL
    """One of the enabled models; `auto` is the service's default."""
    quality: Quality = DEFAULT_QUALITY
    """Trades speed for quality; a value that the model does not support is treated as `balanced`."""
    stems: Annotated[list[Stem], Field(min_length=1, max_length=8)] | None = None
    """Stems to publish; by default vocals and instrumental."""
    format: AudioFormat = "mp3"
    """Container and codec of the stems; m4a holds AAC."""
    bitrate: Annotated[StrictInt, Field(json_schema_extra={"enum": list(BITRATES)}), WHOLE] = DEFAULT_BITRATE
    """Kilobits per second of mp3, m4a and opus."""
    bit_depth: Annotated[StrictInt, Field(json_schema_extra={"enum": list(ALL_BIT_DEPTHS)}), WHOLE] | None = None
    """Bits per sample of flac and wav, 24 by default; 32 is floating point, for wav only."""
    vbr_quality: Annotated[StrictInt, Field(ge=0, le=9), WHOLE] | None = None
    """Encodes mp3 with a variable bit rate: 0 is best and largest, 9 smallest."""
    sample_rate: SampleRate | None = None
    """Hertz of the stems, 44100 by default; `source` is that of the source, at least 44100. Not for opus."""
    channels: Channels | None = None
    """Channels of the stems, `stereo` by default; `source` makes those of a mono source mono."""
    webhook_url: (
        Annotated[StrictStr, Field(min_length=8, max_length=WEBHOOK_LIMIT), AfterValidator(check_webhook_url)] | None
    ) = None
    """URL to POST to when the separation ends, at once if it is completed. https, at a public address."""
    webhook_events: Annotated[list[ChosenEvent], Field(min_length=1, max_length=8)] | None = None
    """Events to send; by default completed, failed and cancelled."""
    metadata: Annotated[dict[str, Any], AfterValidator(_check_metadata)] | None = None
    """Returned with the track, to this API key only; at most 1 KiB as JSON."""
    priority: Annotated[StrictInt, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY), WHOLE] = 0
    """Waiting separations of higher priority start first. The API key limits it, to 0 by default."""
    cache: Literal["use", "refresh"] = "use"
    """`refresh` separates again even if a result exists."""
