"""Shares: links to a result that need no key, and archives of all stems of a track."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from stemyard_api.auth.share_tokens import TOKEN_PATTERN
from stemyard_api.connections import client_address
from stemyard_api.dependencies import ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.errors import InvalidRequestError, NotConfiguredError, QuotaExceededError
from stemyard_api.routes.archive_stream import ArchiveStream
from stemyard_api.routes.jobs import TrackId
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.examples import SHARE_LINK, SHARED_RESULT, problems
from stemyard_api.schemas.integers import WHOLE
from stemyard_api.schemas.responses import SharedResult, ShareLink, SharesRevoked
from stemyard_contract.mirror import MirrorRecord

_SHORTEST_SECONDS: Final = 60
_DOWNLOADS_PER_ADDRESS: Final = 4
_RETRY_SECONDS: Final = 15
_ZIP: Final = "application/zip"
_NOT_INDEXED: Final = {"X-Robots-Tag": "noindex, nofollow"}

router = APIRouter(tags=["shares"], route_class=JsonRoute)

Token = Annotated[str, Path(description="Token from POST /job/{track_id}/share", pattern=TOKEN_PATTERN)]
_ARCHIVE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A ZIP file of all stems",
        "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ShareRequest(BaseModel):
    """How long the link is valid; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"expires_in": 86400}]}
    )

    expires_in: Annotated[StrictInt, Field(ge=_SHORTEST_SECONDS), WHOLE] | None = None
    """Seconds, by default 7 days; the deployment limits them, to 30 days by default."""


@router.post(
    "/job/{track_id}/share",
    operation_id="createShareLink",
    summary="Share a result",
    responses={
        200: {"model": ShareLink, "content": {"application/json": {"example": SHARE_LINK}}},
        **problems(401, 403, 404, 409, 422, 429, 501, 503),
    },
)
async def share(
    request: Request,
    services: ServicesDep,
    principal: SubmitterDep,
    track_id: TrackId,
    body: ShareRequest | None = None,
) -> JSONResponse:
    """A link to a completed track for people without a key, until it expires, is revoked, or the track is deleted.

    Anyone with the link can play and download the stems. It shows the title and the stems, and nothing of this key.
    """
    seconds, most = None if body is None else body.expires_in, services.settings.share_max_seconds
    if seconds is not None and most and seconds > most:
        raise InvalidRequestError.for_field("expires_in", f"must be at most {most} seconds")
    token, expires_at = await services.shares.issue(track_id, principal, seconds)
    path = f"s/{token}" if services.settings.web_enabled else f"share/{token}"
    return JSONResponse(ShareLink(url=f"{request.base_url}{path}", token=token, expires_at=expires_at))


@router.delete(
    "/job/{track_id}/share",
    operation_id="revokeShareLinks",
    summary="Revoke all share links of a separation",
    responses={200: {"model": SharesRevoked}, **problems(401, 403, 404, 422, 429, 503)},
)
async def revoke(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """End every share link of a track that this key requested, those of other keys included.

    Links to stems that were read through one stay valid for up to an hour.
    """
    await services.job_actions.revoke_shares(track_id, principal)
    return JSONResponse(SharesRevoked(track_id=track_id, revoked=True))


@router.get(
    "/share/{token}",
    operation_id="getSharedResult",
    summary="Get a shared result",
    responses={
        200: {"model": SharedResult, "content": {"application/json": {"example": SHARED_RESULT}}},
        **problems(404, 409, 410, 422, 429, 503),
    },
)
async def shared(services: ServicesDep, token: Token) -> JSONResponse:
    """The result that a share link shows. Needs no key; requests are limited by address.

    410 if the link has expired or was revoked or the track was deleted, 409 while the track is separated again.
    """
    return JSONResponse(await services.shares.result(token), headers=_NOT_INDEXED)


@router.get(
    "/job/{track_id}/stems.zip",
    operation_id="downloadStems",
    summary="Download all stems",
    response_class=Response,
    responses={**_ARCHIVE, **problems(401, 403, 404, 409, 422, 429, 500, 501, 503)},
)
async def stems(services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> Response:
    """All stems of a completed track in one ZIP file. It counts as an open stream of the key."""
    record = await services.shares.completed(track_id, principal)
    most = principal.limits.streams or services.settings.quota_streams
    # so that one key cannot keep all others from downloading
    half = -(-services.settings.max_downloads // 2)
    return await _archive(services, record, {principal.key_id: most, f"downloads:{principal.key_id}": half})


@router.get(
    "/share/{token}/stems.zip",
    operation_id="downloadSharedStems",
    summary="Download all stems of a shared result",
    response_class=Response,
    responses={**_ARCHIVE, **problems(404, 409, 410, 422, 429, 500, 501, 503)},
)
async def shared_stems(request: Request, services: ServicesDep, token: Token) -> Response:
    """All stems in one ZIP file. Needs no key; an address may download four at once."""
    record, _ = await services.shares.follow(token)
    return await _archive(services, record, {f"address:{client_address(request.scope)}": _DOWNLOADS_PER_ADDRESS})


async def _archive(services: Services, record: MirrorRecord, places: Mapping[str, int]) -> Response:
    """Return the archive of a track; it takes a place of each of these owners, who have so many."""
    if services.object_reader is None:
        raise NotConfiguredError("No object store is configured, so there are no stems.")
    with ExitStack() as entered:
        for owner, most in places.items():
            if not services.event_hub.enter(owner, most):
                detail = f"At most {most} streams and downloads may be open at once."
                raise QuotaExceededError(detail, retry_after=_RETRY_SECONDS)
            entered.callback(services.event_hub.leave, owner)
        leave = entered.pop_all().close
    return await ArchiveStream.open(services.object_reader, record, leave)
