"""An order: the validated body of POST /separate-audio as a SeparationJob."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.errors import (
    ForbiddenError,
    InvalidRequestError,
    ModelNotEnabledError,
    SourceDisabledError,
    UploadNotFoundError,
)
from stemyard_api.problems import invalid_request
from stemyard_api.schemas.requests import DEFAULT_STEMS, SOURCE_FIELDS, SeparationRequest, dump_metadata
from stemyard_api.services.stored_sources import belongs_to, check_allowed
from stemyard_api.settings import Settings
from stemyard_contract.address_guard import AddressRefusedError
from stemyard_contract.identity import (
    resource_name,
    spec_cache_key,
    track_id,
    youtube_id,
)
from stemyard_contract.models import AUTO_MODEL, Model, resolve_model
from stemyard_contract.output import BIT_DEPTHS, BITRATES
from stemyard_contract.separationjob import (
    API_TTL_SECONDS,
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
    """A validated request: its key, its spec and the resulting identity."""

    key_id: str
    spec: SeparationJobSpec
    cache_key: str
    """Identity of the track; in per-key mode it contains the key's id."""
    content_key: str
    """Key of the request's content, as the operator computes it from a spec."""
    refresh: bool
    owner: str | None = None
    """Id of the key that owns the track, in per-key mode."""

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
        """Priority in the queue."""
        return self.spec.priority

    def manifest(self, namespace: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the SeparationJob to create, with explicit defaults."""
        optional = {"annotations": dict(annotations)} if annotations else {}
        owner = {} if self.owner is None else {LABEL_OWNER: self.owner}
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "labels": {LABEL_TRACK: self.track_id, **owner},
                **optional,
            },
            "spec": self.spec.dump(),
        }


def build_order(request: SeparationRequest, principal: Principal, settings: Settings) -> Order:
    """Return the order of a request.

    Raises:
        InvalidRequestError: not exactly one source, or an unsupported value.
        ModelNotEnabledError, SourceDisabledError, UploadNotFoundError: the deployment refuses it.
        ForbiddenError: the priority is above the key's maximum.
    """
    try:
        spec = _spec(request, principal, settings)
    except ValidationError as error:  # the SeparationJob allows less than the request's own checks
        raise invalid_request(error.errors()) from None
    owner = principal.key_id if settings.result_sharing == "per-key" else None
    content = spec_cache_key(spec, settings.default_model)
    key = content if owner is None else spec_cache_key(spec, settings.default_model, owner)
    return Order(principal.key_id, spec, key, content, request.cache == "refresh", owner)


def _spec(request: SeparationRequest, principal: Principal, settings: Settings) -> SeparationJobSpec:
    source = _source(request, principal, settings)
    model = _model(request.model, settings)
    check_priority(request.priority, principal)
    return SeparationJobSpec(
        source=source,
        model=model.name,
        quality=model.engine.supported(request.quality),
        stems=_stems(request.stems or DEFAULT_STEMS, model),
        output=_output(request),
        priority=request.priority,
        claims=[_claim(request, principal, settings)],
        ttl_seconds_after_finished=API_TTL_SECONDS,
    )


def check_webhook_address(field: str, url: str, settings: Settings) -> None:
    """Check that the operator may send webhooks to a URL, as far as that is known without resolving its host.

    Raises:
        InvalidRequestError: it may not.
    """
    try:
        settings.webhook_guard.check(url)
    except AddressRefusedError as error:
        raise InvalidRequestError.for_field(field, f"is no address that webhooks are sent to: {error}") from None


def _claim(request: SeparationRequest, principal: Principal, settings: Settings) -> Claim:
    if request.webhook_url is not None:
        check_webhook_address("webhook_url", request.webhook_url, settings)
    metadata = None if request.metadata is None else dump_metadata(request.metadata)
    if request.webhook_events is not None and request.webhook_url is None:
        raise InvalidRequestError.for_field("webhook_events", "requires webhook_url")
    events = sorted(set(request.webhook_events)) if request.webhook_events is not None else None
    return Claim(key=principal.key_id, metadata=metadata, webhook=request.webhook_url, webhook_events=events)


def check_priority(priority: int, principal: Principal) -> None:
    """Check that a key may give this priority.

    Raises:
        ForbiddenError: it is above the key's maximum.
    """
    if priority > principal.highest_priority:
        raise ForbiddenError.for_field("priority", f"this API key may request at most {principal.highest_priority}")


def _source(request: SeparationRequest, principal: Principal, settings: Settings) -> Source:
    given = [name for name in SOURCE_FIELDS if getattr(request, name) is not None]
    if len(given) != 1:
        field = given[1] if given else SOURCE_FIELDS[0]
        raise InvalidRequestError.for_field(field, f"give exactly one of {', '.join(SOURCE_FIELDS)}")
    if request.upload_id is not None:
        return Source(upload=_upload(request.upload_id, principal, settings))
    if request.object is not None:
        return Source(object=_object(request.object, settings))
    if not settings.youtube_enabled and (request.url is None or youtube_id(request.url)):
        raise SourceDisabledError("Search and YouTube are disabled; send a media URL or upload the file.")
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
        raise ModelNotEnabledError.for_field("model", f"{name!r} is not enabled; choose from {choice}")
    return model


def _stems(stems: Sequence[Stem], model: Model) -> list[Stem]:
    missing = sorted(set(stems) - model.stems)
    if missing:
        raise InvalidRequestError.for_field("stems", f"{model.name} does not produce {', '.join(missing)}")
    return sorted(set(stems))


def _output(request: SeparationRequest) -> Output:
    if request.bitrate not in BITRATES:
        raise InvalidRequestError.for_field("bitrate", f"must be one of {', '.join(map(str, BITRATES))}")
    depths = BIT_DEPTHS.get(request.format, ())
    if request.bit_depth is not None and request.bit_depth not in depths:
        allowed = f"must be one of {', '.join(map(str, depths))}" if depths else "is not supported"
        raise InvalidRequestError.for_field("bit_depth", f"{allowed} for {request.format}")
    if request.vbr_quality is not None and request.format != "mp3":
        raise InvalidRequestError.for_field("vbr_quality", "is supported for mp3 only")
    if request.sample_rate is not None and request.format == "opus":
        raise InvalidRequestError.for_field("sample_rate", "is not supported for opus, which has 48 kHz")
    return Output(
        format=request.format,
        bitrate=request.bitrate,
        bit_depth=request.bit_depth,
        vbr_quality=request.vbr_quality,
        sample_rate=request.sample_rate,
        channels=request.channels,
    )
