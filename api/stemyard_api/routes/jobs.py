"""Endpoints of existing tracks: list, get, wait, candidates, cancel, retry, delete."""

import asyncio
import time
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator

from stemyard_api.asgi import FAILURE
from stemyard_api.auth.api_keys import Scope
from stemyard_api.auth.authorization import check_visible, listed
from stemyard_api.dependencies import ReaderDep, ServicesDep, SubmitterDep
from stemyard_api.errors import UnauthenticatedError, UnavailableError
from stemyard_api.ratelimit.quotas import used_minutes
from stemyard_api.schemas.examples import CANDIDATES, JOB_STATES, JOBS, problems
from stemyard_api.schemas.responses import Cancelled, Candidates, Deleted, Jobs, Status
from stemyard_api.schemas.responses import Candidate as CandidateAnswer
from stemyard_api.schemas.states import Job
from stemyard_api.services import rendering
from stemyard_api.services.listing import CURSOR, Place, collect_page, iterate_batch, iterate_tracks, parse_cursor
from stemyard_api.services.records import read_record, read_status
from stemyard_api.services.track_filter import TrackFilter, parse_metadata, words_of
from stemyard_api.services.tracks import Track, canonical_track_id
from stemyard_contract.separationjob import Phase

LONGEST_WAIT: Final = 60.0
"""Maximum wait in seconds; proxies tend to close longer requests."""
_POLL_SECONDS: Final = 0.5
BATCH_ID: Final = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

router = APIRouter(tags=["jobs"])

TrackId = Annotated[
    str, Path(description="Id from POST /separate-audio", max_length=256), AfterValidator(canonical_track_id)
]
_Status = Annotated[Status | None, Query(description="Return only tracks in this state")]
_Phases = Annotated[list[Phase] | None, Query(max_length=8, description="Return only tracks in these phases")]
_Text = Annotated[
    str | None, Query(min_length=1, max_length=200, description="Words that occur in query, title, artist or channel")
]
_Metadata = Annotated[
    str | None,
    Query(
        min_length=2,
        max_length=1024,
        description="JSON object; names and values that the metadata of this key has at its top level",
        examples=['{"order":7}'],
    ),
]
_Batch = Annotated[
    str | None, Query(pattern=BATCH_ID, description="`batch_id` of a response to POST /batch of this key")
]
_Since = Annotated[
    float | None,
    Query(ge=0, le=1e11, allow_inf_nan=False, description="Return only tracks requested or ended at or after this"),
]
_Moment = Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)]
_Everyone = Annotated[bool, Query(alias="all", description="Return tracks of all keys; needs the scope admin")]
_Cursor = Annotated[str | None, Query(pattern=CURSOR, description="`next_cursor` of the previous page")]


@router.get(
    "/jobs",
    operation_id="listJobs",
    summary="List separations",
    responses={
        200: {"model": Jobs, "content": {"application/json": {"example": JOBS}}},
        **problems(401, 403, 422, 429, 503),
    },
)
async def jobs(
    services: ServicesDep,
    principal: ReaderDep,
    status: _Status = None,
    phase: _Phases = None,
    text: _Text = None,
    metadata: _Metadata = None,
    batch: _Batch = None,
    since: _Since = None,
    created_after: _Moment = None,
    created_before: _Moment = None,
    everyone: _Everyone = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: _Cursor = None,
) -> JSONResponse:
    """Separations that this key requested, newest first; with `all=true` those of all keys. Times are epoch seconds.

    SeparationJobs of kubectl users are listed for keys whose entry names their namespace. A page may be shorter than
    `limit`, or empty, and still have a `next_cursor`: at most 5,000 tracks are read for one.
    """
    if everyone:
        principal.require(Scope.ADMIN)
    wanted = TrackFilter(
        status,
        phase or (),
        words_of(text or ""),
        {} if metadata is None else parse_metadata(metadata),
        since or 0.0,
    )

    def fits(track: Track) -> bool:
        return (everyone or listed(track.record, principal)) and wanted.matches(track.record, principal.key_id)

    start: Place = parse_cursor(cursor) if cursor is not None else (float("inf"), "")
    if created_before is not None:
        start = min(start, (created_before, ""))
    oldest = created_after or 0.0
    if batch is None:
        owner = None if everyone else principal
        tracks = iterate_tracks(services.redis, services.kubernetes, start, oldest, owner)
    elif services.redis is None:
        raise UnavailableError("Batches are unknown: this service has no Redis.")
    else:
        ids = await services.redis.batch(principal.key_id, batch.lower())
        tracks = iterate_batch(services.redis, services.kubernetes, ids, start, oldest)
    page = await collect_page(tracks, fits, limit)
    shown = [rendering.summary(track.record, track.progress, principal.key_id) for track in page.tracks]
    return JSONResponse(Jobs(jobs=shown, next_cursor=page.cursor))


@router.get(
    "/job/{track_id}",
    operation_id="getJob",
    summary="Get a separation",
    responses={
        200: {
            "model": Job,
            "description": "Its state; a failed separation is 200 too",
            "content": {"application/json": {"examples": JOB_STATES}},
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def job(request: Request, services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> Response:
    """State of a track: `processing`, `completed` or `failed`."""
    # the fast path answers most of these requests before they reach the route
    if (failure := request.scope.get(FAILURE)) is not None:
        raise failure
    return Response(await services.states.body(track_id, principal), media_type="application/json")


@router.get(
    "/job/{track_id}/wait",
    operation_id="waitForJob",
    summary="Wait for a separation to end",
    responses={
        200: {
            "model": Job,
            "description": "Its state, when it ends or after `timeout`",
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
    """State of a track, once it is completed or failed or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    state = await services.states.get(track_id, principal)
    while not state.finished and not services.event_hub.draining and (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(_POLL_SECONDS, left))
        if not principal.validity.holds():
            raise UnauthenticatedError
        state = await services.states.get(track_id, principal)
    return Response(state.body, media_type="application/json")


@router.get(
    "/job/{track_id}/candidates",
    operation_id="listCandidates",
    summary="List search results",
    responses={
        200: {"model": Candidates, "content": {"application/json": {"example": CANDIDATES}}},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def candidates(services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> JSONResponse:
    """Recordings that the search considered, best first."""
    resource = await services.tracks.resource(track_id, principal)
    record = read_record(resource)
    check_visible(record, principal, shared=services.settings.results_shared)
    source = read_status(resource).source
    considered = (source.candidates if source is not None else None) or []
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
        for item in considered
    ]
    return JSONResponse(Candidates(track_id=track_id, query=record.query, candidates=shown))


@router.post(
    "/job/{track_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a separation",
    responses={
        200: {"model": Cancelled, "description": "It had already ended, or other keys still claim it"},
        202: {"model": Cancelled, "description": "It is being cancelled"},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def cancel(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Give up this key's claim; the track is cancelled if it was the last claim, or by an admin.

    A track that has ended does not change. Cancelling twice is not an error.
    """
    done = await services.job_actions.cancel(track_id, principal)
    if done.claim_removed:
        await services.quotas.leave(principal.key_id, track_id, used_minutes(done.record))
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
    operation_id="retryJob",
    summary="Retry a separation",
    status_code=202,
    responses={
        202: {"model": Job, "description": "It is under way"},
        **problems(401, 403, 404, 409, 422, 429, 501, 503),
    },
)
async def retry(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Run a failed or cancelled separation again; one that is running is joined."""
    async with services.quotas.reserve(principal, track_id):
        record = await services.job_actions.retry(track_id, principal)
    return JSONResponse(rendering.processing(record, None, principal.key_id), 202)


@router.delete(
    "/job/{track_id}",
    operation_id="deleteJob",
    summary="Delete a separation",
    responses={200: {"model": Deleted}, **problems(401, 403, 404, 422, 429, 503)},
)
async def delete(services: ServicesDep, principal: SubmitterDep, track_id: TrackId) -> JSONResponse:
    """Give up this key's claim; track and files are deleted if it was the last claim, or by an admin."""
    done = await services.job_actions.delete(track_id, principal)
    if done.claim_removed:
        await services.quotas.leave(principal.key_id, track_id, used_minutes(done.record))
    answer = Deleted(
        track_id=track_id,
        deleted=done.ended,
        claim_removed=done.claim_removed,
        webhooks_abandoned=done.webhooks_abandoned,
    )
    return JSONResponse(answer)
