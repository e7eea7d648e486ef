"""Builds the request of one attempt: the body from the SeparationJob, with links and signatures made anew."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final
from urllib.parse import quote

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import Phase, phase_of
from stemyard_contract.webhook import EventType, completed_body, event_of, failed_body, test_body
from stemyard_contract.webhook_signature import signed_headers
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.webhook_progress import ProgressWebhook
from stemyard_operator.model.separation import Separation
from stemyard_operator.webhooks.registered_secrets import RegisteredSecrets

USER_AGENT: Final = f"Stemyard/{version('stemyard')}"
STEM_LINK_SECONDS: Final = 7 * 24 * 3600
"""Lifetime of a presigned link, as in the API."""


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """Headers and body of a POST."""

    headers: Mapping[str, str]
    body: bytes


class RequestBuilder:
    """Builds signed requests; a secret that cannot be read or used is an error, never an unsigned request.

    Methods take the time of the attempt in epoch seconds, and raise EndpointRemovedError, SecretError or OSError as
    `WebhookSecrets.secrets` does.
    """

    def __init__(
        self,
        settings: Settings,
        objects: ObjectStoreClient,
        webhook_secrets: WebhookSecrets,
        registered_secrets: RegisteredSecrets,
    ) -> None:
        self._settings = settings
        self._objects = objects
        self._webhook_secrets = webhook_secrets
        self._registered_secrets = registered_secrets

    def terminal(self, separation: Separation, delivery: WebhookStatus, at: int) -> WebhookRequest:
        """Return the request of a run's terminal event."""
        event = event_of(phase_of(separation.status.conditions), test=separation.spec.webhook_test)
        secrets = self._secrets(delivery, at, test=separation.spec.webhook_test)
        return _signed(delivery.id, event, _body(separation, self._objects, self._settings), at, secrets)

    def progress(self, webhook: ProgressWebhook, at: int) -> WebhookRequest:
        """Return the request of a progress event."""
        return _signed(webhook.id, webhook.event, webhook.body, at, self._secrets(webhook, at))

    def _secrets(self, webhook: WebhookStatus | ProgressWebhook, at: int, *, test: bool = False) -> tuple[str, ...]:
        if webhook.registration is not None:
            return self._registered_secrets.secrets(webhook.key or "", webhook.registration, webhook.url, at, test=test)
        return self._webhook_secrets.secrets(webhook.endpoint, webhook.key)


def _signed(message_id: str, event: EventType, body: bytes, at: int, secrets: Iterable[str]) -> WebhookRequest:
    headers = signed_headers(message_id, event, body, at, secrets)
    return WebhookRequest({**headers, "User-Agent": USER_AGENT}, body)


def _body(separation: Separation, objects: ObjectStoreClient, settings: Settings) -> bytes:
    status, created = separation.status, separation.created.timestamp()
    if separation.spec.webhook_test:
        return test_body(separation.track_id, created)
    if phase_of(status.conditions) is Phase.COMPLETED and status.result is not None:
        stems = status.result.stems.items()
        return completed_body(
            separation.track_id, {stem: _link(stored.key, objects, settings) for stem, stored in stems}, created
        )
    error = status.failure.message if status.failure is not None else "The separation failed."
    return failed_body(separation.track_id, error, created)


def _link(key: str, objects: ObjectStoreClient, settings: Settings) -> str:
    if settings.public_base_url is not None:
        return f"{settings.public_base_url}/{quote(key)}"
    return objects.public_link(key, STEM_LINK_SECONDS)
