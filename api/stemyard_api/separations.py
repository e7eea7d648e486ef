"""Separations: asks for one, and tells how it stands."""

import time
from dataclasses import dataclass

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from stemyard_api import rendering
from stemyard_api.access import check_visible
from stemyard_api.admission import is_hit
from stemyard_api.answers import Accepted, Cached, Completed, Failed, Processing
from stemyard_api.examples import ACCEPTED, CACHED, JOB_STATES, problems
from stemyard_api.security import Principal
from stemyard_api.services import ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.submission import SeparationRequest, order_of
from stemyard_api.tracks import Track
from stemyard_contract.separationjob import Phase

router = APIRouter(tags=["separations"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request for a separation is answered."""

    status: int
    body: Accepted | Cached


@router.post(
    "/separate-audio",
    summary="Ask for a separation",
    responses={
        200: {"model": Cached, "description": "Made before", "content": {"application/json": {"example": CACHED}}},
        202: {"model": Accepted, "description": "Under way", "content": {"application/json": {"example": ACCEPTED}}},
        **problems(401, 403, 404, 409, 413, 422, 503),
    },
)
async def separate_audio(body: SeparationRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """Separate a song into stems, once: the same request again is answered with the same track.

    200 with `cached: true` when the result exists, else 202; follow it with `GET /job/{track_id}`.
    """
    answer = await submit(body, services, principal)
    return JSONResponse(answer.body, answer.status, {"Location": f"/job/{answer.body['track_id']}"})


async def submit(body: SeparationRequest, services: Services, principal: Principal) -> Answer:
    """Place a checked request and return its answer.

    Raises:
        ApiError: it is refused, or nobody answers.
    """
    now = time.time()
    record = await services.placement.place(order_of(body, principal, services.settings), now)
    if is_hit(record):
        return Answer(200, rendering.cached(record, services.links.of(record, now), principal.key_id))
    return Answer(202, rendering.accepted(record, principal.key_id))


@router.get(
    "/job/{track_id}",
    summary="How a separation stands",
    responses={
        200: {
            "model": Processing | Completed | Failed,
            "description": "Its state; a failed separation is 200 too",
            "content": {"application/json": {"examples": JOB_STATES}},
        },
        **problems(401, 403, 404, 503),
    },
)
async def job(
    services: ServicesDep,
    principal: ReaderDep,
    track_id: str = Path(description="Id from POST /separate-audio", max_length=256),
) -> JSONResponse:
    """State of a track: `processing`, `completed` or `failed`."""
    track = await services.tracks.find(track_id)
    check_visible(track.record, principal, shared=services.settings.results_shared)
    return JSONResponse(state_of(track, services, principal))


def state_of(track: Track, services: Services, principal: Principal) -> Processing | Completed | Failed:
    """Return the state of a track as this key may see it."""
    record, key_id = track.record, principal.key_id
    if not record.finished:
        return rendering.processing(record, track.progress, key_id)
    if record.phase is Phase.COMPLETED:
        return rendering.completed(record, services.links.of(record, time.time()), key_id)
    return rendering.failed(record, track.progress, key_id)
