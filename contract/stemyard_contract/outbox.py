"""Webhook targets and the state of each delivery, as stored in a SeparationJob."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from stemyard_contract.event_types import EventType
from stemyard_contract.patterns import HTTP_URL, URL_MESSAGE
from stemyard_contract.resource import Resource, Value, explained

URL_LIMIT: Final = 1024
"""Maximum length of a webhook's URL, in characters."""
SPEC_TARGETS: Final = 16
TARGETS_LIMIT: Final = 81
"""Maximum deliveries of one run but those to registered webhooks: 64 claims, 16 of the spec, the deployment's own."""
REGISTERED_TARGETS_LIMIT: Final = 64
"""Maximum deliveries of one run to registered webhooks: at least one for each claim."""

WebhookUrl = Annotated[
    str, Field(min_length=8, max_length=URL_LIMIT, pattern=HTTP_URL, json_schema_extra=explained(URL_MESSAGE))
]
ChosenEvent = Literal[EventType.STARTED, EventType.PROGRESS, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED]
"""Events that can be subscribed to; a test is sent to all targets that it names."""
Events = Annotated[
    list[ChosenEvent], Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"})
]


ADDRESS_REFUSED: Final = "AddressRefused"
"""Why an attempt failed that the address guard did not allow: nothing was sent."""


class WebhookTarget(Resource):
    """A webhook of a separation."""

    url: WebhookUrl
    """URL to POST to. Do not put a secret in it: everyone who may read this resource can read it."""
    events: Events | None = None
    """Events sent to it; by default the three that end a run: completed, failed, cancelled."""


class WebhookStatus(Value):
    """State of one delivery."""

    id: Annotated[str, Field(min_length=36, max_length=36)]
    """The `webhook-id` of every attempt."""
    url: Annotated[str, Field(max_length=URL_LIMIT)]
    """URL of the consumer."""
    endpoint: Annotated[str, Field(max_length=63)] | None = None
    """Name of the deployment's configured endpoint for this URL, which may have a secret of its own."""
    key: Annotated[str, Field(max_length=64)] | None = None
    """Id of the API key that requested it."""
    registration: Annotated[str, Field(max_length=27)] | None = None
    """Id of the registered webhook that it is for; that webhook's secret signs it."""
    attempts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Number of attempts."""
    last_status: Annotated[int, Field(ge=0, le=999)] | None = None
    """HTTP status of the last attempt; 0 if there was no response."""
    last_error: Annotated[str, Field(max_length=64)] | None = None
    """Why the last attempt failed, in one word."""
    last_attempt_at: datetime | None = None
    """When the last attempt ended."""
    next_attempt_at: datetime | None = None
    """When the next attempt is due; absent if there is none."""
    delivered_at: datetime | None = None
    """When it was delivered."""

    @property
    def pending(self) -> bool:
        """Whether another attempt is due."""
        return self.delivered_at is None and self.next_attempt_at is not None
