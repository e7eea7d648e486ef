"""Endpoint that requests a separation."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from stemyard_api.asgi import MISS
from stemyard_api.dependencies import ServicesDep, SubmitterDep
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.examples import ACCEPTED, CACHED, problems
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.states import Separation

router = APIRouter(tags=["separations"], route_class=JsonRoute)


@router.post(
    "/separate-audio",
    operation_id="createSeparation",
    summary="Request a separation",
    responses={
        200: {"model": Separation, "description": "Completed", "content": {"application/json": {"example": CACHED}}},
        202: {"model": Separation, "description": "Under way", "content": {"application/json": {"example": ACCEPTED}}},
        **problems(401, 403, 404, 409, 413, 422, 429, 501, 503),
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
            description="Repeated requests with the same key return the track that the first one started",
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        ),
    ] = None,
) -> JSONResponse:
    """Separate a song into stems. An equal request returns the same track.

    200 with `cached: true` when the result exists, else 202; follow it with `GET /job/{track_id}`.
    """
    miss = request.scope.get(MISS)
    response = await services.submissions.submit(body, principal, idempotency_key, miss)
    return JSONResponse(response.body, response.status, response.headers)
