"""Validation of a spec against the deployment: models, profiles, sources. Pure."""

from stemyard_contract.failures import FailureCode
from stemyard_contract.identity import normalise_url, youtube_id
from stemyard_contract.models import AUTO_MODEL, resolve_model
from stemyard_contract.object_source import allows
from stemyard_contract.separationjob import Deadlines, SeparationJobSpec, Source
from stemyard_operator.config.settings import Settings
from stemyard_operator.model.separation import Separation

Refusal = tuple[FailureCode, str]
"""Failure code, and a message that says what to change."""


def refusal(separation: Separation, settings: Settings) -> Refusal | None:
    """Return why this deployment cannot serve a SeparationJob, or None if it can."""
    spec = separation.spec
    return (
        _model_refusal(spec, settings)
        or _profile_refusal(spec, settings)
        or _upload_refusal(separation)
        or _source_refusal(spec.source, settings)
    )


def shortened(requested: Deadlines, allowed: Deadlines) -> str:
    """Return the message that names the deadlines that the deployment has shortened; "" if there are none."""
    shorter = [name for name in Deadlines.model_fields if getattr(allowed, name) != getattr(requested, name)]
    named = ", ".join(f"deadlines.{name} to {getattr(allowed, name)} seconds" for name in shorter)
    return f"This deployment shortens {named}." if named else ""


def _model_refusal(spec: SeparationJobSpec, settings: Settings) -> Refusal | None:
    model = resolve_model(spec.model, settings.default_model)
    name = settings.default_model if spec.model == AUTO_MODEL else spec.model
    if model is None or name not in settings.models:
        return FailureCode.MODEL_NOT_ENABLED, f"The model {name} is not enabled; use {_any_of(settings.models)}."
    missing = [stem for stem in spec.stems if stem not in model.stems]
    if missing:
        return (
            FailureCode.INVALID_REQUEST,
            f"The model {name} does not produce {', '.join(missing)}; use {_any_of(sorted(model.stems))}.",
        )
    return None


def _profile_refusal(spec: SeparationJobSpec, settings: Settings) -> Refusal | None:
    if spec.profile in settings.profiles:
        return None
    known = _any_of(sorted(settings.profiles))
    return FailureCode.INVALID_REQUEST, f"The profile {spec.profile} does not exist; use {known}."


def _upload_refusal(separation: Separation) -> Refusal | None:
    """Refuse uploads elsewhere than in the API's namespace: who knows the id of one need not be who uploaded it."""
    if separation.spec.source.upload is None or separation.upload is not None:
        return None
    return (
        FailureCode.SOURCE_DISABLED,
        "Uploads are sources in the namespace of the API only; request it through the API, or use another source.",
    )


def _source_refusal(source: Source, settings: Settings) -> Refusal | None:
    if source.url is not None and not _is_parsable(source.url):
        return FailureCode.INVALID_REQUEST, "The source's URL is not valid; check its host and port."
    wants_youtube = source.search_query is not None or (source.url is not None and youtube_id(source.url) is not None)
    if wants_youtube and not settings.youtube_enabled:
        return FailureCode.SOURCE_DISABLED, "YouTube is disabled; upload a file or use the URL of a media file."
    if source.object is not None and not allows(
        settings.object_source_prefixes, source.object.key, settings.stemyard_install_id
    ):
        return FailureCode.SOURCE_DISABLED, "The object's key has none of the prefixes that the deployment allows."
    return None


def _is_parsable(url: str) -> bool:
    try:
        return bool(normalise_url(url))
    except ValueError:
        return False


def _any_of(words: object) -> str:
    return " or ".join(map(str, words)) if isinstance(words, list | tuple) else str(words)
