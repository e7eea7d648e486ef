"""Batches: many requests in one, each processed as if it had been sent alone."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stemyard_api.auth.api_keys import Principal
from stemyard_api.dependencies import Services, ServicesDep, SubmitterDep
from stemyard_api.errors import ApiError, problem
from stemyard_api.problems import invalid_request
from stemyard_api.ratelimit.limiter import rate_limited_error
from stemyard_api.schemas.examples import BATCH, problems
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Batch, BatchItem

ITEMS_LIMIT: Final = 100
_CONCURRENCY: Final = 8

router = APIRouter(tags=["separations"])


class BatchRequest(BaseModel):
    """Requests as for POST /separate-audio."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"requests": [{"search_query": "Song Title Artist"}]}]},
    )

    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=ITEMS_LIMIT)]
    """Each is checked and answered on its own."""


@router.post(
    "/batch",
    summary="Ask for many separations",
    responses={
        200: {"model": Batch, "content": {"application/json": {"example": BATCH}}},
        **problems(401, 403, 413, 422, 429),
    },
)
async def batch(body: BatchRequest, services: ServicesDep, principal: SubmitterDep) -> JSONResponse:
    """Answer each request with the status and body it would have got alone, in their order."""
    decision = await services.limiter.submit(principal, len(body.requests) - 1) if len(body.requests) > 1 else None
    if decision is not None and not decision.allowed:
        raise rate_limited_error(decision)
    room = asyncio.Semaphore(_CONCURRENCY)

    async def one(item: dict[str, Any]) -> BatchItem:
        async with room:
            return await _answered(item, services, principal)

    return JSONResponse(Batch(results=await asyncio.gather(*(one(item) for item in body.requests))))


async def _answered(item: dict[str, Any], services: Services, principal: Principal) -> BatchItem:
    try:
        response = await services.submissions.submit(SeparationRequest.model_validate(item), principal)
    except ValidationError as error:
        refused = invalid_request(error.errors())
        return BatchItem(status=refused.status, body=problem(refused))
    except ApiError as error:
        return BatchItem(status=error.status, body=problem(error))
    return BatchItem(status=response.status, body={**response.body})
