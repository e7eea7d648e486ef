"""Webhook endpoints: state of deliveries, redelivery, dead letters, tests."""

import asyncio
import time
import uuid
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, model_validator

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.clients.kubernetes import Resource
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_api.dependencies import AdminDep, ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.errors import DeliveryNotFoundError, ForbiddenError, UnavailableError
from stemyard_api.schemas.examples import DEAD_LETTERS, DELIVERIES, TEST_DELIVERY, problems
from stemyard_api.schemas.requests import check_webhook_url
from stemyard_api.schemas.responses import DeadLetters, Deliveries, Delivery, Redelivery
from stemyard_api.services.deliveries import (
    ALL,
    dead_letters,
    delivery_body,
    redelivery_patch,
    visible_attempts,
    visible_deliveries,
)
from stemyard_contract.mirror import AttemptRecord, MirrorRecord, record_of
from stemyard_contract.outbox import URL_LIMIT
from stemyard_contract.separationjob import API_VERSION, KIND, Claim, SeparationJobSpec, SeparationJobStatus, Source

_ROUNDS: Final = 8
_WAIT_SECONDS: Final = 25.0
"""A consumer has 15 s, and the operator some before."""
_LOOK_SECONDS: Final = 0.25
_TEST_JOB_TTL_SECONDS: Final = 300
"""Life of the test after it was sent."""
_NO_SOURCE: Final = Source(search_query="webhook test")
_WebhookUrl = Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(check_webhook_url)]
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
    found = [delivery_body(one, resource) for one in visible_deliveries(resource, record, principal)]
    attempts = visible_attempts(await _attempts(services, track_id), record, principal)
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
        mine = visible_deliveries(resource, record, principal)
        ids = [one.id for one in mine if asked in {ALL, one.id}]
        if not ids:
            raise DeliveryNotFoundError
        wish = [ALL] if asked == ALL and principal.is_admin else ids
        if await services.kubernetes.patch(record.name, redelivery_patch(resource, wish, time.time())) is not None:
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
        items, cursor = await services.kubernetes.page(cursor)
        for item in items:
            found += dead_letters(item, record_of(item).track_id)
        if cursor is None or len(found) >= limit:
            return JSONResponse(DeadLetters(dead_letters=found, next_cursor=cursor))


async def _track(services: Services, track_id: str) -> tuple[Resource, MirrorRecord]:
    resource = await services.tracks.resource(track_id)
    return resource, record_of(resource)


async def _attempts(services: Services, track_id: str) -> list[AttemptRecord]:
    if services.redis is None:
        return []
    try:
        return await services.redis.attempts(track_id)
    except RedisUnavailableError:
        return []


class WebhookTestRequest(BaseModel):
    """Whom to tell: an address (scope `admin`), or the one that this key named for a track of its own."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"track_id": "uuid"}]}
    )

    url: _WebhookUrl | None = None
    """An address; needs the scope admin."""
    key: Annotated[StrictStr, Field(min_length=1, max_length=64)] | None = None
    """Id of the API key whose secret signs what goes to `url`."""
    track_id: Annotated[StrictStr, Field(min_length=1, max_length=256)] | None = None
    """A track for which this key named a webhook."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.track_id is None) or (self.key is not None and self.url is None):
            raise ValueError("give either track_id, or url and perhaps key")
        return self


@router.post(
    "/webhooks/test",
    summary="Send a test webhook",
    responses={
        200: {"model": Delivery, "content": {"application/json": {"example": TEST_DELIVERY}}},
        202: {"model": Delivery | None, "description": "It is not sent yet"},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def test(services: ServicesDep, principal: SubmitterDep, body: WebhookTestRequest) -> JSONResponse:
    """Have the operator send `webhook.test`, signed and guarded like any other, once; answer what came of it."""
    url, key = await _target(services, principal, body)
    name = f"webhook-test-{uuid.uuid4().hex[:24]}"
    await services.kubernetes.create(_manifest(name, services.settings.stemyard_namespace, url, key))
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        resource = await services.kubernetes.read(name)
        if resource is not None:
            found = SeparationJobStatus.model_validate(resource.get("status") or {}).webhooks
            if found and not found[0].pending:
                return JSONResponse(delivery_body(found[0], resource))
        await asyncio.sleep(_LOOK_SECONDS)
    return JSONResponse(None, 202)


async def _target(services: Services, principal: Principal, body: WebhookTestRequest) -> tuple[str, str | None]:
    """Return the address to tell, and the API key that it is for."""
    if body.url is not None:
        if not principal.is_admin:
            raise ForbiddenError("An address of its own needs the scope admin; give track_id of a track of yours.")
        return body.url, body.key
    record = record_of(await services.tracks.resource(body.track_id or ""))
    check_visible(record, principal, shared=services.settings.results_shared)
    if principal.key_id not in record.webhooks:
        raise DeliveryNotFoundError("This key named no webhook for this track.")
    return record.webhooks[principal.key_id], principal.key_id


def _manifest(name: str, namespace: str, url: str, key: str | None) -> dict[str, Any]:
    told = {"claims": [Claim(key=key, webhook=url)]} if key is not None else {"webhooks": [{"url": url}]}
    spec = SeparationJobSpec.model_validate(
        {"source": _NO_SOURCE, "webhook_test": True, "ttl_seconds_after_finished": _TEST_JOB_TTL_SECONDS, **told}
    )
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec.dump()}
