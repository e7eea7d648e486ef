"""Changes of a key's registered webhooks. Pure: each returns the new list and the webhook that it is about."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stemyard_api.errors import (
    IdempotencyMismatchError,
    QuotaExceededError,
    WebhookExistsError,
    WebhookLimitError,
    WebhookNotFoundError,
)
from stemyard_contract.key_webhooks import (
    PREVIOUS_SECRETS_LIMIT,
    PreviousSecret,
    RegisteredWebhook,
    RegistrationRequest,
    SecretVersion,
)

IDEMPOTENCY_PERIOD: Final = timedelta(hours=24)
Webhooks = list[RegisteredWebhook]
NextSecret = Callable[[int], SecretVersion]
"""Returns the secret version of a number, of the current master secret."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All webhooks of a key after a change, and the one that was changed."""

    webhooks: Webhooks
    webhook: RegisteredWebhook
    replayed: bool = False
    """Whether an earlier request with the same Idempotency-Key has registered it."""


def find(webhooks: Webhooks, webhook_id: str) -> RegisteredWebhook:
    """Return the webhook of an id.

    Raises:
        WebhookNotFoundError: the key has registered none with this id.
    """
    found = next((one for one in webhooks if one.id == webhook_id), None)
    if found is None:
        raise WebhookNotFoundError
    return found


def register(webhooks: Webhooks, wanted: RegisteredWebhook, most: int, bound: RegistrationRequest | None) -> Outcome:
    """Add a webhook.

    Args:
        webhooks: those that the key has.
        wanted: the new one.
        most: how many a key may have.
        bound: what its Idempotency-Key binds.

    Raises:
        IdempotencyMismatchError: the Idempotency-Key was used for another request within a day.
        WebhookExistsError: the key has a webhook with this URL.
        WebhookLimitError: the key has as many webhooks as it may have.
    """
    earlier = None if bound is None else _bound_to(webhooks, bound, wanted.created_at)
    if earlier is not None:
        return Outcome(webhooks, earlier, replayed=True)
    _check_unique(webhooks, wanted)
    if len(webhooks) >= most:
        raise WebhookLimitError(f"This API key has registered {len(webhooks)} webhooks, and may have {most}.")
    return Outcome([*webhooks, wanted], wanted)


def new_webhook(now: datetime, secret: SecretVersion, **fields: Any) -> RegisteredWebhook:  # noqa: ANN401 - checked by the model
    """Return a webhook with a random id."""
    return RegisteredWebhook(id=f"wh_{secrets.token_hex(12)}", created_at=_whole(now), secret=secret, **fields)


def change(webhooks: Webhooks, webhook_id: str, changes: dict[str, object]) -> Outcome:
    """Change fields of a webhook.

    Raises:
        WebhookNotFoundError: the key has registered none with this id.
        WebhookExistsError: the key has another webhook with the new URL.
    """
    changed = find(webhooks, webhook_id).model_copy(update=changes)
    _check_unique([one for one in webhooks if one.id != webhook_id], changed)
    return _with(webhooks, changed)


def remove(webhooks: Webhooks, webhook_id: str) -> Outcome:
    """Remove a webhook.

    Raises:
        WebhookNotFoundError: the key has registered none with this id.
    """
    removed = find(webhooks, webhook_id)
    return Outcome([one for one in webhooks if one.id != webhook_id], removed)


def rotate(webhooks: Webhooks, webhook_id: str, keep: timedelta, now: datetime, next_secret: NextSecret) -> Outcome:
    """Give a webhook a new secret; the ones so far stay valid for some time, none of them longer than it had.

    Args:
        webhooks: those that the key has.
        webhook_id: which one.
        keep: how long the secrets so far stay valid.
        now: the current time.
        next_secret: makes the new secret.

    Raises:
        WebhookNotFoundError: the key has registered none with this id.
        QuotaExceededError: too many replaced secrets are still valid.
    """
    found = find(webhooks, webhook_id)
    until = _whole(now + keep)
    replaced = PreviousSecret(**found.secret.model_dump(), expires_at=until)
    earlier = [one.model_copy(update={"expires_at": min(one.expires_at, until)}) for one in found.previous_secrets]
    valid = [one for one in [replaced, *earlier] if one.expires_at > now]
    if len(valid) > PREVIOUS_SECRETS_LIMIT:
        wait = min(one.expires_at for one in valid) - now
        detail = f"{PREVIOUS_SECRETS_LIMIT} earlier secrets of this webhook are still valid."
        raise QuotaExceededError(detail, retry_after=int(wait.total_seconds()) + 1)
    secret = next_secret(found.secret.version + 1)
    return _with(webhooks, found.model_copy(update={"secret": secret, "previous_secrets": valid}))


def _with(webhooks: Webhooks, changed: RegisteredWebhook) -> Outcome:
    return Outcome([changed if one.id == changed.id else one for one in webhooks], changed)


def _bound_to(webhooks: Webhooks, bound: RegistrationRequest, now: datetime) -> RegisteredWebhook | None:
    for one in webhooks:
        request = one.request
        if request is not None and request.key == bound.key and now - one.created_at < IDEMPOTENCY_PERIOD:
            if request.body != bound.body:
                raise IdempotencyMismatchError
            return one
    return None


def _check_unique(others: Sequence[RegisteredWebhook], wanted: RegisteredWebhook) -> None:
    same = next((one for one in others if one.url == wanted.url), None)
    if same is not None:
        raise WebhookExistsError(f"This API key has registered this URL already, as {same.id}.")


def _whole(moment: datetime) -> datetime:
    """Return a time in whole seconds, as the API server prints its own."""
    return moment.astimezone(UTC).replace(microsecond=0)
