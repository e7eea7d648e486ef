"""An order: the validated body of POST /separate-audio as a SeparationJob."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stemyard_api.auth.api_keys import Principal
from stemyard_api.errors import (
    ForbiddenError,
    InvalidRequestError,
    ModelNotEnabledError,
    SourceDisabledError,
    UploadNotFoundError,
)
from stemyard_api.schemas.requests import _SOURCE_FIELDS, SeparationRequest, dump_metadata
from stemyard_api.services.stored_sources import belongs_to, check_allowed
from stemyard_api.settings import Settings
from stemyard_contract.identity import (
    resource_name,
    spec_cache_key,
    track_id,
    youtube_id,
)
from stemyard_contract.models import AUTO_MODEL, Model, resolve_model
from stemyard_contract.output import BIT_DEPTHS, BITRATES
from stemyard_contract.quality import DEFAULT_QUALITY
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


@dataclass(frozen=True)
class Order:
    """A checked request: whose it is, what it means, and the identity that follows."""

    key_id: str
    spec: SeparationJobSpec
    cache_key: str
    """Identity of the track; in per-key mode it holds the key's id."""
    content_key: str
    """Key of the request's content, as the operator computes it from a spec."""
    refresh: bool
    owner: str | None = None
    """Id of the one key the track belongs to, in per-key mode."""

    @cached_property
    def track_id(self) -> str:
        """Id of the requested track."""
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


def build_order(request: SeparationRequest, principal: Principal, settings: Settings) -> Order:
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
        raise InvalidRequestError.for_field("webhook_events", "is for webhook_url, which is missing")
    events = sorted(set(request.webhook_events)) if request.webhook_events is not None else None
    return Claim(key=principal.key_id, metadata=metadata, webhook=request.webhook_url, webhook_events=events)


def _priority(asked: int, principal: Principal) -> int:
    if asked > principal.highest_priority:
        raise ForbiddenError.for_field("priority", f"this API key may ask for at most {principal.highest_priority}")
    return asked


def _source(request: SeparationRequest, principal: Principal, settings: Settings) -> Source:
    given = [name for name in _SOURCE_FIELDS if getattr(request, name) is not None]
    if len(given) != 1:
        field = given[1] if given else _SOURCE_FIELDS[0]
        raise InvalidRequestError.for_field(field, f"give exactly one of {', '.join(_SOURCE_FIELDS)}")
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
        raise ModelNotEnabledError.for_field("model", f"{name!r} is not enabled here; choose from {choice}")
    return model


def _stems(stems: list[Stem], model: Model) -> list[Stem]:
    missing = sorted(set(stems) - model.stems)
    if missing:
        raise InvalidRequestError.for_field("stems", f"{model.name} does not give {', '.join(missing)}")
    return sorted(set(stems))


def _output(request: SeparationRequest) -> Output:
    if request.bitrate not in BITRATES:
        raise InvalidRequestError.for_field("bitrate", f"must be one of {', '.join(map(str, BITRATES))}")
    depths = BIT_DEPTHS.get(request.format, ())
    if request.bit_depth is not None and request.bit_depth not in depths:
        allowed = f"must be one of {', '.join(map(str, depths))}" if depths else "has no meaning"
        raise InvalidRequestError.for_field("bit_depth", f"{allowed} for {request.format}")
    if request.vbr_quality is not None and request.format != "mp3":
        raise InvalidRequestError.for_field("vbr_quality", "is for mp3 only")
    return Output(
        format=request.format,
        bitrate=request.bitrate,
        bit_depth=request.bit_depth,
        vbr_quality=request.vbr_quality,
    )
