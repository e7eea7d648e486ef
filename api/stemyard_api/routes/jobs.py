"""Endpoints of existing tracks: list, wait, candidates, cancel, retry, delete."""

import asyncio
import time
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

from stemyard_api.auth.api_keys import Scope
from stemyard_api.auth.authorization import check_visible
from stemyard_api.dependencies import ReaderDep, ServicesDep, SubmitterDep
from stemyard_api.schemas.examples import CANDIDATES, JOB_STATES, JOBS, problems
from stemyard_api.schemas.responses import Cancelled, Candidates, Completed, Deleted, Failed, Jobs, Processing, Status
from stemyard_api.schemas.responses import Candidate as CandidateAnswer
from stemyard_api.services import rendering
from stemyard_api.services.listing import CURSOR, Place, collect_page, iterate_tracks, parse_cursor
from stemyard_api.services.tracks import Track
from stemyard_contract.mirror import record_of
from stemyard_contract.separationjob import Phase, SeparationJobStatus

LONGEST_WAIT: Final = 60.0
"""Seconds; proxies tend to cut what takes longer."""
_LOOK_SECONDS: Final = 0.5

router = APIRouter(tags=["jobs"])

TrackId = Annotated[str, Path(description="Id from POST /separate-audio", max_length=256)]
_Moment = Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)]


@router.get(
    "/jobs",
    summary="List separations",
    responses={
        200: {"model": Jobs, "content": {"application/json": {"example": JOBS}}},
        **problems(401, 403, 422, 429, 503),
    },
)
async def jobs(
    services: ServicesDep,
    principal: ReaderDep,
    status: Annotated[Status | None, Query(description="Only tracks in this state")] = None,
    created_after: _Moment = None,
    created_before: _Moment = None,
    everyone: Annotated[bool, Query(alias="all", description="Of all keys; needs the scope admin")] = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(pattern=CURSOR, description="`next_cursor` of the page before")] = None,
) -> JSONResponse:
    """Separations this key asked for, newest first; with `all=true` everybody's. Times are epoch seconds."""
    if everyone:
        principal.require(Scope.ADMIN)

    def fits(track: Track) -> bool:
        mine = everyone or principal.key_id in track.record.claims
        return mine and status in {None, rendering.status_of(track.record)}

    start: Place = parse_cursor(cursor) if cursor is not None else (float("inf"), "")
    if created_before is not None:
        start = min(start, (created_before, ""))
    found = await collect_page(
        iterate_tracks(services.redis, services.kubernetes, start, created_after or 0.0), fits, limit
    )
    shown = [rendering.summary(track.record, track.progress, principal.key_id) for track in found.tracks]
    return JSONResponse(Jobs(jobs=shown, next_cursor=found.cursor))


@router.get(
    "/job/{track_id}/wait",
    summary="Wait for a separation to end",
    responses={
        200: {
            "model": Processing | Completed | Failed,
            "description": "Its state, at its end or after the time",
            "content": {"application/json": {"examples": JOB_STATES}},
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def wait(
    services: ServicesDep,
    principal: ReaderDep,
    track_id: TrackId,
    timeout: Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 30.0,  # noqa: ASYNC109
) -> Response:
    """State of a track once it is completed or failed, or when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    state = await services.states.get(track_id, principal)
    while not state.finished and not services.event_hub.draining and (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(_LOOK_SECONDS, left))
        state = await services.states.get(track_id, principal)
    return Response(state.body, media_type="application/json")


@router.get(
    "/job/{track_id}/candidates",
    summary="What the search found",
    responses={
        200: {"model": Candidates, "content": {"application/json": {"example": CANDIDATES}}},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def candidates(services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> JSONResponse:
    """Recordings that the search of this track considered, best first."""
    resource = await services.tracks.resource(track_id)
    record = record_of(resource)
    check_visible(record, principal, shared=services.settings.results_shared)
    source = SeparationJobStatus.model_validate(resource.get("status") or {}).source
    found = (source.candidates if source is not None else None) or []
    shown = [
        CandidateAnswer(
            media_id=item.media_id,
            title=item.title,
            channel=item.channel,
            duration=item.duration,
            score=item.score,
            reason=item.reason,
            chosen=item.chosen,
        )
        for item in found
    ]
    return JSONResponse(Candidates(track_id=track_id, query=record.query, candidates=shown))


@router.post(
    "/job/{track_id}/cancel",
    summary="Cancel a separation",
    responses={
        200: {"model": Cancelled, "description": "It had ended before, or other keys still want it"},
        202: {"model": Cancelled, "description": "It is being cancelled"},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def cancel(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Give up this key's claim; the track is cancelled when it was the last claim, or by an admin.

    A track that has ended stays as it is. To cancel twice is no error.
    """
    done = await services.job_actions.cancel(track_id, principal)
    if done.claim_removed:
        await services.quotas.leave(principal, track_id)
    cancelled = done.record.cancel or done.record.phase is Phase.CANCELLED
    answer = Cancelled(
        track_id=track_id,
        status=rendering.status_of(done.record),
        cancelled=cancelled,
        claim_removed=done.claim_removed,
    )
    return JSONResponse(answer, 202 if cancelled and not done.record.finished else 200)


@router.post(
    "/job/{track_id}/retry",
    summary="Try a separation again",
    responses={
        202: {"model": Processing, "description": "It is under way"},
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
)
async def retry(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Run a failed or cancelled separation once more; one that is under way is joined."""
    async with services.quotas.reserve(principal, track_id):
        record = await services.job_actions.retry(track_id, principal)
    return JSONResponse(rendering.processing(record, None, principal.key_id), 202)


@router.delete(
    "/job/{track_id}",
    summary="Delete a separation",
    responses={200: {"model": Deleted}, **problems(401, 403, 404, 422, 429, 503)},
)
async def delete(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Give up this key's claim; track and files are deleted when it was the last claim, or by an admin."""
    done = await services.job_actions.delete(track_id, principal)
    if done.claim_removed:
        await services.quotas.leave(principal, track_id)
    answer = Deleted(
        track_id=track_id,
        deleted=done.ended,
        claim_removed=done.claim_removed,
        webhooks_abandoned=done.webhooks_abandoned,
    )
    return JSONResponse(answer)
