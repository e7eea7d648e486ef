"""Usage of each key, and erasure of a key's data. The source is the claims of SeparationJobs."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from stemyard_api.dependencies import AdminDep, ServicesDep, SubmitterDep
from stemyard_api.errors import ForbiddenError
from stemyard_api.ratelimit.quotas import used_minutes
from stemyard_api.schemas.examples import USAGE, problems
from stemyard_api.schemas.responses import Erased, KeyUsage, Usage
from stemyard_api.services.job_actions import erase
from stemyard_api.services.listing import iterate_tracks
from stemyard_api.services.rendering import status_of
from stemyard_api.services.tracks import Track
from stemyard_contract.identity import uploads_prefix

_DAYS: Final = 30
_DAY_SECONDS: Final = 24 * 3600.0

router = APIRouter(tags=["keys"])


@router.get(
    "/usage",
    operation_id="getUsage",
    summary="Get usage by key",
    responses={
        200: {"model": Usage, "content": {"application/json": {"example": USAGE}}},
        **problems(401, 403, 422, 429, 503),
    },
)
async def usage(
    services: ServicesDep,
    _principal: AdminDep,
    created_after: Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)] = None,
    created_before: Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)] = None,
) -> JSONResponse:
    """Tracks, seconds of audio and seconds of processing by key; by default of the last 30 days."""
    end = time.time() if created_before is None else created_before
    start = end - _DAYS * _DAY_SECONDS if created_after is None else created_after
    keys = await by_key(iterate_tracks(services.redis, services.kubernetes, (end, ""), start))
    return JSONResponse(Usage(created_after=start, created_before=end, keys=keys))


async def by_key(tracks: AsyncIterator[Track]) -> list[KeyUsage]:
    """Return the usage of each key by its claims, in the order of the ids."""
    usage_by_key: dict[str, KeyUsage] = {}
    async for track in tracks:
        for key_id in track.record.claims:
            _count(track, usage_by_key.setdefault(key_id, _no_usage(key_id)))
    return [usage_by_key[key_id] for key_id in sorted(usage_by_key)]


def _no_usage(key_id: str) -> KeyUsage:
    return KeyUsage(
        key_id=key_id, tracks=0, processing=0, completed=0, failed=0, audio_seconds=0.0, processing_seconds=0.0
    )


def _count(track: Track, counts: KeyUsage) -> None:
    record, status = track.record, status_of(track.record)
    counts["tracks"] += 1
    counts[status] += 1
    if status == "completed":
        counts["audio_seconds"] = round(counts["audio_seconds"] + (record.duration or 0.0), 3)
    if record.finished and record.started_at is not None and record.ended_at is not None:
        counts["processing_seconds"] = round(counts["processing_seconds"] + record.ended_at - record.started_at, 3)


@router.delete(
    "/keys/{key_id}/data",
    operation_id="eraseKeyData",
    summary="Erase a key's data",
    responses={200: {"model": Erased}, **problems(401, 403, 422, 429, 503)},
)
async def erase_data(
    services: ServicesDep,
    principal: SubmitterDep,
    key_id: Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")],
) -> JSONResponse:
    """Give up every claim of a key, and delete its uploads, its webhooks and the tracks that only it claimed.

    For the key itself, or an admin. After an error, repeat the request: it continues where it stopped.
    """
    if principal.key_id != key_id and not principal.is_admin:
        raise ForbiddenError("Only the key itself, or a key with the scope admin, may erase its data.")
    webhooks = await services.registered_webhooks.erase(key_id)
    done = await erase(services.job_actions, key_id)
    for one in done:
        await services.quotas.leave(key_id, one.record.track_id, used_minutes(one.record))
    prefix = uploads_prefix(services.settings.stemyard_install_id, key_id)
    if services.multipart_uploads is not None:
        await services.multipart_uploads.multipart.abort_below(prefix)
    uploads = await services.object_store.delete_below(prefix) if services.object_store is not None else 0
    answer = Erased(
        key_id=key_id,
        claims_removed=sum(one.claim_removed for one in done),
        tracks_deleted=sum(one.ended for one in done),
        uploads_deleted=uploads,
        webhooks_deleted=webhooks,
    )
    return JSONResponse(answer)
