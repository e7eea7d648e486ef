"""Deliveries to registered webhooks are signed by what these are at the time of the attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from stemyard_contract.key_webhooks import PreviousSecret, RegisteredWebhook
from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_contract.webhook_signature import SecretError
from stemyard_operator.config.webhook_secrets import EndpointRemovedError
from stemyard_operator.webhooks.registered_secrets import RegisteredSecrets
from tests.operator.model.registered import MASTERS, registrations, webhook

ONE = "https://one.example.com/"
AT = 1_800_000_000
NOW = datetime.fromtimestamp(AT, UTC)


def secrets(*webhooks: RegisteredWebhook, url: str = ONE, test: bool = False) -> tuple[str, ...]:
    known = registrations(a=list(webhooks))
    return RegisteredSecrets(MASTERS, lambda: known).secrets("a", webhook(1, ONE).id, url, AT, test=test)


def test_the_newest_secret_comes_first_and_replaced_ones_sign_until_they_expire() -> None:
    valid = PreviousSecret(**MASTERS.version(2).model_dump(), expires_at=NOW + timedelta(seconds=1))
    expired = PreviousSecret(**MASTERS.version(1).model_dump(), expires_at=NOW)
    hook = webhook(1, ONE, secret=MASTERS.version(3), previous_secrets=[valid, expired])
    assert secrets(hook) == tuple(MASTERS.secret("a", hook.id, MASTERS.version(number)) for number in (3, 2))


def test_what_is_deleted_disabled_or_moved_is_sent_nothing() -> None:
    for known in ((), (webhook(2, ONE),), (webhook(1, ONE, enabled=False),), (webhook(1, "https://new.example.com/"),)):
        with pytest.raises(EndpointRemovedError):
            secrets(*known)


def test_a_test_is_signed_for_a_disabled_webhook() -> None:
    hook = webhook(1, ONE, enabled=False)
    assert secrets(hook, test=True) == (MASTERS.secret("a", hook.id, hook.secret),)


def test_without_its_master_secret_nothing_is_signed_by_another() -> None:
    other = MasterSecrets("install-1", ["f" * 32]).version(1)
    with pytest.raises(SecretError):
        secrets(webhook(1, ONE, secret=other))
