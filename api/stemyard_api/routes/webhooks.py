"""Webhook endpoints: state of deliveries, redelivery, dead letters, tests."""

import asyncio
import time
import uuid
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, model_validator

from stemyard_api.auth.api_keys import KEY_ID, Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.clients.kubernetes import Resource
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_api.dependencies import AdminDep, ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.errors import DeliveryNotFoundError, ForbiddenError, UnavailableError
from stemyard_api.routes.jobs import TrackId
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.schemas.delivery_responses import DeadLetters, Deliveries, Delivery, Redelivery
from stemyard_api.schemas.examples import DEAD_LETTERS, DELIVERIES, TEST_DELIVERY, problems
from stemyard_api.schemas.requests import check_webhook_url
from stemyard_api.services.deliveries import (
    ALL,
    dead_letters,
    delivery_body,
    redelivery_patch,
    visible_attempts,
    visible_deliveries,
)
from stemyard_api.services.order import check_webhook_address
from stemyard_api.services.records import read_record, read_status, track_id_of
from stemyard_api.services.tracks import canonical_track_id
from stemyard_contract.mirror import AttemptRecord, MirrorRecord
from stemyard_contract.outbox import URL_LIMIT
from stemyard_contract.separationjob import API_VERSION, KIND, Claim, SeparationJobSpec, Source

_ROUNDS: Final = 8
_WAIT_SECONDS: Final = 25.0
"""A consumer has 15 s to respond; the rest is for the operator."""
_POLL_SECONDS: Final = 0.25
_TEST_JOB_TTL_SECONDS: Final = 300
"""Seconds for which the SeparationJob of a test is kept after it was sent."""
_NO_SOURCE: Final = Source(search_query="webhook test")
_WebhookUrl = Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(check_webhook_url)]
router = APIRouter(tags=["webhooks"], route_class=JsonRoute)


class RedeliverRequest(BaseModel):
    """Which delivery to repeat."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"id": "all"}]}
    )

    id: Annotated[StrictStr, Field(min_length=3, max_length=36)] = ALL
    """The `webhook-id`, or `all` for every delivery that this key may see."""


@router.get(
    "/job/{track_id}/webhooks",
    operation_id="listWebhookDeliveries",
    summary="List the webhooks of a separation",
    responses={
        200: {"model": Deliveries, "content": {"application/json": {"example": DELIVERIES}}},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def deliveries(services: ServicesDep, principal: ReaderDep, track_id: TrackId) -> JSONResponse:
    """Deliveries of the last run's end, and the most recent attempts, including those of progress events.

    A key sees deliveries to URLs that it requested or that are signed for it; an admin sees all. Attempts are empty
    if Redis is unavailable.
    """
    resource, record = await _track(services, track_id, principal)
    check_visible(record, principal, shared=services.settings.results_shared)
    shown = [delivery_body(one, resource) for one in visible_deliveries(resource, record, principal)]
    attempts = visible_attempts(await _attempts(services, track_id), record, principal)
    return JSONResponse(Deliveries(track_id=track_id, deliveries=shown, attempts=attempts))


@router.post(
    "/job/{track_id}/webhooks/redeliver",
    operation_id="redeliverWebhooks",
    summary="Deliver webhooks again",
    status_code=202,
    responses={202: {"model": Redelivery}, **problems(401, 403, 404, 422, 429, 503)},
)
async def redeliver(
    services: ServicesDep, principal: SubmitterDep, track_id: TrackId, body: RedeliverRequest | None = None
) -> JSONResponse:
    """Have the operator repeat deliveries of the last run's end, with the same id and content.

    A delivery that was delivered or given up restarts its schedule; a pending one is attempted immediately.
    """
    wanted = ALL if body is None else body.id
    for _ in range(_ROUNDS):
        resource, record = await _track(services, track_id, principal)
        check_visible(record, principal, shared=services.settings.results_shared)
        mine = visible_deliveries(resource, record, principal)
        ids = [one.id for one in mine if wanted in {ALL, one.id}]
        if not ids:
            raise DeliveryNotFoundError
        selection = [ALL] if wanted == ALL and principal.is_admin else ids
        if await services.kubernetes.patch(record.name, redelivery_patch(resource, selection, time.time())) is not None:
            return JSONResponse(Redelivery(track_id=track_id, ids=ids), 202)
    raise UnavailableError("Too many requests for this track at once; try again.")


@router.get(
    "/webhooks/dead-letters",
    operation_id="listDeadLetters",
    summary="List deliveries that were given up",
    responses={
        200: {"model": DeadLetters, "content": {"application/json": {"example": DEAD_LETTERS}}},
        **problems(401, 403, 422, 429, 503),
    },
)
async def given_up(
    services: ServicesDep,
    _principal: AdminDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Number of deliveries after which the page ends")] = 100,
    cursor: Annotated[
        str | None, Query(min_length=1, max_length=4096, description="`next_cursor` of the previous page")
    ] = None,
) -> JSONResponse:
    """Deliveries of all tracks that were given up, ordered by the names of the SeparationJobs.

    A page may exceed `limit`, because tracks are not split. A cursor expires after some minutes.
    """
    letters: list[Any] = []
    while True:
        items, cursor = await services.kubernetes.page(cursor)
        for item in items:
            letters += dead_letters(item, track_id_of(item))
        if cursor is None or len(letters) >= limit:
            return JSONResponse(DeadLetters(dead_letters=letters, next_cursor=cursor))


async def _track(services: Services, track_id: str, principal: Principal) -> tuple[Resource, MirrorRecord]:
    resource = await services.tracks.resource(track_id, principal)
    return resource, read_record(resource)


async def _attempts(services: Services, track_id: str) -> list[AttemptRecord]:
    if services.redis is None:
        return []
    try:
        return await services.redis.attempts(track_id)
    except RedisUnavailableError:
        return []


class WebhookTestRequest(BaseModel):
    """Where to send the test: a URL (scope `admin`), or the webhook URL that this key requested for a track."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"track_id": "uuid"}]}
    )

    url: _WebhookUrl | None = None
    """A URL; needs the scope admin."""
    key: Annotated[StrictStr, Field(pattern=KEY_ID)] | None = None
    """Id of the API key whose secret signs the test to `url`."""
    track_id: Annotated[StrictStr, Field(min_length=1, max_length=256), AfterValidator(canonical_track_id)] | None = (
        None
    )
    """A track for which this key requested a webhook."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.track_id is None) or (self.key is not None and self.url is None):
            raise ValueError("give either track_id, or url and perhaps key")
        return self


TEST_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": Delivery, "content": {"application/json": {"example": TEST_DELIVERY}}},
    202: {"model": Delivery | None, "description": "It has not been sent yet"},
}
"""Answers to a request for a test."""


@router.post(
    "/webhooks/test",
    operation_id="testWebhook",
    summary="Send a test webhook",
    responses={**TEST_RESPONSES, **problems(401, 403, 404, 422, 429, 503)},
)
async def test(services: ServicesDep, principal: SubmitterDep, body: WebhookTestRequest) -> JSONResponse:
    """Have the operator send `webhook.test` once, signed and guarded like any webhook, and return the result."""
    return await send_test(services, *await _target(services, principal, body))


async def send_test(services: Services, url: str, key: str | None) -> JSONResponse:
    """Have the operator send `webhook.test` once; return the response with its result.

    Args:
        services: of this process.
        url: where to send it.
        key: id of the API key whose secret signs it, or of whose registered webhook this is the URL; None: no key.
    """
    name = f"webhook-test-{uuid.uuid4().hex[:24]}"
    await services.kubernetes.create(_manifest(name, services.settings.stemyard_namespace, url, key))
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        resource = await services.kubernetes.read(name)
        if resource is not None:
            sent = read_status(resource).webhooks
            if sent and not sent[0].pending:
                return JSONResponse(delivery_body(sent[0], resource))
        await asyncio.sleep(_POLL_SECONDS)
    return JSONResponse(None, 202)


async def _target(services: Services, principal: Principal, body: WebhookTestRequest) -> tuple[str, str | None]:
    """Return the URL to send to, and the API key that signs it."""
    if body.url is not None:
        if not principal.is_admin:
            raise ForbiddenError("A URL needs the scope admin; send the track_id of a track that you requested.")
        check_webhook_address("url", body.url, services.settings)
        return body.url, body.key
    record = read_record(await services.tracks.resource(body.track_id or "", principal))
    check_visible(record, principal, shared=services.settings.results_shared)
    if principal.key_id not in record.webhooks:
        raise DeliveryNotFoundError("This key requested no webhook for this track.")
    return record.webhooks[principal.key_id], principal.key_id


def _manifest(name: str, namespace: str, url: str, key: str | None) -> dict[str, Any]:
    consumer = {"claims": [Claim(key=key, webhook=url)]} if key is not None else {"webhooks": [{"url": url}]}
    spec = SeparationJobSpec.model_validate(
        {"source": _NO_SOURCE, "webhook_test": True, "ttl_seconds_after_finished": _TEST_JOB_TTL_SECONDS, **consumer}
    )
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec.dump()}
