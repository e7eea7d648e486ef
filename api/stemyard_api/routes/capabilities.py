"""Capabilities: what this deployment offers, and the scopes of the caller's key."""

from typing import get_args

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.dependencies import CallerDep, ServicesDep
from stemyard_api.schemas.examples import CAPABILITIES, problems
from stemyard_api.schemas.responses import Capabilities, FormatInfo, KeyInfo, ModelInfo, SourceInfo
from stemyard_api.settings import Settings
from stemyard_contract.models import MODELS
from stemyard_contract.output import BIT_DEPTHS, BITRATES, AudioFormat

router = APIRouter(tags=["capabilities"])


@router.get(
    "/capabilities",
    operation_id="getCapabilities",
    summary="Get capabilities",
    responses={
        200: {"model": Capabilities, "content": {"application/json": {"example": CAPABILITIES}}},
        **problems(401, 429),
    },
)
async def capabilities(services: ServicesDep, principal: CallerDep) -> JSONResponse:
    """Models, formats, kinds of source and limits of this deployment, and the scopes of this key. Needs no scope."""
    return JSONResponse(key_capabilities(services.settings, principal))


def key_capabilities(settings: Settings, principal: Principal) -> Capabilities:
    """Return the capabilities of this deployment for a key."""
    return Capabilities(
        key=KeyInfo(id=principal.key_id, scopes=sorted(principal.scopes)),
        sources=SourceInfo(
            search=settings.youtube_enabled,
            url=True,
            upload=settings.storage_configured,
            object=settings.storage_configured and bool(settings.object_source_prefixes),
            max_file_size_mb=settings.max_file_size_mb,
            max_duration_seconds=settings.max_duration_seconds,
        ),
        models=[_model(name, settings) for name in settings.models],
        formats=[_format(name) for name in get_args(AudioFormat)],
    )


def _model(name: str, settings: Settings) -> ModelInfo:
    model = MODELS[name]
    return ModelInfo(
        name=name,
        stems=sorted(model.stems),
        qualities=list(model.engine.qualities),
        default=name == settings.default_model,
    )


def _format(name: AudioFormat) -> FormatInfo:
    depths = BIT_DEPTHS.get(name)
    return (
        FormatInfo(name=name, bitrates=list(BITRATES))
        if depths is None
        else FormatInfo(name=name, bit_depths=[*depths])
    )
