"""Submission: the body of POST /separate-audio, checked and turned into the one resource it means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from stemyard_api.auth.api_keys import HIGHEST_PRIORITY, Principal
from stemyard_api.errors import (
    ForbiddenError,
    InvalidRequestError,
    ModelNotEnabledError,
    SourceDisabledError,
    UploadNotFoundError,
)
from stemyard_api.schemas.integers import WHOLE
from stemyard_api.services.stored_sources import check_allowed
from stemyard_api.settings import Settings
from stemyard_api.upload_id import belongs_to
from stemyard_contract.identity import (
    QUERY_LIMIT,
    check_query,
    normalise_url,
    resource_name,
    spec_cache_key,
    track_id,
    youtube_id,
)
from stemyard_contract.models import AUTO_MODEL, MODELS, Model, resolve_model
from stemyard_contract.object_source import KEY_LIMIT, check_object_key
from stemyard_contract.outbox import URL_LIMIT as WEBHOOK_LIMIT
from stemyard_contract.outbox import ChosenEvent
from stemyard_contract.output import BIT_DEPTHS, BITRATES, AudioFormat
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.separationjob import (
    API_VERSION,
    KIND,
    LABEL_OWNER,
    LABEL_TRACK,
    Claim,
    ObjectSource,
    Output,
    SeparationJobSpec,
    Source,
    Stem,
    UploadSource,
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


@dataclass(frozen=True)
class Order:
    """A checked request: whose it is, what it means, and the identity that follows."""

    key_id: str
    spec: SeparationJobSpec
    cache_key: str
    """Identity of the track; in per-key mode it holds the key's id."""
    content_key: str
    """What is asked for alone, as the operator reckons it from a spec."""
    refresh: bool
    owner: str | None = None
    """Id of the one key the track belongs to, in per-key mode."""

    @cached_property
    def track_id(self) -> str:
        """Id of the track asked for."""
        return track_id(self.cache_key)

    @property
    def name(self) -> str:
        """Name of the track's SeparationJob."""
        return resource_name(self.track_id)

    @property
    def claim(self) -> Claim:
        """This key's claim on the track."""
        return self.spec.claims[0]

    @property
    def priority(self) -> int:
        """How urgent it is."""
        return self.spec.priority

    def manifest(self, namespace: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the SeparationJob to create, every default written out."""
        told = {"annotations": dict(annotations)} if annotations else {}
        owner = {} if self.owner is None else {LABEL_OWNER: self.owner}
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "labels": {LABEL_TRACK: self.track_id, **owner},
                **told,
            },
            "spec": self.spec.dump(),
        }


def order_of(request: SeparationRequest, principal: Principal, settings: Settings) -> Order:
    """Return the order a request means.

    Raises:
        InvalidRequestError: not exactly one source, or a value that is not offered.
        ModelNotEnabledError, SourceDisabledError, UploadNotFoundError: the deployment refuses it.
        ForbiddenError: the key may not ask for so high a priority.
    """
    source = _source(request, principal, settings)
    model = _model(request.model, settings)
    spec = SeparationJobSpec(
        source=source,
        model=model.name,
        quality=request.quality if model.engine.has_presets else DEFAULT_QUALITY,
        stems=_stems(request.stems, model),
        output=_output(request),
        priority=_priority(request.priority, principal),
        claims=[_claim(request, principal)],
    )
    owner = principal.key_id if settings.result_sharing == "per-key" else None
    content = spec_cache_key(spec, settings.default_model)
    key = content if owner is None else spec_cache_key(spec, settings.default_model, owner)
    return Order(principal.key_id, spec, key, content, request.cache == "refresh", owner)


def _claim(request: SeparationRequest, principal: Principal) -> Claim:
    metadata = None if request.metadata is None else dump_metadata(request.metadata)
    if request.webhook_events is not None and request.webhook_url is None:
        raise InvalidRequestError.of("webhook_events", "is for webhook_url, which is missing")
    events = sorted(set(request.webhook_events)) if request.webhook_events is not None else None
    return Claim(key=principal.key_id, metadata=metadata, webhook=request.webhook_url, webhook_events=events)


def _priority(asked: int, principal: Principal) -> int:
    if asked > principal.highest_priority:
        raise ForbiddenError.of("priority", f"this API key may ask for at most {principal.highest_priority}")
    return asked


def _source(request: SeparationRequest, principal: Principal, settings: Settings) -> Source:
    given = [name for name in _SOURCE_FIELDS if getattr(request, name) is not None]
    if len(given) != 1:
        field = given[1] if given else _SOURCE_FIELDS[0]
        raise InvalidRequestError.of(field, f"give exactly one of {', '.join(_SOURCE_FIELDS)}")
    if request.upload_id is not None:
        return Source(upload=_upload(request.upload_id, principal, settings))
    if request.object is not None:
        return Source(object=_object(request.object, settings))
    if not settings.youtube_enabled and (request.url is None or youtube_id(request.url)):
        raise SourceDisabledError("Searching and YouTube are turned off here; send a media URL or upload the file.")
    return Source(search_query=request.search_query, url=request.url)


def _upload(upload_id: str, principal: Principal, settings: Settings) -> UploadSource:
    if not belongs_to(upload_id, settings.stemyard_install_id, principal.key_id):
        raise UploadNotFoundError
    return UploadSource(id=upload_id, owner=principal.key_id)


def _object(key: str, settings: Settings) -> ObjectSource:
    source = ObjectSource(key=key)
    check_allowed(source, settings)
    return source


def _model(name: str, settings: Settings) -> Model:
    model = resolve_model(name, settings.default_model)
    if model is None or model.name not in settings.models:
        choice = ", ".join((AUTO_MODEL, *settings.models))
        raise ModelNotEnabledError.of("model", f"{name!r} is not enabled here; choose from {choice}")
    return model


def _stems(stems: list[Stem], model: Model) -> list[Stem]:
    missing = sorted(set(stems) - model.stems)
    if missing:
        raise InvalidRequestError.of("stems", f"{model.name} does not give {', '.join(missing)}")
    return sorted(set(stems))


def _output(request: SeparationRequest) -> Output:
    if request.bitrate not in BITRATES:
        raise InvalidRequestError.of("bitrate", f"must be one of {', '.join(map(str, BITRATES))}")
    depths = BIT_DEPTHS.get(request.format, ())
    if request.bit_depth is not None and request.bit_depth not in depths:
        allowed = f"must be one of {', '.join(map(str, depths))}" if depths else "has no meaning"
        raise InvalidRequestError.of("bit_depth", f"{allowed} for {request.format}")
    if request.vbr_quality is not None and request.format != "mp3":
        raise InvalidRequestError.of("vbr_quality", "is for mp3 only")
    return Output(
        format=request.format,
        bitrate=request.bitrate,
        bit_depth=request.bit_depth,
        vbr_quality=request.vbr_quality,
    )
