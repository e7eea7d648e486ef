"""Separations: asks for one, and tells how it stands."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Path
from fastapi.responses import JSONResponse, Response

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import Reading
from stemyard_api.dependencies import ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.errors import TrackNotFoundError
from stemyard_api.schemas.examples import ACCEPTED, CACHED, JOB_STATES, problems
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Accepted, Cached, Completed, Failed, Processing
from stemyard_api.services import rendering
from stemyard_api.services.cache_hits import answer_of
from stemyard_api.services.idempotency import REPLAYED, Binding
from stemyard_api.services.order import Order, order_of
from stemyard_api.services.placement_rules import Placed, cache_result, cache_status, found_in, is_hit
from stemyard_contract.mirror import MirrorRecord

router = APIRouter(tags=["separations"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request for a separation is answered."""

    status: int
    body: Accepted | Cached | Failed
    headers: dict[str, str]


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
    answer = await submit(body, services, principal, idempotency_key)
    return JSONResponse(answer.body, answer.status, answer.headers)


async def submit(
    body: SeparationRequest, services: Services, principal: Principal, idempotency_key: str | None = None
) -> Answer:
    """Place a checked request and return its answer.

    Raises:
        ApiError: it is refused, or nobody answers.
    """
    if idempotency_key is None:
        return (await _place(body, services, principal))[1]
    bound = await services.bindings.reserve(idempotency_key, body, principal)
    if bound is not None and (replayed := await _replay(bound, services, principal)) is not None:
        return replayed
    record, answer = await _place(body, services, principal)
    await services.bindings.bind(idempotency_key, body, principal, record.track_id, record.run)
    return answer


async def _place(body: SeparationRequest, services: Services, principal: Principal) -> tuple[MirrorRecord, Answer]:
    now = time.time()
    order = order_of(body, principal, services.settings)
    reading = await services.placement.mirrored(order)
    placed = found_in(reading.current, order, now) or await _within_quotas(order, reading, services, principal, now)
    services.metrics.submitted(cache_result(placed))
    headers = {"Location": f"/job/{placed.record.track_id}", "Cache-Status": cache_status(placed, order.refresh, now)}
    return placed.record, _answer(placed.record, services, principal, headers, now)


async def _within_quotas(
    order: Order, reading: Reading, services: Services, principal: Principal, now: float
) -> Placed:
    async with services.quotas.held(principal, order.track_id) as entered:
        placed = await services.placement.place(order, reading, now)
    if entered and is_hit(placed.record):
        await services.quotas.leave(principal, order.track_id)
    return placed


async def _replay(bound: Binding, services: Services, principal: Principal) -> Answer | None:
    """Return how the bound track stands, or None when it is gone, so that the request starts it anew."""
    try:
        record = (await services.tracks.find(bound.track_id or "")).record
    except TrackNotFoundError:
        return None
    headers = {"Location": f"/job/{record.track_id}", REPLAYED: "true"}
    if record.finished and not is_hit(record):
        return Answer(202, rendering.failed(record, None, principal.key_id), headers)
    return _answer(record, services, principal, headers, time.time())


def _answer(
    record: MirrorRecord, services: Services, principal: Principal, headers: dict[str, str], now: float
) -> Answer:
    status, body = answer_of(record, services.links, principal.key_id, now)
    return Answer(status, body, headers)


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
    # the hot route answers in front of this one, in the same words
    return Response(await services.states.body(track_id, principal), media_type="application/json")
