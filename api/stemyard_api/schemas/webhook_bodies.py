"""Webhook bodies for the OpenAPI document; the contract produces them."""

from typing import Literal

from typing_extensions import TypedDict

from stemyard_api.schemas.responses import Result


class CompletedWebhook(TypedDict):
    """What is POSTed when a separation is completed; these fields and no others."""

    status: Literal["completed"]
    track_id: str
    result: Result
    progress: Literal[100]
    created_at: float


class ProcessingWebhook(TypedDict):
    """What is POSTed of a run under way, to those who ask for it."""

    status: Literal["processing"]
    track_id: str
    progress: int
    created_at: float
    phase: str


class WebhookTest(TypedDict):
    """What POST /webhooks/test has sent: that webhooks arrive and verify."""

    status: Literal["test"]
    track_id: str
    progress: Literal[0]
    created_at: float


class FailedWebhook(TypedDict):
    """What is POSTed when a separation has failed or was cancelled; these fields and no others."""

    status: Literal["failed"]
    track_id: str
    error: str
    progress: Literal[0]
    created_at: float
