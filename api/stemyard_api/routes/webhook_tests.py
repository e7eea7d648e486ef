"""Webhook tests: ask the operator to tell a consumer something, once, and say what came of it."""

import asyncio
import time
import uuid
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, model_validator

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.dependencies import Services, ServicesDep, SubmitterDep
from stemyard_api.errors import DeliveryNotFoundError, ForbiddenError
from stemyard_api.schemas.examples import TEST_DELIVERY, problems
from stemyard_api.schemas.responses import Delivery
from stemyard_api.services.deliveries import shown
from stemyard_api.services.order import check_webhook_url
from stemyard_contract.mirror import record_of
from stemyard_contract.outbox import URL_LIMIT
from stemyard_contract.separationjob import API_VERSION, KIND, Claim, SeparationJobSpec, SeparationJobStatus, Source

_WAIT_SECONDS: Final = 25.0
"""A consumer has 15 s, and the operator some before."""
_LOOK_SECONDS: Final = 0.25
_KEPT_SECONDS: Final = 300
"""Life of the test after it was sent."""
_NO_SOURCE: Final = Source(search_query="webhook test")

_WebhookUrl = Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(check_webhook_url)]

router = APIRouter(tags=["webhooks"])


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
    await services.cluster.create(_manifest(name, services.settings.stemyard_namespace, url, key))
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        resource = await services.cluster.read(name)
        if resource is not None:
            found = SeparationJobStatus.model_validate(resource.get("status") or {}).webhooks
            if found and not found[0].pending:
                return JSONResponse(shown(found[0], resource))
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
        {"source": _NO_SOURCE, "webhook_test": True, "ttl_seconds_after_finished": _KEPT_SECONDS, **told}
    )
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec.dump()}
