"""Batches: many requests in one, each processed as if sent alone."""

import asyncio
import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import RedisClient, RedisUnavailableError
from stemyard_api.dependencies import Services, ServicesDep, SubmitterDep
from stemyard_api.errors import ApiError, problem
from stemyard_api.problems import invalid_request
from stemyard_api.ratelimit.limiter import rate_limited_error
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.examples import BATCH, problems
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Batch, BatchItem

ITEMS_LIMIT: Final = 100
_CONCURRENCY: Final = 8

router = APIRouter(tags=["separations"], route_class=JsonRoute)


class BatchRequest(BaseModel):
    """Requests as for POST /separate-audio."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"requests": [{"search_query": "Song Title Artist"}]}]},
    )

    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=ITEMS_LIMIT)]
    """Each is validated and answered separately."""


@router.post(
    "/batch",
    operation_id="createBatch",
    summary="Request many separations",
    responses={
        200: {"model": Batch, "content": {"application/json": {"example": BATCH}}},
        **problems(401, 403, 413, 422, 429),
    },
)
async def batch(body: BatchRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """Return the status and body of each request's response, in order.

    Each counts against the rate limit. One with more than a minute allows passes after a minute without requests.
    """
    # the middleware has counted the first one
    rest = len(body.requests) - 1
    decision = await services.limiter.submit(principal, rest, counted=1) if rest else None
    if decision is not None and not decision.allowed:
        raise rate_limited_error(decision)
    slots = asyncio.Semaphore(_CONCURRENCY)

    async def one(item: dict[str, Any]) -> BatchItem:
        async with slots:
            return await _submit(item, services, principal)

    results = await asyncio.gather(*(one(item) for item in body.requests))
    return JSONResponse(Batch(results=results, batch_id=await _remember(services.redis, principal, results)))


async def _remember(redis: RedisClient | None, principal: Principal, results: Sequence[BatchItem]) -> str | None:
    """Store which tracks a batch has, for the filter of GET /jobs; return its id, None if that is not possible."""
    tracks = [str(item["body"]["track_id"]) for item in results if item["status"] < HTTPStatus.BAD_REQUEST]
    if redis is None or not tracks:
        return None
    batch_id = str(uuid.uuid4())
    try:
        await redis.put_batch(principal.key_id, batch_id, tracks)
    except RedisUnavailableError:
        return None
    return batch_id


async def _submit(item: dict[str, Any], services: Services, principal: Principal) -> BatchItem:
    try:
        response = await services.submissions.submit(_validated(item), principal)
    except ApiError as error:
        return BatchItem(status=error.status, body=problem(error))
    return BatchItem(status=response.status, body={**response.body})


def _validated(item: dict[str, Any]) -> SeparationRequest:
    try:
        return SeparationRequest.model_validate(item)
    except ValidationError as error:
        raise invalid_request(error.errors()) from None
