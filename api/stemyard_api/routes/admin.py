"""Routes for admins: an overview of all tracks, and their priority."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from stemyard_api.dependencies import AdminDep, ServicesDep
from stemyard_api.routes.jobs import TrackId
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.admin_bodies import Overview, Prioritised, PriorityRequest
from stemyard_api.schemas.examples import OVERVIEW, PRIORITISED, problems
from stemyard_api.services.rendering import status_of

router = APIRouter(tags=["admin"], route_class=JsonRoute)


@router.get(
    "/admin/overview",
    operation_id="getOverview",
    summary="Get an overview",
    responses={
        200: {"model": Overview, "content": {"application/json": {"example": OVERVIEW}}},
        **problems(401, 403, 429, 503),
    },
)
async def overview(services: ServicesDep, _principal: AdminDep) -> JSONResponse:
    """All tracks of the installation: the queue, what runs, failures, throughput and usage of the last 24 hours.

    It is two seconds old at most; while the mirror is unavailable half a minute, and counts at most 1,000 tracks of the
    API's namespace. Lists show at most 100 running tracks, 50 waiting and 50 failed ones.
    """
    return JSONResponse(await services.overview_reader.current())


@router.post(
    "/admin/job/{track_id}/priority",
    operation_id="setPriority",
    summary="Change the priority of a separation",
    responses={
        200: {"model": Prioritised, "content": {"application/json": {"example": PRIORITISED}}},
        **problems(401, 403, 404, 409, 413, 422, 429, 503),
    },
)
async def set_priority(
    services: ServicesDep, principal: AdminDep, track_id: TrackId, body: PriorityRequest
) -> JSONResponse:
    """Move a waiting track forward or back in the queue.

    One that is being separated goes on; a track that has ended does not change. A request for the same track with a
    higher priority raises it again.
    """
    record = await services.job_actions.set_priority(track_id, body.priority, principal)
    return JSONResponse(Prioritised(track_id=track_id, status=status_of(record), priority=record.priority))
