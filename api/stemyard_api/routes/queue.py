"""Queue: waiting tracks, from the mirror, or from the SeparationJobs if the mirror is unavailable."""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from stemyard_api.clients.kubernetes import KubernetesClient
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.dependencies import AdminDep, ServicesDep
from stemyard_api.schemas.examples import QUEUE_INFO, problems
from stemyard_api.schemas.responses import QueueInfo
from stemyard_api.services.records import readable_records
from stemyard_contract.mirror import QUEUE_PHASES

IDS_LIMIT: Final = 1000
"""Maximum number of ids in a response; `length` counts all."""

router = APIRouter(tags=["queue"])


@router.get(
    "/queue/info",
    operation_id="getQueueInfo",
    summary="List waiting tracks",
    responses={
        200: {"model": QueueInfo, "content": {"application/json": {"example": QUEUE_INFO}}},
        **problems(401, 403, 429, 503),
    },
)
async def queue_info(services: ServicesDep, _principal: AdminDep) -> JSONResponse:
    """Tracks that are pending, being fetched or queued: by priority, then oldest first."""
    length, ids = await waiting(services.redis, services.kubernetes)
    return JSONResponse(QueueInfo(name=services.settings.queue_name, length=length, job_ids=ids))


async def waiting(redis: RedisClient | None, kubernetes: KubernetesClient) -> tuple[int, list[str]]:
    """Return the number of waiting tracks and the ids of the first ones.

    Raises:
        UnavailableError: neither the mirror nor the API server responds.
    """
    if redis is not None:
        try:
            return await redis.queue(IDS_LIMIT)
        except RedisUnavailableError:
            pass
    records = [record async for record in readable_records(kubernetes.items())]
    queued = sorted(
        (record.queue_score, record.track_id)
        for record in records
        if not record.finished and (record.phase in QUEUE_PHASES or record.status_run != record.run)
    )
    return len(queued), [track for _, track in queued[:IDS_LIMIT]]
