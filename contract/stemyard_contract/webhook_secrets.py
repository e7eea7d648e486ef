"""Signing secrets of registered webhooks, derived from master secrets that API and operator hold. Pure.

A secret is HMAC-SHA256 (RFC 2104), keyed by the master secret, over installation, key, webhook and the secret's number,
in the form of Standard Webhooks. So none is stored, and the API shows the same secret that the operator signs with.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from stemyard_contract.key_webhooks import SecretVersion
from stemyard_contract.webhook_signature import SecretError

MASTER_LENGTH: Final = 32
"""Minimum length of a master secret in characters: the holder of a derived secret could search for a shorter one."""
_FINGERPRINT_BYTES: Final = 8
_PURPOSE: Final = "stemyard registered webhooks"


class MasterSecrets:
    """The master secrets of an installation, the one that new secrets are derived from first."""

    def __init__(self, install_id: str, secrets: Sequence[str]) -> None:
        self._install_id = install_id
        self._by_fingerprint = {self._fingerprint(secret): secret.encode() for secret in secrets}

    @property
    def enabled(self) -> bool:
        """Whether there is a master secret."""
        return bool(self._by_fingerprint)

    def version(self, number: int) -> SecretVersion:
        """Return the secret version of this number that is derived from the current master secret."""
        return SecretVersion(version=number, master=next(iter(self._by_fingerprint)))

    def secret(self, key: str, webhook: str, version: SecretVersion) -> str:
        """Return a signing secret: `whsec_` and padded base64.

        Args:
            key: id of the API key.
            webhook: id of the webhook.
            version: which of its secrets.

        Raises:
            SecretError: the deployment no longer has the master secret that it was derived from.
        """
        master = self._by_fingerprint.get(version.master)
        if master is None:
            raise SecretError(
                "the master secret of a registered webhook is neither WEBHOOK_MASTER_SECRET nor its previous one"
            )
        message = "\n".join((_PURPOSE, "secret", self._install_id, key, webhook, str(version.version)))
        return f"whsec_{base64.b64encode(_mac(master, message)).decode()}"

    def _fingerprint(self, secret: str) -> str:
        message = "\n".join((_PURPOSE, "fingerprint", self._install_id))
        return _mac(secret.encode(), message)[:_FINGERPRINT_BYTES].hex()


def _mac(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()
