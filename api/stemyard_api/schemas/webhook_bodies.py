"""Webhook bodies for the OpenAPI document; the contract produces them."""

from typing import Literal

from typing_extensions import TypedDict

from stemyard_api.schemas.responses import Result
from stemyard_contract.separationjob import Phase


class CompletedWebhook(TypedDict):
    """Body sent when a separation is completed; these fields and no others."""

    status: Literal["completed"]
    track_id: str
    result: Result
    progress: Literal[100]
    created_at: float


class ProcessingWebhook(TypedDict):
    """Body sent while a separation runs, to webhooks that subscribe to these events."""

    status: Literal["processing"]
    track_id: str
    progress: int
    created_at: float
    phase: Phase


class WebhookTest(TypedDict):
    """Body sent by POST /webhooks/test, to check delivery and signature."""

    status: Literal["test"]
    track_id: str
    progress: Literal[0]
    created_at: float


class FailedWebhook(TypedDict):
    """Body sent when a separation has failed or was cancelled; these fields and no others."""

    status: Literal["failed"]
    track_id: str
    error: str
    progress: Literal[0]
    created_at: float
