"""Registered webhooks for tests."""

from datetime import UTC, datetime
from typing import Any

from stemyard_contract.key_webhooks import KeyWebhooksSpec, RegisteredWebhook
from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_operator.model.registrations import Registrations

MASTERS = MasterSecrets("install-1", ["0123456789abcdef0123456789abcdef"])


def webhook(number: int, url: str, **fields: Any) -> RegisteredWebhook:
    created = datetime(2026, 11, 22, tzinfo=UTC)
    given = {"created_at": created, "secret": MASTERS.version(1), **fields}
    return RegisteredWebhook(id=f"wh_{number:024x}", url=url, **given)


def registrations(revoked: bool = False, **of_keys: list[RegisteredWebhook]) -> Registrations:
    return Registrations(
        {key: KeyWebhooksSpec(key=key, webhooks=webhooks, revoked=revoked) for key, webhooks in of_keys.items()}
    )
