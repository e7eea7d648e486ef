"""What webhooks are signed with, as it is at this moment; reads the mounted files."""

import logging
from pathlib import Path
from typing import Final

from stemyard_contract.webhook import SecretError, standard_key
from stemyard_operator.config.webhook_endpoints import NONE, Endpoints, EndpointsError, parse
from stemyard_operator.config.webhook_settings import WebhookSettings

ENDPOINTS_FILE: Final = "endpoints.yaml"
_NAMES: Final = ("WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS")

log = logging.getLogger(__name__)


class EndpointRemovedError(Exception):
    """The deployment has no endpoint of this name any more."""


class WebhookSecrets:
    """Endpoints and secrets of the deployment; the kubelet changes their files when the Secret changes."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._seen: tuple[int, ...] = ()
        self._endpoints = NONE

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints as the file has them now; where it cannot be used, as it last had them."""
        try:
            return self.read()
        except (EndpointsError, OSError) as error:
            log.error("the webhook endpoints were not reloaded: %s", error)  # noqa: TRY400 - the message says it all
            return self._endpoints

    def read(self) -> Endpoints:
        """Return the endpoints as the file has them now.

        Raises:
            EndpointsError: it cannot be used; said once for each change of the file.
            OSError: it cannot be read.
        """
        folder = self._settings.webhook_secrets_dir
        if folder is None:
            return NONE
        path = folder / ENDPOINTS_FILE
        try:
            found = path.stat()
        except FileNotFoundError:
            self._seen, self._endpoints = (), NONE
            return NONE
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            text, self._seen = path.read_text(), seen
            self._endpoints = parse(text)
        return self._endpoints

    def secrets(self, endpoint: str | None = None, key: str | None = None) -> tuple[str, ...]:
        """Return what signs a delivery, newest first: its endpoint's secrets, its API key's, or the deployment's.

        Raises:
            EndpointRemovedError: there is no such endpoint.
            SecretError: a secret cannot be used.
            OSError: a file cannot be read.
        """
        endpoints = self.endpoints
        if endpoint is not None:
            named = endpoints.named(endpoint)
            if named is None:
                raise EndpointRemovedError
            if named.secrets:
                return named.secrets
        own = endpoints.keys.get(key) if key is not None else None
        return own.secrets if own is not None and own.secrets else secrets(self._settings)


def secrets(settings: WebhookSettings) -> tuple[str, ...]:
    """Return the deployment's secrets, newest first; none where nothing is configured.

    A folder's files are read anew each time.

    Raises:
        SecretError: one cannot be used.
        OSError: a file cannot be read.
    """
    folder = settings.webhook_secrets_dir
    if folder is None:
        given = [settings.webhook_secret, settings.webhook_secret_previous]
    else:
        given = [_read(folder / name) for name in _NAMES]
    found = tuple(secret for secret in given if secret)
    if given[0] is None and found:
        raise SecretError("WEBHOOK_SECRET_PREVIOUS is there without WEBHOOK_SECRET")
    for secret in found:
        standard_key(secret)
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
