"""Registered webhooks: those that an API key has registered for all of its tracks."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path
from fastapi.responses import JSONResponse

from stemyard_api.dependencies import ReaderDep, Services, ServicesDep, SubmitterDep
from stemyard_api.routes.json_route import JsonRoute
from stemyard_api.routes.webhooks import TEST_RESPONSES, send_test
from stemyard_api.schemas.delivery_responses import (
    RegisteredWebhooks,
    WebhookRegistration,
    WebhookRegistrationWithSecret,
    WebhookRemoved,
)
from stemyard_api.schemas.examples import (
    REGISTERED_WEBHOOK,
    REGISTERED_WEBHOOKS,
    WEBHOOK_WITH_SECRET,
    problems,
)
from stemyard_api.schemas.webhook_requests import RotationRequest, WebhookChanges, WebhookRequest
from stemyard_api.services import registration_rules as rules
from stemyard_api.services.idempotency import REPLAYED
from stemyard_api.services.order import check_webhook_address
from stemyard_contract.event_types import ENDS
from stemyard_contract.key_webhooks import WEBHOOK_ID, RegisteredWebhook

router = APIRouter(tags=["webhooks"], route_class=JsonRoute)
WebhookId = Annotated[str, Path(description="Id from POST /webhooks", pattern=WEBHOOK_ID)]


def _answer(model: type, example: Mapping[str, Any], status: int = 200) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model, "content": {"application/json": {"example": example}}}}


_ONE: Final = _answer(WebhookRegistration, REGISTERED_WEBHOOK)


@router.post(
    "/webhooks",
    operation_id="registerWebhook",
    summary="Register a webhook",
    status_code=201,
    responses={
        **_answer(WebhookRegistrationWithSecret, WEBHOOK_WITH_SECRET, 201),
        **problems(401, 403, 409, 422, 429, 500, 501, 503),
    },
)
async def register(
    body: WebhookRequest,
    services: ServicesDep,
    principal: SubmitterDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Repeated requests with the same key within a day return the webhook of the first one",
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        ),
    ] = None,
) -> JSONResponse:
    """Register a URL that is notified of every track of this key, beside the `webhook_url` of a request.

    `secret` is shown only here and after a rotation: keep it, and verify with it.
    """
    check_webhook_address("url", body.url, services.settings)
    outcome = await services.registered_webhooks.register(principal.key_id, body, idempotency_key)
    headers = {"Location": f"/webhooks/{outcome.webhook.id}"} | ({REPLAYED: "true"} if outcome.replayed else {})
    return JSONResponse(_with_secret(services, principal.key_id, outcome), 201, headers)


@router.get(
    "/webhooks",
    operation_id="listWebhooks",
    summary="List the registered webhooks",
    responses={**_answer(RegisteredWebhooks, REGISTERED_WEBHOOKS), **problems(401, 403, 429, 503)},
)
async def list_all(services: ServicesDep, principal: ReaderDep) -> JSONResponse:
    """The webhooks that this key has registered, the oldest first."""
    found = await services.registered_webhooks.of(principal.key_id)
    return JSONResponse(RegisteredWebhooks(webhooks=[_body(one) for one in found]))


@router.get(
    "/webhooks/{webhook_id}",
    operation_id="getWebhook",
    summary="Get a registered webhook",
    responses={**_ONE, **problems(401, 403, 404, 422, 429, 503)},
)
async def get(services: ServicesDep, principal: ReaderDep, webhook_id: WebhookId) -> JSONResponse:
    """One of the webhooks that this key has registered."""
    return JSONResponse(_body(rules.find(await services.registered_webhooks.of(principal.key_id), webhook_id)))


@router.patch(
    "/webhooks/{webhook_id}",
    operation_id="updateWebhook",
    summary="Change a registered webhook",
    responses={**_ONE, **problems(401, 403, 404, 409, 422, 429, 503)},
)
async def change(
    services: ServicesDep, principal: SubmitterDep, webhook_id: WebhookId, body: WebhookChanges
) -> JSONResponse:
    """Change URL, events or description, or switch it off and on. The secret stays the same."""
    if body.url is not None:
        check_webhook_address("url", body.url, services.settings)
    outcome = await services.registered_webhooks.change(principal.key_id, webhook_id, body)
    return JSONResponse(_body(outcome.webhook))


@router.delete(
    "/webhooks/{webhook_id}",
    operation_id="deleteWebhook",
    summary="Delete a registered webhook",
    responses={200: {"model": WebhookRemoved}, **problems(401, 403, 404, 422, 429, 503)},
)
async def remove(services: ServicesDep, principal: SubmitterDep, webhook_id: WebhookId) -> JSONResponse:
    """Nothing is sent to it any more; what is due is given up."""
    await services.registered_webhooks.remove(principal.key_id, webhook_id)
    return JSONResponse(WebhookRemoved(id=webhook_id, deleted=True))


@router.post(
    "/webhooks/{webhook_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Rotate the secret of a registered webhook",
    responses={
        **_answer(WebhookRegistrationWithSecret, WEBHOOK_WITH_SECRET),
        **problems(401, 403, 404, 422, 429, 500, 501, 503),
    },
)
async def rotate(
    services: ServicesDep, principal: SubmitterDep, webhook_id: WebhookId, body: RotationRequest | None = None
) -> JSONResponse:
    """Give it a new secret. The one so far signs as well for a day, or as long as requested.

    Meanwhile `webhook-signature` has a signature by each, and `X-Webhook-Signature` is by the older one. If the answer
    was lost, repeat the request: earlier secrets keep their time.
    """
    keep = timedelta(seconds=(body or RotationRequest()).previous_valid_seconds)
    outcome = await services.registered_webhooks.rotate(principal.key_id, webhook_id, keep)
    return JSONResponse(_with_secret(services, principal.key_id, outcome))


@router.post(
    "/webhooks/{webhook_id}/test",
    operation_id="testRegisteredWebhook",
    summary="Send a test to a registered webhook",
    responses={**TEST_RESPONSES, **problems(401, 403, 404, 422, 429, 503)},
)
async def test(services: ServicesDep, principal: SubmitterDep, webhook_id: WebhookId) -> JSONResponse:
    """Have the operator send `webhook.test` once, signed with this webhook's secret, and return the result."""
    found = rules.find(await services.registered_webhooks.of(principal.key_id), webhook_id)
    return await send_test(services, found.url, principal.key_id)


def _body(webhook: RegisteredWebhook) -> WebhookRegistration:
    expiries = [one.expires_at.timestamp() for one in webhook.previous_secrets]
    return WebhookRegistration(
        id=webhook.id,
        url=webhook.url,
        events=sorted(webhook.events or ENDS),
        description=webhook.description,
        enabled=webhook.enabled,
        created_at=webhook.created_at.timestamp(),
        previous_secret_valid_until=max(expiries, default=None),
    )


def _with_secret(services: Services, key_id: str, outcome: rules.Outcome) -> WebhookRegistrationWithSecret:
    secret = services.registered_webhooks.secret(key_id, outcome.webhook)
    return WebhookRegistrationWithSecret(**_body(outcome.webhook), secret=secret)
