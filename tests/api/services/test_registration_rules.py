"""Changes of a key's registered webhooks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stemyard_api.errors import (
    IdempotencyMismatchError,
    QuotaExceededError,
    WebhookExistsError,
    WebhookLimitError,
    WebhookNotFoundError,
)
from stemyard_api.services import registration_rules as rules
from stemyard_contract.key_webhooks import RegisteredWebhook, RegistrationRequest
from stemyard_contract.webhook_secrets import MasterSecrets

NOW = datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)
DAY = timedelta(days=1)
MASTERS = MasterSecrets("install", ["0123456789abcdef0123456789abcdef"])
ONE, TWO = "https://one.example.com/", "https://two.example.com/"


def webhook(url: str = ONE, **fields: Any) -> RegisteredWebhook:
    return rules.new_webhook(fields.pop("now", NOW), MASTERS.version(1), url=url, **fields)


def bound(key: str = "a", body: str = "b") -> RegistrationRequest:
    return RegistrationRequest(key=key * 32, body=body * 32)


def test_a_new_webhook_has_an_id_of_its_own_and_a_whole_second() -> None:
    one, two = webhook(), webhook()
    assert one.id != two.id
    assert RegisteredWebhook.model_validate(one.dump()) == one


def test_a_url_is_registered_once_and_no_more_than_a_key_may_have() -> None:
    known = [webhook(ONE)]
    with pytest.raises(WebhookExistsError, match=known[0].id):
        rules.register(known, webhook(ONE), 5, None)
    with pytest.raises(WebhookLimitError):
        rules.register(known, webhook(TWO), 1, None)
    wanted = webhook(TWO)
    assert rules.register(known, wanted, 2, None) == rules.Outcome([*known, wanted], wanted)


def test_a_repeated_request_returns_the_first_ones_webhook_for_a_day() -> None:
    first = webhook(request=bound())
    again = rules.register([first], webhook(request=bound()), 1, bound())
    assert again == rules.Outcome([first], first, replayed=True)
    with pytest.raises(IdempotencyMismatchError):
        rules.register([first], webhook(TWO), 1, bound(body="c"))
    with pytest.raises(WebhookExistsError):
        rules.register([first], webhook(now=NOW + DAY), 1, bound())
    with pytest.raises(WebhookExistsError):
        rules.register([first], webhook(), 1, bound(key="c"))


def test_fields_change_and_another_webhooks_url_is_refused() -> None:
    one, two = webhook(ONE), webhook(TWO)
    changed = rules.change([one, two], one.id, {"enabled": False, "url": ONE}).webhook
    assert (changed.enabled, changed.secret, changed.id) == (False, one.secret, one.id)
    with pytest.raises(WebhookExistsError):
        rules.change([one, two], one.id, {"url": TWO})
    with pytest.raises(WebhookNotFoundError):
        rules.change([one], two.id, {"enabled": False})
    assert rules.remove([one, two], one.id).webhooks == [two]


def rotated(known: RegisteredWebhook, keep: timedelta = DAY, now: datetime = NOW) -> RegisteredWebhook:
    return rules.rotate([known], known.id, keep, now, MASTERS.version).webhook


def valid(known: RegisteredWebhook) -> list[tuple[int, datetime]]:
    return [(one.version, one.expires_at) for one in known.previous_secrets]


def test_a_replaced_secret_stays_valid_for_the_stated_time() -> None:
    end = NOW.replace(microsecond=0) + DAY
    once = rotated(webhook())
    assert (once.secret.version, valid(once)) == (2, [(1, end)])
    # a client that lost the answer repeats the request, and the secret that it knows stays valid
    twice = rotated(once, now=NOW + timedelta(hours=1))
    assert (twice.secret.version, valid(twice)) == (3, [(2, end + timedelta(hours=1)), (1, end)])
    assert valid(rotated(twice, now=NOW + DAY)) == [(3, end + DAY), (2, end + timedelta(hours=1))]


def test_a_leaked_secret_ends_at_once_and_so_do_earlier_ones() -> None:
    twice = rotated(rotated(webhook()))
    assert valid(rotated(twice, timedelta(0))) == []


def test_too_many_valid_secrets_are_refused_with_the_time_to_wait() -> None:
    known = webhook()
    for _ in range(8):
        known = rotated(known)
    with pytest.raises(QuotaExceededError) as caught:
        rotated(known, now=NOW + timedelta(hours=1))
    assert caught.value.wait == pytest.approx(23 * 3600, abs=2)
