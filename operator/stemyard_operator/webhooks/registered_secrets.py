"""The secrets that sign deliveries to registered webhooks, as these are now."""

from collections.abc import Callable
from datetime import UTC, datetime

from stemyard_contract.webhook_secrets import MasterSecrets
from stemyard_operator.config.webhook_secrets import EndpointRemovedError
from stemyard_operator.model.registrations import Registrations


class RegisteredSecrets:
    """Derives secrets at each attempt, so that what is deleted, disabled or rotated meanwhile counts."""

    def __init__(self, masters: MasterSecrets, known: Callable[[], Registrations]) -> None:
        self._masters = masters
        self._known = known

    def secrets(self, key: str, webhook: str, url: str, at: int, *, test: bool = False) -> tuple[str, ...]:
        """Return the secrets that sign a delivery at these epoch seconds, newest first.

        Args:
            key: id of the API key.
            webhook: id of the registered webhook.
            url: URL of the delivery.
            at: time of the attempt.
            test: whether it is a test, which is sent to a disabled webhook as well.

        Raises:
            EndpointRemovedError: the key has no such webhook now, or it has another URL.
            SecretError: the deployment no longer has the master secret.
        """
        found = self._known().by_id(key, webhook, disabled=test)
        if found is None or found.url != url:
            raise EndpointRemovedError
        now = datetime.fromtimestamp(at, UTC)
        versions = [found.secret, *(one for one in found.previous_secrets if one.expires_at > now)]
        return tuple(self._masters.secret(key, webhook, version) for version in versions)
