"""Bodies of requests about registered webhooks."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from stemyard_api.schemas.integers import WHOLE
from stemyard_api.schemas.requests import check_text, check_webhook_url
from stemyard_contract.event_types import EventType
from stemyard_contract.key_webhooks import DESCRIPTION_LIMIT
from stemyard_contract.outbox import URL_LIMIT, ChosenEvent

KEEP_SECONDS: Final = 24 * 3600
"""Default time for which a replaced secret stays valid."""
_KEEP_LIMIT: Final = 7 * 24 * 3600

Url = Annotated[StrictStr, Field(min_length=8, max_length=URL_LIMIT), AfterValidator(check_webhook_url)]
Events = Annotated[list[ChosenEvent], Field(min_length=1, max_length=8)]
Description = Annotated[StrictStr, Field(max_length=DESCRIPTION_LIMIT), AfterValidator(check_text)]


class WebhookRequest(BaseModel):
    """A webhook to register; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"url": "https://example.com/hook", "events": ["separation.completed"]}]},
    )

    url: Url
    """URL to POST to. https, at a public address. Put no secret into it."""
    events: Events | None = None
    """Events to send; by default completed, failed and cancelled."""
    description: Description | None = None
    """What it is for, up to 256 characters."""

    @property
    def sorted_events(self) -> list[EventType] | None:
        """The events, each once; None is the default."""
        return sorted(set(self.events)) if self.events is not None else None


class WebhookChanges(BaseModel):
    """Changes of a registered webhook. What is absent or null stays as it is; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"enabled": False}]}
    )

    url: Url | None = None
    """New URL. What is still due to the old one is given up."""
    events: Events | None = None
    """Events to send from now on."""
    description: Description | None = None
    """What it is for; an empty text removes it."""
    enabled: StrictBool | None = None
    """False: nothing is sent, and what is due is given up. Tests are sent all the same."""

    @property
    def given(self) -> dict[str, object]:
        """The fields that change, by their names in the resource."""
        changes: dict[str, object] = {"url": self.url, "enabled": self.enabled}
        changes["events"] = sorted(set(self.events)) if self.events is not None else None
        given = {name: value for name, value in changes.items() if value is not None}
        return given if self.description is None else {**given, "description": self.description or None}


class RotationRequest(BaseModel):
    """How to rotate a secret; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"previous_valid_seconds": 3600}]},
    )

    previous_valid_seconds: Annotated[StrictInt, Field(ge=0, le=_KEEP_LIMIT), WHOLE] = KEEP_SECONDS
    """Seconds for which the secret so far signs as well, at most 7 days; 0 ends it now."""
