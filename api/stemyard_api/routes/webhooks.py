"""Webhooks: how deliveries stand, delivering them again, and those that were given up."""

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from stemyard_api.auth.authorization import check_visible
from stemyard_api.clients.kubernetes import Resource
from stemyard_api.clients.redis import StoreUnavailableError
from stemyard_api.dependencies import AdminDep, ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.errors import DeliveryNotFoundError, UnavailableError
from stemyard_api.schemas.examples import DEAD_LETTERS, DELIVERIES, problems
from stemyard_api.schemas.responses import DeadLetters, Deliveries, Redelivery
from stemyard_api.services.deliveries import ALL, dead_letters, deliveries_of, logged, shown, wish_patch
from stemyard_contract.mirror import AttemptRecord, MirrorRecord, record_of

_ROUNDS: Final = 8

router = APIRouter(tags=["webhooks"])

TrackId = Annotated[str, Path(description="Id from POST /separate-audio", max_length=256)]


class RedeliverRequest(BaseModel):
    """Which delivery to make again."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"id": "all"}]})

    id: Annotated[StrictStr, Field(min_length=3, max_length=36)] = ALL
    """The `webhook-id`, or `all` that this key may see."""


@router.get(
    "/job/{track_id}/webhooks",
    summary="How the webhooks of a separation stand",
    responses={
        200: {"model": Deliveries, "content": {"application/json": {"example": DELIVERIES}}},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def deliveries(services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> JSONResponse:
    """Deliveries of the last run's end, and the newest attempts, news of runs under way included.

    A key sees what goes to addresses that it named or that are for it; an admin sees all. Attempts are empty where
    Redis does not answer.
    """
    resource, record = await _track(services, track_id)
    check_visible(record, principal, shared=services.settings.results_shared)
    found = [shown(one, resource) for one in deliveries_of(resource, record, principal)]
    attempts = logged(await _attempts(services, track_id), record, principal)
    return JSONResponse(Deliveries(track_id=track_id, deliveries=found, attempts=attempts))


@router.post(
    "/job/{track_id}/webhooks/redeliver",
    summary="Deliver webhooks again",
    status_code=202,
    responses={202: {"model": Redelivery}, **problems(401, 403, 404, 422, 429, 503)},
)
async def redeliver(
    services: ServicesDep, principal: SubmitterDep, track_id: TrackId, body: RedeliverRequest | None = None
) -> JSONResponse:
    """Ask the operator to make deliveries of the last run's end again, with the same id and content.

    What was delivered or given up starts its schedule anew; what is pending is tried at once.
    """
    asked = ALL if body is None else body.id
    for _ in range(_ROUNDS):
        resource, record = await _track(services, track_id)
        check_visible(record, principal, shared=services.settings.results_shared)
        mine = deliveries_of(resource, record, principal)
        ids = [one.id for one in mine if asked in {ALL, one.id}]
        if not ids:
            raise DeliveryNotFoundError
        wish = [ALL] if asked == ALL and principal.is_admin else ids
        if await services.cluster.patch(record.name, wish_patch(resource, wish, time.time())) is not None:
            return JSONResponse(Redelivery(track_id=track_id, ids=ids), 202)
    raise UnavailableError("Too many requests for this track at once; try again.")


@router.get(
    "/webhooks/dead-letters",
    summary="Deliveries that were given up",
    responses={
        200: {"model": DeadLetters, "content": {"application/json": {"example": DEAD_LETTERS}}},
        **problems(401, 403, 422, 429, 503),
    },
)
async def given_up(
    services: ServicesDep,
    _principal: AdminDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Deliveries after which the page ends")] = 100,
    cursor: Annotated[str | None, Query(max_length=4096, description="`next_cursor` of the page before")] = None,
) -> JSONResponse:
    """Every delivery of every track that was given up, in the order of the tracks' names.

    A page holds a few more than `limit` rather than part of a track. A cursor lasts some minutes.
    """
    found: list[Any] = []
    while True:
        items, cursor = await services.cluster.page(cursor)
        for item in items:
            found += dead_letters(item, record_of(item).track_id)
        if cursor is None or len(found) >= limit:
            return JSONResponse(DeadLetters(dead_letters=found, next_cursor=cursor))


async def _track(services: Services, track_id: str) -> tuple[Resource, MirrorRecord]:
    resource = await services.tracks.resource(track_id)
    return resource, record_of(resource)


async def _attempts(services: Services, track_id: str) -> list[AttemptRecord]:
    if services.store is None:
        return []
    try:
        return await services.store.attempts(track_id)
    except StoreUnavailableError:
        return []
