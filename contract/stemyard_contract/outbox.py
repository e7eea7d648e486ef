"""What a SeparationJob holds of webhooks: where to send them, and how each delivery stands."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from stemyard_contract.event_types import EventType
from stemyard_contract.resource import Resource, Value

URL_LIMIT: Final = 1024
"""Characters of a webhook's address."""
SPEC_TARGETS: Final = 16
TARGETS_LIMIT: Final = 81
"""Deliveries of one run: 64 claims', 16 of the spec, and the deployment's own."""

WebhookUrl = Annotated[str, Field(min_length=8, max_length=URL_LIMIT, pattern=r"^https?://[^\s]+$")]
ChosenEvent = Literal[EventType.STARTED, EventType.PROGRESS, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED]
"""What may be asked for; a test tells everybody whom it names."""
Events = Annotated[
    list[ChosenEvent], Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"})
]


class WebhookTarget(Resource):
    """An address that is told of a separation."""

    url: WebhookUrl
    """Where to POST to. Put no secret in it: whoever may read this resource can read it."""
    events: Events | None = None
    """Events it is told of; by default the three ends: completed, failed, cancelled."""


class WebhookStatus(Value):
    """One delivery: what was tried, and what comes next."""

    id: Annotated[str, Field(min_length=36, max_length=36)]
    """The `webhook-id` of every attempt."""
    url: WebhookUrl
    """Where it goes."""
    endpoint: Annotated[str, Field(max_length=63)] | None = None
    """Name of the deployment's endpoint that has this address, and may have a secret of its own."""
    key: Annotated[str, Field(max_length=64)] | None = None
    """Id of the API key that named it."""
    attempts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Attempts made."""
    last_status: Annotated[int, Field(ge=0, le=999)] | None = None
    """HTTP status of the last attempt; 0 when there was no answer."""
    last_error: Annotated[str, Field(max_length=64)] | None = None
    """Why the last attempt came to nothing, one word."""
    last_attempt_at: datetime | None = None
    """When the last attempt ended."""
    next_attempt_at: datetime | None = None
    """When the next attempt is due; absent when there will be none."""
    delivered_at: datetime | None = None
    """When it arrived."""

    @property
    def pending(self) -> bool:
        """Whether it is still to be delivered."""
        return self.delivered_at is None and self.next_attempt_at is not None
