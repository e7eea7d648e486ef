"""The webhooks that API keys have registered, as last read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stemyard_contract.key_webhooks import KeyWebhooksSpec, RegisteredWebhook


@dataclass(frozen=True, slots=True)
class Registrations:
    """Registered webhooks by the id of their API key. Those of a revoked key count as none."""

    by_key: Mapping[str, KeyWebhooksSpec] = field(default_factory=dict)

    def of(self, key: str, *, disabled: bool = False) -> list[RegisteredWebhook]:
        """Return the webhooks of a key that are enabled, and on request those that are disabled as well."""
        found = self.by_key.get(key)
        if found is None or found.revoked:
            return []
        return [one for one in found.webhooks if one.enabled or disabled]

    def by_url(self, key: str, url: str, *, disabled: bool = False) -> RegisteredWebhook | None:
        """Return a key's webhook with this URL."""
        return next((one for one in self.of(key, disabled=disabled) if one.url == url), None)

    def by_id(self, key: str, webhook: str, *, disabled: bool = False) -> RegisteredWebhook | None:
        """Return a key's webhook with this id."""
        return next((one for one in self.of(key, disabled=disabled) if one.id == webhook), None)


NO_REGISTRATIONS = Registrations()
