"""Endpoints that request a separation and return its state."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, Response

from stemyard_api.asgi import MISS
from stemyard_api.dependencies import ReaderDep, ServicesDep, SubmitterDep
from stemyard_api.schemas.examples import ACCEPTED, CACHED, JOB_STATES, problems
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Accepted, Cached, Completed, Failed, Processing

router = APIRouter(tags=["separations"])


@router.post(
    "/separate-audio",
    summary="Ask for a separation",
    responses={
        200: {"model": Cached, "description": "Made before", "content": {"application/json": {"example": CACHED}}},
        202: {"model": Accepted, "description": "Under way", "content": {"application/json": {"example": ACCEPTED}}},
        **problems(401, 403, 404, 409, 413, 422, 429, 503),
    },
)
async def separate_audio(
    request: Request,
    body: SeparationRequest,
    services: ServicesDep,
    principal: SubmitterDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Makes a repeat of this request answer with what the first one started",
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        ),
    ] = None,
) -> JSONResponse:
    """Separate a song into stems, once: the same request again is answered with the same track.

    200 with `cached: true` when the result exists, else 202; follow it with `GET /job/{track_id}`.
    """
    miss = request.scope.get(MISS)
    response = await services.submissions.submit(body, principal, idempotency_key, miss)
    return JSONResponse(response.body, response.status, response.headers)


@router.get(
    "/job/{track_id}",
    summary="How a separation stands",
    responses={
        200: {
            "model": Processing | Completed | Failed,
            "description": "Its state; a failed separation is 200 too",
            "content": {"application/json": {"examples": JOB_STATES}},
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def job(
    services: ServicesDep,
    principal: ReaderDep,
    track_id: str = Path(description="Id from POST /separate-audio", max_length=256),
) -> Response:
    """State of a track: `processing`, `completed` or `failed`."""
    # the fast path answers most of these requests before they get here
    return Response(await services.states.body(track_id, principal), media_type="application/json")
