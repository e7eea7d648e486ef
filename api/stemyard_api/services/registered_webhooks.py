"""Webhooks that API keys register for all of their tracks. The record is one KeyWebhooks resource for each key."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from stemyard_api.auth.api_keys import Keyring
from stemyard_api.clients.kubernetes import AlreadyExistsError, KubernetesClient, Resource
from stemyard_api.errors import ApiError, MisconfiguredError, NotConfiguredError, UnavailableError
from stemyard_api.schemas.webhook_requests import WebhookChanges, WebhookRequest
from stemyard_api.services import registration_rules as rules
from stemyard_api.services.idempotency import check_idempotency_key
from stemyard_api.services.placement_rules import unchanged_tests
from stemyard_api.settings import Settings
from stemyard_contract.key_webhooks import (
    KIND,
    KeyWebhooksSpec,
    RegisteredWebhook,
    RegistrationRequest,
    resource_name,
)
from stemyard_contract.separationjob import API_VERSION
from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_contract.webhook_signature import SecretError

_ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 0.1
_FOLLOW_SECONDS: Final = 10.0
"""Interval at which webhooks of keys that were revoked or came back are marked."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegisteredWebhooks:
    """Reads and changes the webhooks of keys. Methods raise UnavailableError if the API server does not respond."""

    settings: Settings
    kubernetes: KubernetesClient
    """Of KeyWebhooks."""
    masters: MasterSecrets

    async def of(self, key_id: str) -> list[RegisteredWebhook]:
        """Return the webhooks of a key, the oldest first."""
        return _webhooks(await self.kubernetes.read(resource_name(key_id)))

    async def register(self, key_id: str, request: WebhookRequest, idempotency_key: str | None) -> rules.Outcome:
        """Register a webhook for a key.

        Raises:
            NotConfiguredError: the deployment registers none.
            InvalidRequestError: the Idempotency-Key has an invalid form.
            IdempotencyMismatchError, WebhookExistsError, WebhookLimitError: see `registration_rules.register`.
        """
        self._check_enabled()
        if self.settings.webhooks_per_key == 0:
            raise NotConfiguredError("This service registers no webhooks.")
        bound = None if idempotency_key is None else _bound(idempotency_key, request)
        fields = {"url": request.url, "events": request.sorted_events, "description": request.description}
        wanted = rules.new_webhook(datetime.now(UTC), self.masters.version(1), **fields, request=bound)
        most = self.settings.webhooks_per_key
        return await self._update(key_id, lambda webhooks: rules.register(webhooks, wanted, most, bound))

    async def change(self, key_id: str, webhook_id: str, changes: WebhookChanges) -> rules.Outcome:
        """Change fields of a webhook; raises as `registration_rules.change` does."""
        return await self._update(key_id, lambda webhooks: rules.change(webhooks, webhook_id, changes.given))

    async def remove(self, key_id: str, webhook_id: str) -> rules.Outcome:
        """Remove a webhook; raises as `registration_rules.remove` does."""
        return await self._update(key_id, lambda webhooks: rules.remove(webhooks, webhook_id))

    async def rotate(self, key_id: str, webhook_id: str, keep: timedelta) -> rules.Outcome:
        """Give a webhook a new secret.

        Raises:
            NotConfiguredError: the deployment has no master secret.
            WebhookNotFoundError, QuotaExceededError: see `registration_rules.rotate`.
        """
        self._check_enabled()
        now = datetime.now(UTC)
        next_secret = self.masters.version
        return await self._update(key_id, lambda found: rules.rotate(found, webhook_id, keep, now, next_secret))

    async def erase(self, key_id: str) -> int:
        """Remove all webhooks of a key; return their number."""
        for _ in range(_ATTEMPTS):
            resource = await self.kubernetes.read(resource_name(key_id))
            if resource is None:
                return 0
            if await self._delete(resource):
                return len(resource["spec"].get("webhooks", ()))
            await _pause()
        raise _too_many()

    def secret(self, key_id: str, webhook: RegisteredWebhook) -> str:
        """Return the current secret of a webhook.

        Raises:
            MisconfiguredError: the master secret that it is derived from is no longer configured.
        """
        try:
            return self.masters.secret(key_id, webhook.id, webhook.secret)
        except SecretError:
            raise MisconfiguredError("The secret of this webhook is no longer known; rotate it.") from None

    async def follow(self, keyring: Keyring) -> None:
        """Mark the webhooks of keys that are revoked, so that nothing is sent, or valid again, until cancelled."""
        while self.masters.enabled:
            try:
                await self.mark_revoked(keyring.valid_ids)
            except ApiError as error:
                _log.warning("could not look for webhooks of revoked keys", extra={"cause": str(error)})
            await asyncio.sleep(_FOLLOW_SECONDS * random.uniform(0.8, 1.2))

    async def mark_revoked(self, valid: frozenset[str]) -> None:
        """Record for each key with webhooks whether it is one of the valid ones; one that fails stops no other."""
        async for resource in self.kubernetes.items():
            key_id = resource["spec"]["key"]
            try:
                await self._mark(resource, revoked=key_id not in valid)
            except ApiError as error:
                _log.warning("could not mark the webhooks of a key", extra={"key_id": key_id, "cause": str(error)})

    async def _mark(self, resource: Resource, *, revoked: bool) -> None:
        """Record whether the key of a resource is revoked, unless it says so, or was changed meanwhile."""
        spec = resource["spec"]
        if spec.get("revoked", False) == revoked:
            return
        patch = [*unchanged_tests(resource), _revoked(revoked)]
        if await self.kubernetes.patch(resource["metadata"]["name"], patch) is not None:
            _log.info("marked the webhooks of a key", extra={"key_id": spec["key"], "revoked": revoked})

    def _check_enabled(self) -> None:
        if not self.masters.enabled:
            raise NotConfiguredError("This service has no WEBHOOK_MASTER_SECRET, so that it registers no webhooks.")

    async def _update(self, key_id: str, change: Callable[[list[RegisteredWebhook]], rules.Outcome]) -> rules.Outcome:
        """Apply a change to the newest list, again if another request has changed it meanwhile."""
        for _ in range(_ATTEMPTS):
            resource = await self.kubernetes.read(resource_name(key_id))
            webhooks = _webhooks(resource)
            outcome = change(webhooks)
            if outcome.webhooks == webhooks or await self._write(resource, key_id, outcome.webhooks):
                return outcome
            await _pause()
        raise _too_many()

    async def _write(self, resource: Resource | None, key_id: str, webhooks: list[RegisteredWebhook]) -> bool:
        """Write the list; return whether it was still as it was read."""
        if resource is None:
            return await self._create(key_id, webhooks)
        if not webhooks:
            return await self._delete(resource)
        value = [one.dump() for one in webhooks]
        written = [{"op": "replace", "path": "/spec/webhooks", "value": value}, _revoked(False)]
        patched = await self.kubernetes.patch(resource["metadata"]["name"], [*unchanged_tests(resource), *written])
        return patched is not None

    async def _create(self, key_id: str, webhooks: list[RegisteredWebhook]) -> bool:
        spec = KeyWebhooksSpec(key=key_id, webhooks=webhooks).dump()
        metadata = {"name": resource_name(key_id), "namespace": self.settings.stemyard_namespace}
        try:
            await self.kubernetes.create({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
        except AlreadyExistsError:
            return False
        return True

    async def _delete(self, resource: Resource) -> bool:
        metadata = resource["metadata"]
        return await self.kubernetes.delete(metadata["name"], metadata["uid"], metadata["resourceVersion"])


def _webhooks(resource: Resource | None) -> list[RegisteredWebhook]:
    if resource is None:
        return []
    try:
        return KeyWebhooksSpec.model_validate(resource["spec"]).webhooks
    except ValidationError as error:
        name = resource["metadata"]["name"]
        _log.error(
            "registered webhooks cannot be read", extra={"resource": name, "cause": str(error.errors()[0]["loc"])}
        )
        raise UnavailableError("The registered webhooks of this API key cannot be read.") from None


def _bound(idempotency_key: str, request: WebhookRequest) -> RegistrationRequest:
    check_idempotency_key(idempotency_key)
    same = request.model_copy(update={"events": request.sorted_events})  # whatever the order of the events
    return RegistrationRequest(key=_half_digest(idempotency_key), body=_half_digest(same.model_dump_json()))


def _half_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _revoked(revoked: bool) -> Resource:
    return {"op": "add", "path": "/spec/revoked", "value": revoked}


async def _pause() -> None:
    await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))


def _too_many() -> UnavailableError:
    return UnavailableError("Too many changes of this key's webhooks at once; try again.")
